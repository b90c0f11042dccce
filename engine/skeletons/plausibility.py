"""Plausibility: whether poses can be what they are taken for.

Comes in: well-formed poses, of an annotation or of one frame of a stream. Goes out: the same with
coordinates in pixels and scores from 0 to about 1, and notes of what was decided; or a refusal.
Files do not say in which units their numbers are, and a network answers whatever it is shown: poses
in shares of the picture are a dot in its corner to it, scores in percent a flash. Pure.

* Coordinates. A person is not within three pixels of the picture's corner. Whose joints all are has
  coordinates that are shares of the picture, 0 to 1. From -1 to 1 there are two usual meanings, so
  those are refused.
* Scores. Those of heatmaps may be negative, or a little above 1, and stay. Above 10 and up to 100
  they are percent. What else is above 1.5 is refused.
* Axes. Where there are more persons than frames, and each is where the one before was, persons are
  frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import AUTO, NORMALISED, PIXELS, Coordinates
from engine.base.constants import SCORE_THRESHOLD
from engine.base.errors import SampleError
from engine.base.notes import EMPTY, PERCENT, Note
from engine.base.notes import NORMALISED as NOTED_NORMALISED

_CORNER: Final = 3.0  # pixels from it, in which nobody is
_MOST: Final = 0.95  # of the joints that are seen; a few may be anywhere
_LEAST_DISTINCT: Final = 3  # joints that tell; placeholders of what is absent are one or two
_LEAST_SIDE: Final = 32  # pixels of a picture whose corner is small
_BELOW: Final = 0.1  # of coordinates in shares that may be negative: joints beyond the picture
_HIGHEST: Final = 1.5  # score
_PERCENT: Final = (10.0, 100.0)

_LEAST_ROWS: Final = 4  # persons that may be frames
_COMMON: Final = 5  # joints that two of them must have in common
_MOVED: Final = 0.15  # of the body's size, from a frame to the next, on average
_FOLLOWING: Final = 0.8  # of the pairs

B = NDArray[np.bool_]
F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Judged:
    """`keypoint` [P, T, J, 2], pixels; `score` [P, T, J] or None; what had to be changed is
    float32, the rest the same arrays that came in."""

    keypoint: NDArray[Any]
    score: NDArray[Any] | None
    notes: tuple[Note, ...] = ()


def judged(
    keypoint: NDArray[Any],
    score: NDArray[Any] | None,
    img_shape: tuple[int, int],
    total: int,
    coordinates: Coordinates = AUTO,
    *,
    least_score: float = SCORE_THRESHOLD,
    least_distinct: int = _LEAST_DISTINCT,
) -> Judged:
    """Poses [P, T, J, 2] with scores [P, T, J] or None, in a picture of (height, width), by their
    first `total` frames. `least_score`: joints below it are not drawn, so they are not seen.
    `least_distinct`: joints that it takes to tell shares from pixels.

    Raises `SampleError` where the numbers can be no poses, or might be two kinds of them.
    """
    found = Judged(keypoint, score)
    drawn: Any = True
    if score is not None:
        used = score[:, :total].astype(np.float32)  # half floats are slow to compare
        if _in_percent(used):
            scaled = (score.astype(np.float64) / 100).astype(np.float32)
            found, used = Judged(keypoint, scaled, (PERCENT,)), scaled[:, :total]
        drawn = used >= least_score
    if coordinates != NORMALISED and len(keypoint) <= total:  # nearly always this is enough
        far = (keypoint[:, :total, :, 0].astype(np.float32) > _CORNER) & drawn
        if np.count_nonzero(far) > (1 - _MOST) * far.size:
            return found
    points = keypoint[:, :total].astype(np.float32)
    seen = (points != 0).any(axis=-1) & ~np.isnan(points).any(axis=-1) & drawn
    if not seen.any():
        return replace(found, notes=(*found.notes, EMPTY))
    _check_axes(points, seen)
    shown = points[seen], img_shape, coordinates, least_distinct
    if coordinates != PIXELS and _in_shares(*shown):
        height, width = img_shape
        # rounded once, as whoever scales float32 rounds
        with np.errstate(over="ignore"):
            pixels = (keypoint.astype(np.float64) * [width, height]).astype(np.float32)
        if np.isinf(pixels[:, :total]).any():
            raise SampleError("keypoint has coordinates beyond float32, as shares of the picture")
        found = replace(found, keypoint=pixels, notes=(*found.notes, NOTED_NORMALISED))
    return found


def _in_percent(score: F32) -> bool:
    """Whether scores [P, T, J] are percent. Raises `SampleError` for what is no score."""
    if not score.size or (high := float(score.max())) <= _HIGHEST:
        return False
    low, (more, most) = float(score.min()), _PERCENT
    if more < high <= most and low >= 0:
        return True
    raise SampleError(
        f"keypoint_score has {low:.4g} to {high:.4g}; expected 0 to 1 (or percent, up to "
        "100). Divide scores by the highest that their estimator gives; of flags that say 2 for "
        "visible, give 1 for 2"
    )


def _in_shares(
    points: F32, img_shape: tuple[int, int], coordinates: Coordinates, least_distinct: int
) -> bool:
    """Whether the joints [n, 2] that are seen are given in shares of the picture. Raises
    `SampleError` where they are neither that nor pixels."""
    near = np.asarray((np.abs(points) <= _CORNER).all(axis=-1))
    if coordinates == NORMALISED:
        if np.count_nonzero(near) < len(near) / 2:
            raise SampleError(
                f"keypoint has {_range(points)}: no shares of the picture, as --coordinates "
                "normalised says; leave that out"
            )
        return True
    if np.count_nonzero(near) < _MOST * len(near) or min(img_shape) < _LEAST_SIDE:
        return False
    points = points[near]
    whole = (points == np.rint(points)).all()
    if whole or len(np.unique(points, axis=0)) < least_distinct:
        return False
    if np.count_nonzero(points < 0) > _BELOW * points.size:
        raise SampleError(
            f"keypoint has {_range(points)}: neither pixels nor shares of the picture. OpenPose "
            "(keypoint_scale 4) gives width and height from -1 to 1 each: x = (x + 1) / 2 * width, "
            "y = (y + 1) / 2 * height. VideoPose3D divides both by the width: x as before, "
            "y = (y * width + height) / 2. Convert them to pixels, or say --coordinates pixels "
            "where they are"
        )
    if np.count_nonzero((points <= 1.05).all(axis=-1)) < len(points) / 2:
        raise SampleError(
            f"keypoint has {_range(points)}: everybody is within {_CORNER:g} pixels of the "
            "picture's corner. Convert coordinates to pixels, or say --coordinates pixels where "
            "they are"
        )
    return True


def _range(points: F32) -> str:
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return f"x from {left:.3g} to {right:.3g} and y from {top:.3g} to {bottom:.3g}"


def _check_axes(points: F32, seen: B) -> None:
    """Raise `SampleError` where the axes of persons and frames have changed places."""
    persons, frames = seen.shape[:2]
    if persons <= frames or persons < _LEAST_ROWS:
        return
    both = seen[1:] & seen[:-1]
    count = both.sum(axis=-1)
    pairs = count >= _COMMON
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.hypot(*np.moveaxis(points[1:] - points[:-1], -1, 0))
        mean = np.where(both, moved, 0).sum(axis=-1) / np.maximum(count, 1)
        near = mean <= _MOVED * _sizes(points, seen)[:-1]
    if not mean[pairs].any():  # copies of one another
        return
    followed = np.count_nonzero(near & pairs)
    if followed >= max(_LEAST_ROWS - 1, _FOLLOWING * np.count_nonzero(pairs)):
        raise SampleError(axes_message(persons, frames))


def _sizes(points: F32, seen: B) -> F32:
    """Of the boxes around what is seen: their diagonals [P, T]."""
    shown = seen[..., None]
    low = np.where(shown, points, np.inf).min(axis=2)
    high = np.where(shown, points, -np.inf).max(axis=2)
    found: F32 = np.hypot(*np.moveaxis(np.where(high >= low, high - low, 0), -1, 0))
    return found


def axes_message(persons: int, frames: int) -> str:
    """What is said of axes that have changed places."""
    return (
        f"keypoint holds {persons} persons in {frames} frame{'s' * (frames != 1)}, which seem to "
        "be frames: its axes are [persons, frames, joints, 2]. Transpose it with "
        "keypoint.swapaxes(0, 1), and keypoint_score likewise"
    )
