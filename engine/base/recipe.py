"""The recipe: how a network wants poses to be sampled, moved, scaled and drawn.

Every model file carries one. The default is that of mmaction2 0.24.1's configuration
``slowonly_kinetics400_pretrained_r50_u48_120e_hmdb51_split1_keypoint``. The kernels of
`engine.skeletons` compute every recipe that can be written down here; what no published
configuration asks for cannot be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from engine.base.constants import (
    BOX_PADDING,
    BOX_THRESHOLD,
    CLIP_LEN,
    JOINTS,
    LEFT_JOINTS,
    NUM_CLIPS,
    RIGHT_JOINTS,
    SCORE_THRESHOLD,
    SEED,
    SIGMA,
    SIZE,
)
from engine.base.errors import ModelError

Sampler = Literal["mmaction2", "pyskl"]
Fit = Literal["crop", "stretch"]
Flip = Literal["redraw", "mirror"]
Coordinates = Literal["float64", "float32"]
Limb = tuple[int, int]


def exchanged(count: int, left: Sequence[int], right: Sequence[int]) -> tuple[int, ...]:
    """For each of `count` its twin on the other side, or itself. Raises `ModelError`."""
    twins = list(range(count))
    if len(left) != len(right) or not all(0 <= one < count for one in (*left, *right)):
        raise ModelError(f"left {list(left)} and right {list(right)} are no pairs of {count}")
    for one, other in zip(left, right, strict=True):
        twins[one], twins[other] = other, one
    return tuple(twins)


COCO_TWINS: Final = exchanged(JOINTS, LEFT_JOINTS, RIGHT_JOINTS)


def _twins_of_limbs(limbs: Sequence[Limb], twins: Sequence[int]) -> tuple[int, ...]:
    """For each limb the one between the twins of its joints, or itself."""
    known = {frozenset(limb): number for number, limb in enumerate(limbs)}
    mirrored = (frozenset((twins[one], twins[other])) for one, other in limbs)
    return tuple(known.get(limb, number) for number, limb in enumerate(mirrored))


@dataclass(frozen=True)
class Recipe:
    """From poses to the network's input.

    `joints`: of a person. `length`: frames a clip. `clips`: of a video, before flipping. `seed`: of
    the legacy generator, set anew for every video. `sampler`: whose stream of random numbers.
    `size`: height and width of a heatmap, pixels. `fit`: ``crop`` scales the short side and takes
    the middle, ``stretch`` scales each side by itself. `padding`: added to the half sides of the
    box around the poses. `least_box`: pixels; smaller boxes are left as they are. `threshold`:
    scores below are not drawn. `sigma`: of the Gaussian, pixels. `limbs`: pairs of joints between
    which lines are drawn, a channel each; None draws joints. `flip`: how the second half of the
    clips comes about: ``redraw`` flips coordinates (mmaction2 0.24.1), ``mirror`` the finished
    heatmaps; None where there is none. `twins`: for each joint (redraw) or channel (mirror) the one
    on the other side. `precision`: of coordinates where the reference draws. `most`: persons kept
    of an annotation in Kinetics-400's compressed form; 0 where the
    configuration has no step for that form, which is then read with ten.
    """

    joints: int = JOINTS
    length: int = CLIP_LEN
    clips: int = NUM_CLIPS
    seed: int = SEED
    sampler: Sampler = "mmaction2"
    size: int = SIZE
    fit: Fit = "crop"
    padding: float = BOX_PADDING
    least_box: float = BOX_THRESHOLD
    threshold: float = SCORE_THRESHOLD
    sigma: float = SIGMA
    limbs: tuple[Limb, ...] | None = None
    flip: Flip | None = "redraw"
    twins: tuple[int, ...] = COCO_TWINS
    precision: Coordinates = "float64"
    most: int = 0

    def __post_init__(self) -> None:
        """Raises `ModelError` for values that no reference computes."""
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            whole = name not in _FLOATS
            if not (type(value) is int or (not whole and type(value) is float)):
                raise ModelError(f"recipe: {name} is {value!r:.60}; a number is needed")
            if not low <= value <= high:
                raise ModelError(
                    f"recipe: {name} is {value!r:.60}; {low:g} to {high:g} is possible"
                )
            if not whole:  # JSON may say 1 for 1.0; messages between processes do not
                object.__setattr__(self, name, float(value))
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ModelError(
                    f"recipe: {name} is {getattr(self, name)!r:.60}; known are "
                    f"{', '.join(map(str, known))}"
                )
        for one, other in self.limbs or ():
            if not (0 <= one < self.joints and 0 <= other < self.joints):
                raise ModelError(f"recipe: limb {one}-{other} of {self.joints} joints")
            if one == other:
                raise ModelError(f"recipe: limb {one}-{other} joins a joint to itself")
        if self.limbs is not None and not 1 <= len(self.limbs) <= _MOST_LIMBS:
            raise ModelError(f"recipe: {len(self.limbs)} limbs; 1 to {_MOST_LIMBS} are possible")
        count = self.channels if self.flip == "mirror" else self.joints
        pairs = dict(enumerate(self.twins))
        wrong = self.flip is not None and len(pairs) != count
        if wrong or any(pairs.get(pairs[one]) != one for one in pairs):
            raise ModelError(f"recipe: twins {list(self.twins)!s:.80} do not pair {count}")

    @property
    def channels(self) -> int:
        """Of the network's input: one a joint, or one a limb."""
        return self.joints if self.limbs is None else len(self.limbs)

    @property
    def views(self) -> int:
        """Clips that the network sees of a video."""
        return self.clips * (2 if self.flip else 1)

    @property
    def view_order(self) -> tuple[int, ...]:
        """The views in the order in which they run, where not all do: plain and flipped in turn."""
        halves = range(0, self.views, self.clips)
        return tuple(half + clip for clip in range(self.clips) for half in halves)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Of a heatmap frame."""
        return self.channels, self.size, self.size

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """Of a clip, as the network takes it."""
        return self.channels, self.length, self.size, self.size

    @property
    def cells(self) -> int:
        """Of a frame."""
        return self.channels * self.size**2

    @property
    def cell_type(self) -> np.dtype[Any]:
        """What cells are numbered by."""
        return np.dtype(np.uint16 if self.cells <= 1 << 16 else np.uint32)

    @property
    def reach(self) -> float:
        """How far is drawn around a centre, pixels."""
        return 3 * self.sigma

    @property
    def window(self) -> int:
        """Columns that a joint touches at most."""
        return math.floor(2 * self.reach) + 2

    @property
    def twin(self) -> NDArray[np.int64]:
        """`twins` as indices."""
        return _indices(self.twins)

    @property
    def mirrored(self) -> NDArray[Any]:
        """For each cell of a frame the one that holds its value in the mirror image."""
        return _mirrored(self)

    @property
    def input(self) -> str:
        """Clips, what is drawn, frames, height and width, in words."""
        drawn = "joints" if self.limbs is None else "limbs"
        return f"{self.views} x {drawn} {self.length}x{self.size}x{self.size}"

    @property
    def in_words(self) -> str:
        """The input, and how it comes about."""
        return ", ".join(
            [
                self.input,
                {"crop": "cropped", "stretch": "stretched"}[self.fit],
                {
                    "redraw": "half of them flipped and drawn again",
                    "mirror": "half of them mirrored",
                    None: "none flipped",
                }[self.flip],
                *(["sampled as pyskl"] if self.sampler == "pyskl" else []),
                f"drawn as mmaction2 {self.reference}",
            ]
        )

    @property
    def one_view(self) -> Recipe:
        """The same, of the first clip alone: no averaging at test time."""
        return replace(self, clips=1, flip=None)

    @property
    def reference(self) -> str:
        """Which mmaction2 draws like that; also what pyskl's are like."""
        return "0.24.1" if self.precision == "float64" else "1.x"

    def drawn_as(self, reference: str) -> Recipe:
        """The same by another mmaction2, ``0.24.1`` or ``1.x``."""
        if reference == "1.x":
            twins = self.twins
            if self.flip == "redraw" and self.limbs is not None:
                twins = _twins_of_limbs(self.limbs, self.twins)
            return replace(self, flip=self.flip and "mirror", twins=twins, precision="float32")
        twins = self.twins
        if self.flip == "mirror" and self.limbs is not None:
            twins = COCO_TWINS if self.joints == len(COCO_TWINS) else tuple(range(self.joints))
        return replace(self, flip=self.flip and "redraw", twins=twins, precision="float64")

    def to_json(self) -> dict[str, Any]:
        """JSON types only."""
        limbs = None if self.limbs is None else [list(limb) for limb in self.limbs]
        return {**asdict(self), "limbs": limbs, "twins": list(self.twins)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Recipe:
        """Of a model file. Raises `ModelError` for what is missing, unknown or absurd."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(found.keys() - known):
            raise ModelError(f"recipe: unknown {', '.join(map(str, unknown))}"[:200])
        if missing := sorted(known - found.keys()):
            raise ModelError(f"recipe: {', '.join(missing)} missing")
        values = dict(found)
        try:
            values["twins"] = tuple(map(_whole, values["twins"]))
            if values["limbs"] is not None:
                values["limbs"] = tuple((_whole(a), _whole(b)) for a, b in values["limbs"])
        except (TypeError, ValueError) as error:
            raise ModelError(f"recipe: limbs or twins are no lists of numbers ({error})") from None
        return cls(**values)


@lru_cache(maxsize=64)
def _indices(twins: tuple[int, ...]) -> NDArray[np.int64]:
    indices = np.array(twins)
    indices.flags.writeable = False
    return indices


@lru_cache(maxsize=16)
def _mirrored(recipe: Recipe) -> NDArray[Any]:
    cells = np.arange(recipe.cells, dtype=recipe.cell_type).reshape(recipe.frame_shape)
    mirrored = cells[recipe.twin, :, ::-1].ravel()
    mirrored.flags.writeable = False
    return mirrored


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r:.40} is no whole number")
    return value


_MOST_LIMBS: Final = 256
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "joints": (1, 256),
    "length": (1, 256),
    "clips": (1, 100),
    "seed": (0, 2**32 - 1),
    "size": (8, 128),
    "padding": (0, 10),
    "least_box": (0, 1e6),
    "threshold": (0, 1),
    "sigma": (0.1, 10),
    "most": (0, 1000),
}
_FLOATS: Final = ("padding", "least_box", "threshold", "sigma")
_CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "sampler": get_args(Sampler),
    "fit": get_args(Fit),
    "flip": (None, *get_args(Flip)),
    "precision": get_args(Coordinates),
}

HMDB51_RECIPE: Final = Recipe()
"""What a model file that carries no recipe was made for."""
