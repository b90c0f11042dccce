"""Oddities: what in poses makes their scores doubtful, though they can be scored.

Comes in: the joints of a sample that are drawn, in pixels. Goes out: notes. The numbers stay as
they are, as the reference has no opinion of them; whoever reads the scores is told. Pure.

* ``far``: a joint so far away that the crop around everybody shows nobody.
* ``order``: eyes farther from the nose than the body allows, or bones that are longer than
  anybody's and shorter in another program's order: joints in another order than COCO's.
* ``one point``: several joints at the same place away from the body, frame after frame.
* ``one frame``, ``outside``, ``upside down``, ``sideways``: of much of what is drawn. Some videos
  are so; a file where most are has other units or axes (`engine.base.notes.NoteCounts`).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.notes import FAR, ONE_FRAME, ONE_POINT, ORDER, OUTSIDE, SIDEWAYS, UPSIDE_DOWN, Odd
from engine.skeletons.joints import ARMS_AND_LEGS, BONES, LAYOUTS, bone_lengths

_FAR: Final = 10  # longer sides of the picture, beyond it
_OUTSIDE: Final = 0.2  # of the joints
_MARGIN: Final = 1.0  # pixels
_MANY: Final = 4  # frames in which joints are at the same point
_OFTEN: Final = 0.2  # of all frames
_AWAY: Final = 0.2  # of the body's length
_NEARLY_ALL: Final = 0.9
_LEAST: Final = 3  # bodies that tell
_LYING: Final = 2.0  # times as wide as it is high
_FACE: Final = 0.35  # of the trunk, from the nose to an eye; of real videos at most 0.25

_LONG: Final = 4.0  # diagonals of the box around somebody; real people's bones are up to 3.9, but
_SHORTER: Final = 0.75  # for close-ups, and those are 0.76 as long and more in any other order
_BODY: Final = slice(len(BONES) - len(ARMS_AND_LEGS), len(BONES))  # of bones
_ORDERS: Final[tuple[Any, ...]] = (  # where COCO's last twelve joints are among 17
    *(LAYOUTS[name].coco[5:] for name in ("openpose18", "body25", "h36m17")),
    tuple(range(12)),  # the face comes last
    (3, 10, 4, 11, 5, 12, 6, 13, 7, 14, 8, 15),  # the left side, then the right one
)

# Of COCO's joints
_NOSE, _EYES, _SHOULDERS, _HIPS = 0, (1, 2), (5, 6), (11, 12)

F32 = NDArray[np.float32]


def oddities(
    points: F32, seen: NDArray[np.bool_], img_shape: tuple[int, int], coco: bool
) -> tuple[Odd, ...]:
    """Of joints [P, T, J, 2], of which those `seen` [P, T, J] are drawn, in a picture of (height,
    width). `coco`: whether they are COCO's 17."""
    height, width = img_shape
    shown = points[seen]
    if not len(shown):
        return ()
    found: list[Odd] = []
    beyond = np.maximum(-shown, shown - np.array([width, height], np.float32))
    if beyond.max() > _FAR * max(img_shape):
        found.append(FAR)
    if np.count_nonzero((beyond > _MARGIN).any(axis=-1)) > _OUTSIDE * len(shown):
        found.append(OUTSIDE)
    if any(_at_one_point(*one, img_shape) for one in zip(points, seen, strict=True)):
        found.append(ONE_POINT)
    if points.shape[1] == 1:
        found.append(ONE_FRAME)
    if coco:
        found += [ORDER] if _in_another_order(points[seen.all(axis=-1)]) else _posture(points, seen)
    return tuple(found)


def _at_one_point(points: F32, seen: NDArray[np.bool_], img_shape: tuple[int, int]) -> bool:
    """Whether several joints [T, J, 2] of somebody are at the same point in many frames, away from
    the others. On the picture's border they were cut off there."""
    places = np.ascontiguousarray(points, np.float64).view(np.complex128)[..., 0]
    values, counts = np.unique(places[seen], return_counts=True)
    if not len(counts) or counts.max() < _MANY:
        return False
    there = (places == values[counts.argmax()]) & seen
    frames = np.flatnonzero(np.count_nonzero(there, axis=1) > 1)
    others = (seen & ~there)[frames, :, None]
    point, bodies = points[there][0], points[frames]
    (x, y), (height, width) = point, img_shape
    if (x in (0, width - 1, width) and 0 <= y <= height) or (
        y in (0, height - 1, height) and 0 <= x <= width
    ):
        return False
    low = np.where(others, bodies, np.inf).min(axis=1)
    high = np.where(others, bodies, -np.inf).max(axis=1)
    margin = _AWAY * (high - low).max(axis=-1, keepdims=True, initial=0)
    away = ((point < low - margin) | (point > high + margin)).any(axis=-1)
    return int(np.count_nonzero(away)) >= max(_MANY, _OFTEN * len(points))


def _posture(points: F32, seen: NDArray[np.bool_]) -> list[Odd]:
    """Of COCO's joints [P, T, 17, 2]."""
    trunks = seen[..., (_NOSE, *_SHOULDERS, *_HIPS)].all(axis=-1)
    bodies, faces = points[trunks], seen[trunks][:, _EYES].all(axis=-1)
    with np.errstate(over="ignore", invalid="ignore"):
        shoulders, hips = (bodies[:, ends].mean(axis=1) for ends in (_SHOULDERS, _HIPS))
        across, down = np.moveaxis(hips - shoulders, -1, 0)
        above = hips[:, 1] - bodies[:, _NOSE, 1]
        trunk = np.maximum(np.hypot(across, down), _distance(bodies, *_SHOULDERS))
        face = np.maximum(*(_distance(bodies, _NOSE, eye) for eye in _EYES))
        apart = (face > _FACE * trunk)[faces]
        lying = np.abs(across) > _LYING * np.abs(down)
    if _nearly_all(apart):
        return [ORDER]  # and the rest means nothing
    if _nearly_all((down < 0) & (above < 0)):
        return [UPSIDE_DOWN]
    return [SIDEWAYS] if _nearly_all(lying) else []


def _in_another_order(bodies: F32) -> bool:
    """Whether bodies [n, 17, 2] are somebody's in another order: their bones are long for the box
    around them, and in that order arms, legs and trunk are clearly shorter."""
    if not len(bodies):
        return False
    lengths = bone_lengths(bodies)
    with np.errstate(over="ignore"):
        size = np.hypot(*(bodies.max(axis=1) - bodies.min(axis=1)).T)
        long = lengths.sum(axis=-1) > _LONG * size
    if not _nearly_all(long):
        return False
    here, other = lengths[:, _BODY].sum(), np.zeros_like(bodies)
    for places in _ORDERS:
        other[:, 5:] = bodies[:, places]
        if bone_lengths(other)[:, _BODY].sum() < _SHORTER * here:
            return True
    return False


def _nearly_all(bodies: NDArray[np.bool_]) -> bool:
    """Whether it is true of nearly all of enough bodies."""
    return len(bodies) >= _LEAST and bool(bodies.mean() > _NEARLY_ALL)


def _distance(bodies: F32, one: int, other: int) -> NDArray[Any]:
    return np.asarray(np.hypot(*np.moveaxis(bodies[:, one] - bodies[:, other], -1, 0)))
