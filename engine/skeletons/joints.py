"""Layouts: how other programs number the joints of a body, and COCO's 17 out of them.

Comes in: joints as a pose estimator gives them. Goes out: float32 [17, 3], x and y in pixels and a
score. A joint that a layout does not have is absent: zeros, and score 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import AUTO
from engine.base.choices import LAYOUTS as WAYS
from engine.base.constants import JOINTS
from engine.base.errors import UsageError
from engine.base.suggestions import meant

Place = int | tuple[int, int] | None
"""Where a joint of COCO's is: the number of the same joint, two whose middle it is, or nowhere."""


@dataclass(frozen=True)
class JointLayout:
    """`joints`: how many it has; `coco`: for each of COCO's 17 where it is among them.
    `normalised`: in live messages its coordinates are shares of width and height, not pixels.
    `pelvis`: where that is among them, and the two hips whose middle it is."""

    name: str
    joints: int
    coco: tuple[Place, ...]
    normalised: bool = False
    pelvis: tuple[int, int, int] | None = None

    def to_coco(self, kpts: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        """COCO's joints, float32 [17, 3] in pixels, of joints [n, 3] in a frame of (width,
        height)."""
        found = self.picked(kpts)
        if self.normalised:
            found = found * np.array([*size, 1], np.float32)
        return found

    def picked(self, kpts: NDArray[np.float32]) -> NDArray[np.float32]:
        """COCO's joints [.., 17, 3] out of [.., n, 3], in the same units."""
        if self._numbers is not None:
            return kpts[..., self._numbers, :]
        found = np.zeros((*kpts.shape[:-2], JOINTS, 3), np.float32)
        for joint, place in enumerate(self.coco):
            if isinstance(place, int):
                found[..., joint, :] = kpts[..., place, :]
            elif place is not None:
                ends = kpts[..., list(place), :]
                seen = ends[..., 2].all(axis=-1)  # the middle of two that were seen
                found[seen, joint, :2] = ends[seen, :, :2].mean(axis=-2)
                found[seen, joint, 2] = ends[seen, :, 2].min(axis=-1)
        return found

    def of_arrays(
        self, keypoint: NDArray[Any], score: NDArray[Any] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """COCO's joints of [.., n, 2] and their scores [.., n], one where there are none: float32
        [.., 17, 2] and [.., 17]. Raises `ValueError` for another number of joints."""
        if keypoint.ndim < 2 or keypoint.shape[-2:] != (self.joints, 2):
            raise ValueError(
                f"keypoints of shape {list(keypoint.shape)}; joints of {self.name} are "
                f"[…, {self.joints}, 2]"
            )
        kpts = np.ones((*keypoint.shape[:-1], 3), np.float32)
        kpts[..., :2] = np.nan_to_num(keypoint)
        if score is not None:
            if score.shape != keypoint.shape[:-1]:
                raise ValueError(
                    f"scores of shape {list(score.shape)}; keypoints {list(keypoint.shape)} need "
                    f"{list(keypoint.shape[:-1])}"
                )
            kpts[..., 2] = np.nan_to_num(score)
        kpts[~kpts[..., :2].any(axis=-1), 2] = 0  # absent, and so is what would lie in between
        found = self.picked(kpts)
        return found[..., :2], found[..., 2]

    @cached_property
    def _numbers(self) -> list[int] | None:
        """The places, where it has all joints itself."""
        numbers = [place for place in self.coco if isinstance(place, int)]
        return numbers if len(numbers) == JOINTS else None


COCO: Final = "coco17"
COCO_NAMES: Final = (
    "nose",
    *(f"{side}_{part}" for part in ("eye", "ear") for side in ("left", "right")),
    *(f"{side}_{part}" for part in ("shoulder", "elbow", "wrist") for side in ("left", "right")),
    *(f"{side}_{part}" for part in ("hip", "knee", "ankle") for side in ("left", "right")),
)

ARMS_AND_LEGS: Final = (
    *((5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12)),
    *((11, 13), (13, 15), (12, 14), (14, 16)),
)
"""Bones between COCO's joints, those of the trunk too."""
BONES: Final = ((0, 1), (0, 2), (1, 3), (2, 4), *ARMS_AND_LEGS)
"""What of a body is drawn as lines: the same, and from the nose over the eyes to the ears."""
_STARTS, _ENDS = zip(*BONES, (3, 5), (4, 6), strict=True)  # from the ears to the trunk, too

_SAME: Final = tuple(range(JOINTS))  # layouts that begin with COCO's
LAYOUTS: Final[dict[str, JointLayout]] = {
    layout.name: layout
    for layout in (
        JointLayout(COCO, JOINTS, _SAME),
        JointLayout(
            "mediapipe33",
            33,
            (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28),
            normalised=True,
        ),
        JointLayout("body25", 25, (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11)),
        JointLayout("openpose18", 18, (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)),
        # ROS's hri_msgs/Skeleton2D: OpenPose's with eyes and ears exchanged; in shares of the image
        JointLayout(
            "ros18",
            18,
            (0, 14, 15, 16, 17, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10),
            normalised=True,
        ),
        JointLayout("halpe26", 26, _SAME),
        JointLayout("halpe136", 136, _SAME),
        JointLayout("wholebody133", 133, _SAME),
        # No nose, eyes or ears: the nose is between upper neck and top of the head
        JointLayout(
            "mpii16",
            16,
            ((8, 9), None, None, None, None, 13, 12, 14, 11, 15, 10, 3, 2, 4, 1, 5, 0),
            pelvis=(6, 3, 2),
        ),
        # Human3.6M's as VideoPose3D and MMPose number them; no eyes or ears
        JointLayout(
            "h36m17", 17, (9, None, None, None, None, 11, 14, 12, 15, 13, 16, 4, 1, 5, 2, 6, 3)
        ),
        # The same without a nose: neck and top of the head follow each other
        JointLayout(
            "h36m16",
            16,
            ((8, 9), None, None, None, None, 10, 13, 11, 14, 12, 15, 4, 1, 5, 2, 6, 3),
            pelvis=(0, 4, 1),
        ),
    )
}

_NECK: Final = ("upper_neck", "neck", "neck_base", "head_bottom")
_TOP: Final = ("head_top", "top_head", "head")
_BY_NUMBER: Final = {
    layout.joints: layout
    for layout in LAYOUTS.values()
    if layout.name not in ("ros18", "h36m17", "h36m16")
}
_CLEARLY: Final = 0.5  # of the distance by which the other one is off


def take_layout(options: dict[str, Any]) -> JointLayout | None:
    """The layout of joints that keyword arguments name, and take it out of them: `joints`, or
    `layout` where its value is no way to run a network. Raises `UsageError`."""
    name = options.pop("joints", None)
    if name is None and options.get("layout") not in (None, AUTO, *WAYS):
        name = options.pop("layout")
    if name is None:
        return None
    if name not in list(LAYOUTS):
        raise UsageError(
            f"layout {name!s:.40}: joints are numbered as {', '.join(LAYOUTS)}; the network is run "
            f"as {', '.join((AUTO, *WAYS))}{meant(str(name), [*LAYOUTS, *WAYS])}"
        )
    return LAYOUTS[name]


def bone_lengths(bodies: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of COCO's joints [.., 17, 2]: lengths [.., 18], of `BONES` first."""
    with np.errstate(over="ignore", invalid="ignore"):  # of what is very far
        apart = bodies[..., _STARTS, :] - bodies[..., _ENDS, :]
        return np.asarray(np.hypot(apart[..., 0], apart[..., 1]))


def by_number(joints: int) -> JointLayout | None:
    """The usual layout of so many joints: of 17 COCO's, of 18 OpenPose's."""
    return _BY_NUMBER.get(joints)


def by_pelvis(bodies: Sequence[NDArray[np.float32]]) -> JointLayout | None:
    """The layout of 16 joints that people [16, 3] have: that whose pelvis is between the hips. None
    where none is clearly so."""
    off: list[tuple[float, JointLayout]] = []
    for layout in LAYOUTS.values():
        if layout.pelvis is not None:
            ends = [body[list(layout.pelvis)] for body in bodies]
            seen = [one[:, :2] for one in ends if one[:, 2].all()]
            if not seen:
                return None
            away = [np.hypot(*(pelvis - (one + other) / 2)) for pelvis, one, other in seen]
            off.append((float(np.mean(away)), layout))
    (least, found), (next_least, _) = sorted(off, key=lambda item: item[0])[:2]
    return found if least < _CLEARLY * next_least else None


def by_names(names: Sequence[str]) -> JointLayout:
    """The layout of joints that have names, as COCO spells them. Raises `ValueError` where arms and
    legs are not among them: those of an animal, say."""
    known = {name.lower().strip().replace(" ", "_"): place for place, name in enumerate(names)}
    for side in ("left", "right"):  # which Human3.6M's are called
        if f"{side}_foot" in known:
            known.setdefault(f"{side}_ankle", known[f"{side}_foot"])
    coco: list[Place] = [known.get(name) for name in COCO_NAMES]
    if lacking := [name for name, at in zip(COCO_NAMES[5:], coco[5:], strict=True) if at is None]:
        raise ValueError(
            f"joints are called {', '.join(names[:4])}, …; {lacking[0]} is not among them, so that "
            "these are no bodies as COCO's are"
        )
    if coco[0] is None:  # as in MPII's and CrowdPose's
        neck, top = (next((known[n] for n in some if n in known), None) for some in (_NECK, _TOP))
        coco[0] = None if neck is None or top is None else (neck, top)
    same = by_number(len(names))
    if same is not None and same.coco == tuple(coco):
        return same
    return JointLayout("by name", len(names), tuple(coco))
