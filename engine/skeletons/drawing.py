"""Drawing: joints as Gaussians, limbs as lines with Gaussian edges, the maximum over persons.

Comes in: coordinates on the canvas and scores. Goes out: `Frames`. Source:
``GeneratePoseTarget`` of mmaction2 0.24.1, 1.2.0 and pyskl. The results are equal bit for bit,
which is why every cast is written out: the references' numpy (< 2) promoted scalars otherwise than
today's. No loop over frames, limbs or persons: cells of many boxes are computed at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.recipe import Recipe
from engine.skeletons.sparse import Frames

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Cells = tuple[NDArray[np.int64], F32]
"""Places in the flattened frames [n, channels, size, size], and values there."""

_JOINTS_AT_ONCE = 1 << 16
_CELLS_AT_ONCE = 1 << 18  # whose intermediate values stay in a cache


def draw(centres: F64, peaks: F32, recipe: Recipe) -> Frames:
    """Draw the frames of a video.

    `centres` float64 [P, U, joints, 2] pixels, `peaks` float32 [P, U, joints].
    """
    persons, count = peaks.shape[:2]
    step = max(1, _JOINTS_AT_ONCE // max(1, persons * recipe.channels))  # bounds a crowd's memory
    if recipe.limbs is not None:
        step = max(1, min(step, _CELLS_AT_ONCE // max(1, persons * recipe.cells // 4)))
    pieces = [
        _drawn(centres[:, first : first + step], peaks[:, first : first + step], recipe)
        for first in range(0, count, step)
    ]
    return Frames.joined(pieces)


def _drawn(centres: F64, peaks: F32, recipe: Recipe) -> Frames:
    persons, count = peaks.shape[:2]
    if recipe.limbs is None:
        channels = np.arange(peaks[0].size if persons else 0)
        places, values = _joints(
            centres.reshape(-1, 2), peaks.reshape(-1), np.tile(channels, persons), recipe
        )
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # far ends, as in the reference
            places, values = _limbs(centres, peaks, recipe)
    if not (places[1:] > places[:-1]).all():
        # Several persons may share cells, and short limbs come last; else all are in order.
        order = np.argsort(places, kind="stable")
        places, values = places[order], values[order]
        new = np.flatnonzero(np.diff(places, prepend=-1))
        places = places[new]
        values = np.maximum.reduceat(values, new) if len(new) else values
    frame, cell = np.divmod(places, recipe.cells)
    starts = np.searchsorted(frame, np.arange(count + 1))
    return Frames(
        starts.astype(np.int32), cell.astype(recipe.cell_type), values, recipe.frame_shape
    )


def _joints(centre: F64, peak: F32, channel: NDArray[np.int64], recipe: Recipe) -> Cells:
    """Gaussians around points [n, 2], with peaks [n], each in a channel [n] of the frames."""
    seen = np.flatnonzero(~(peak.astype(np.float64) < recipe.threshold))
    first, last = _bounds(centre[seen], centre[seen], recipe)
    inside = (first < last).all(axis=1)
    seen, first, last = seen[inside], first[inside], last[inside]

    # float32 squares of the distances along each axis: [n, window, 2]
    cells = first[:, None, :] + np.arange(recipe.window)[:, None]
    offset = cells.astype(np.float32) - centre[seen].astype(np.float32)[:, None, :]
    square = offset * offset
    exponent = square[:, None, :, 0] + square[:, :, None, 1]  # [n, y, x]
    patch = np.exp(-exponent / np.float32(2) / np.float32(recipe.sigma**2))
    patch *= peak[seen][:, None, None]

    wanted = cells < last[:, None, :]
    mask = wanted[:, None, :, 0] & wanted[:, :, None, 1]
    size = recipe.size
    places = channel[seen][:, None, None] * (size * size)
    places = places + cells[:, :, None, 1] * size + cells[:, None, :, 0]
    return places[mask], patch[mask]


def _limbs(centres: F64, peaks: F32, recipe: Recipe) -> Cells:
    """Lines between pairs of joints. Ends less than a pixel apart are drawn as the first joint,
    with its own score; other limbs have the lower of both scores."""
    assert recipe.limbs is not None
    one, other = np.array(recipe.limbs).T
    persons, count = peaks.shape[:2]
    size, kind = recipe.size, np.dtype(recipe.precision)
    channel = np.tile(np.arange(count * len(one)), persons)
    start, end = (centres[:, :, ends].reshape(-1, 2) for ends in (one, other))
    first_peak, last_peak = (peaks[:, :, ends].reshape(-1) for ends in (one, other))
    score = np.minimum(first_peak, last_peak)
    seen = ~(score.astype(np.float64) < recipe.threshold)
    first, last = _bounds(np.minimum(start, end), np.maximum(start, end), recipe)
    seen &= (first < last).all(axis=1)

    between = (start.astype(kind) - end.astype(kind)).astype(np.float64)
    length = between[:, 0] * between[:, 0] + between[:, 1] * between[:, 1]
    short = seen & (length < 1)
    chosen = np.flatnonzero(seen & ~short)
    width, height = (last - first)[chosen].T
    # What is the same for a row of a box is computed once a row: first rows, then their cells.
    limb = np.repeat(chosen, height)  # of each row
    y = np.arange(len(limb)) - np.repeat(np.cumsum(height) - height - first[chosen, 1], height)
    cells = np.repeat(width, height)
    ends = np.cumsum(cells)
    x = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - cells - first[limb, 0], cells)

    def of_limb(values: NDArray[Any]) -> NDArray[Any]:
        return np.repeat(values[limb], cells)

    def square_to(points: NDArray[Any]) -> F32:
        points = points.astype(np.float32)
        vertical = (y.astype(np.float32) - points[limb, 1]) ** 2
        return np.asarray((fx - of_limb(points[:, 0])) ** 2 + np.repeat(vertical, cells))

    fx = x.astype(np.float32)
    to_start, to_end = square_to(start), square_to(end)
    length32 = of_limb(length.astype(np.float32))
    share = (to_start - to_end + length32) / np.float32(2) / length32
    begin, ahead = start.astype(kind), end.astype(kind) - start.astype(kind)
    off_x = fx - (of_limb(begin[:, 0]) + share * of_limb(ahead[:, 0]))
    off_y = np.repeat(y.astype(np.float32), cells) - (
        of_limb(begin[:, 1]) + share * of_limb(ahead[:, 1])
    )
    to_line = off_x * off_x + off_y * off_y
    square = np.where(share <= 0, to_start, np.where(share >= 1, to_end, to_line))
    value = np.exp(-square.astype(np.float64) / 2 / recipe.sigma**2) * of_limb(score)
    drawn = value.astype(np.float32)
    kept = drawn != 0  # far corners of a box
    places = np.repeat(channel[limb] * (size * size) + y * size, cells) + x
    dots = np.flatnonzero(short)
    dot_places, dot_values = _joints(start[dots], first_peak[dots], channel[dots], recipe)
    return (
        np.concatenate([places[kept], dot_places]),
        np.concatenate([drawn[kept], dot_values]),
    )


def _bounds(low: F64, high: F64, recipe: Recipe) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """First cell and end (excluded) that is drawn on between two corners, int64 [n, 2]."""
    # Truncation toward zero in float64. Far-off corners are clamped first, since
    # they may not fit an integer; they lie outside the canvas either way.
    size = recipe.size
    low, high = (np.clip(corner, -4.0 * size, 4.0 * size) for corner in (low, high))
    first = np.maximum(np.trunc(low - recipe.reach), 0).astype(np.int64)
    last = np.minimum(np.trunc(high + recipe.reach) + 1, size).astype(np.int64)
    return first, last
