"""Plausibility: whether poses can be what they are taken for.

Comes in: well-formed poses, of an annotation or of one frame of a stream. Goes out: the same with
coordinates in pixels and scores from 0 to about 1, and notes of what was decided; or a refusal.
Files do not say in which units their numbers are, and a network answers whatever it is shown: poses
in shares of the picture are a dot in its corner to it, scores in percent a flash. Pure.

* Coordinates. A person is not within three pixels of the picture's corner. Whose joints all are has
  coordinates that are shares of the picture, 0 to 1. From -1 to 1 there are two usual meanings, so
  those are refused, and so is what is shares here and pixels there.
* Absent joints. Programs that do not write 0, 0 have one point beyond the picture for all of them,
  -1, -1 say. It is taken as absent where several joints have it, to the bit.
* Scores. Those of heatmaps may be negative, or a little above 1, and stay. Above 10 and up to 100
  they are percent, unless some people's are shares. What else is above 1.5 is refused.
* Sizes. Nobody of fewer than eight pixels, all near the corner, is somebody in pixels, and nobody's
  shares of the picture go from just 0 to just 1 in both axes.
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
from engine.base.notes import ABSENT, EMPTY, PERCENT, Note
from engine.base.notes import NORMALISED as NOTED_NORMALISED

_CORNER: Final = 3.0  # pixels from it, in which nobody is
_MOST: Final = 0.95  # of the joints that are seen; a few may be anywhere
_LEAST_DISTINCT: Final = 3  # joints that tell; placeholders of what is absent are one or two
_NO_SIDE: Final = 2  # pixels of a picture that is none: (1, 1), beside shares
_SMALLEST: Final = 8.0  # pixels across somebody whose joints can be told apart
_METRES: Final = 32.0  # from the corner; whoever is farther off may be as small
_LEAST_SIDE: Final = 32  # pixels of a picture whose corner is small
_BELOW: Final = 0.1  # of coordinates in shares that may be negative: joints beyond the picture
_HIGHEST: Final = 1.5  # score
_PERCENT: Final = (10.0, 100.0)
_FEW: Final = 0.1  # people in a frame that may be in other units than all others
_PLACEHOLDERS: Final = 3  # joints at one point beyond the picture, at least

_LEAST_ROWS: Final = 4  # persons that may be frames
_COMMON: Final = 5  # joints that two of them must have in common
_MOVED: Final = 0.15  # of the body's size, from a frame to the next, on average
_FOLLOWING: Final = 0.8  # of the pairs
_OTHERS: Final = 8  # of the row before that are looked at

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
    one_frame: bool = False,
) -> Judged:
    """Poses [P, T, J, 2] with scores [P, T, J] or None, in a picture of (height, width), by their
    first `total` frames. `least_score`: joints below it are not drawn, so they are not seen.
    `one_frame`: there are no others to tell by, so that one joint tells.

    Raises `SampleError` where the numbers can be no poses, or might be two kinds of them.
    """
    placeholders, distinct = (1, 1) if one_frame else (_PLACEHOLDERS, _LEAST_DISTINCT)
    keypoint, replaced = _without_placeholders(keypoint, img_shape, placeholders)
    found = Judged(keypoint, score, (ABSENT,) if replaced else ())
    if score is not None and _in_percent(score[:, :total].astype(np.float32)):
        scaled = (score.astype(np.float64) / 100).astype(np.float32)
        found = replace(found, score=scaled, notes=(*found.notes, PERCENT))
    points, seen = joints_seen(keypoint, found.score, total, least_score)
    if not seen.any():
        return replace(found, notes=(*found.notes, EMPTY))
    _check_axes(points, seen)
    if max(img_shape) <= _NO_SIDE and coordinates != PIXELS:
        raise SampleError(
            f"img_shape is {img_shape}: no picture has that size. Give (height, width) in pixels, "
            "where coordinates are shares of it, too"
        )
    shown = points[seen], img_shape, coordinates, distinct
    if coordinates != PIXELS and _in_shares(*shown):
        height, width = img_shape
        # rounded once, as whoever scales float32 rounds
        if coordinates == AUTO:
            _check_stretched(points, seen)
        with np.errstate(over="ignore"):
            pixels = (keypoint.astype(np.float64) * [width, height]).astype(np.float32)
        if np.isinf(pixels[:, :total]).any():
            raise SampleError("keypoint has coordinates beyond float32, as shares of the picture")
        return replace(found, keypoint=pixels, notes=(*found.notes, NOTED_NORMALISED))
    if coordinates == AUTO:
        _check_units(points, seen, img_shape)
        _check_sizes(points, seen, img_shape)
    return found


def joints_seen(
    keypoint: NDArray[Any], score: NDArray[Any] | None, total: int, least_score: float
) -> tuple[F32, B]:
    """The joints [P, T, J, 2] of the first `total` frames, and which of them are drawn [P, T, J]:
    those that are somewhere, and whose score is not below the least."""
    points = keypoint[:, :total].astype(np.float32)
    seen = np.asarray((points != 0).any(axis=-1) & ~np.isnan(points).any(axis=-1))
    if score is not None:
        seen &= score[:, :total].astype(np.float32) >= least_score  # half floats compare slowly
    return points, seen


def _without_placeholders(
    keypoint: NDArray[Any], img_shape: tuple[int, int], least: int
) -> tuple[NDArray[Any], bool]:
    """Zeros for the joints of which so many are at one point of the diagonal beyond the picture,
    and whether there are any."""
    x = keypoint[..., 0]
    wide = x.astype(np.float32) if x.dtype == np.float16 else x  # which ends before some pictures
    beyond = (x == keypoint[..., 1]) & ((x < 0) | (wide > 2 * max(img_shape)))
    if np.count_nonzero(beyond) < least:
        return keypoint, False
    values, counts = np.unique(x[beyond], return_counts=True)
    absent = beyond & np.isin(x, values[counts >= least])
    if not absent.any():
        return keypoint, False
    return np.where(absent[..., None], keypoint.dtype.type(0), keypoint), True


def _check_units(points: F32, seen: B, img_shape: tuple[int, int]) -> None:
    """Raise `SampleError` where some people are in shares of the picture and others in pixels, or
    x and y are."""
    if min(img_shape) < _LEAST_SIDE:
        return
    varied = (points != points[..., :1, :]).any(axis=(-1, -2))
    bodies = (seen.sum(axis=-1) >= _LEAST_DISTINCT) & varied
    far = np.abs(points) > _CORNER
    shares = bodies & ~(far.any(axis=-1) & seen).any(axis=-1)
    shares &= ((points != np.rint(points)).any(axis=-1) & seen).any(axis=-1)
    count, of = np.count_nonzero(shares), np.count_nonzero(bodies)
    if _FEW * of < count < of:
        raise SampleError(
            f"keypoint has shares of the picture for {count} of {of} people in frames, and pixels "
            "for the others. Convert all to pixels, or say --coordinates pixels where they are"
        )
    shown, beyond = points[seen], far[seen].mean(axis=0)
    for axis, (name, other) in enumerate((("x", "y"), ("y", "x"))):
        fractions = (shown[:, axis] != np.rint(shown[:, axis])).any()
        if beyond[axis] <= 1 - _MOST and beyond[1 - axis] >= _MOST and fractions:
            raise SampleError(
                f"keypoint has {_range(shown)}: {name} in shares of the picture and {other} in "
                "pixels. Convert both to pixels, or say --coordinates pixels where they are"
            )


def _check_sizes(points: F32, seen: B, img_shape: tuple[int, int]) -> None:
    """Raise `SampleError` where everybody is a dot: coordinates in metres, say."""
    if min(img_shape) < 2 * _LEAST_SIDE or np.abs(points[seen]).max() > _METRES:
        return
    sizes = _sizes(points, seen)[seen.sum(axis=-1) >= _LEAST_DISTINCT]
    if not sizes.any() or (most := sizes.max()) >= _SMALLEST:
        return
    raise SampleError(
        f"keypoint has {_range(points[seen])}: everybody is at most {most:.2g} pixels large in a "
        f"picture of {img_shape[1]}x{img_shape[0]}. Convert coordinates (metres?) to pixels, or "
        "say --coordinates pixels where they are"
    )


def _check_stretched(points: F32, seen: B) -> None:
    """Raise `SampleError` where shares are not of the picture but of everybody's own extent, so
    that each axis goes from just 0 to just 1: once in all, or in every frame."""
    shown = np.where(seen[..., None], points, np.nan)
    for frames in (shown.reshape(1, -1, 2), np.moveaxis(shown, 1, 0).reshape(len(shown[0]), -1, 2)):
        there = frames[~np.isnan(frames).all(axis=(1, 2))]
        low, high = np.nanmin(there, axis=1), np.nanmax(there, axis=1)
        once = len(there) > 1 or all(
            (np.count_nonzero(there == end, axis=1) == 1).all() for end in (0, 1)
        )
        if (low == 0).all() and (high == 1).all() and once:
            raise SampleError(
                "keypoint goes from just 0 to just 1 in x and in y: each axis was divided by its "
                "own extent, and nobody's proportions are left. Give shares of the picture, or "
                "say --coordinates normalised where these are"
            )


def _in_percent(score: F32) -> bool:
    """Whether scores [P, T, J] are percent. Raises `SampleError` for what is no score."""
    if not score.size or (high := float(score.max())) <= _HIGHEST:
        return False
    low, (more, most) = float(score.min()), _PERCENT
    if more < high <= most and low >= 0:
        tops = score.max(axis=-1)
        people = np.count_nonzero(tops > 0)
        shares = np.count_nonzero((tops > 0) & (tops <= 1))
        if shares <= _FEW * people:
            return True
        raise SampleError(
            f"keypoint_score has percent, up to {high:.4g}, and scores up to 1 for {shares} of "
            f"{people} people in frames; give all of them from 0 to 1"
        )
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
    # Of each body the nearest one in the row before: detections come in any order.
    others = min(frames, _OTHERS)
    later, before = (slice(1, None), slice(None), None), (slice(-1), None, slice(others))
    both = seen[later] & seen[before]
    count = both.sum(axis=-1)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.hypot(*np.moveaxis(points[later] - points[before], -1, 0))
        means = np.where(both, moved, 0).sum(axis=-1) / np.maximum(count, 1)
    means = np.where(count >= _COMMON, means, np.inf)
    mean, pairs = means.min(axis=-1), (count >= _COMMON).any(axis=-1)
    with np.errstate(over="ignore", invalid="ignore"):
        near = mean <= _MOVED * _sizes(points, seen)[1:]
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
    with np.errstate(over="ignore"):
        found: F32 = np.hypot(*np.moveaxis(np.where(high >= low, high - low, 0), -1, 0))
    return found


def axes_message(persons: int, frames: int) -> str:
    """What is said of axes that have changed places."""
    return (
        f"keypoint holds {persons} persons in {frames} frame{'s' * (frames != 1)}, which seem to "
        "be frames: its axes are [persons, frames, joints, 2]. Transpose it with "
        "keypoint.swapaxes(0, 1), and keypoint_score likewise; of videos give one at a time"
    )
