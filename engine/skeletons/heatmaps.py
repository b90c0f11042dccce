"""Heatmap frames: pose coordinates moved, scaled and drawn as the network wants them.

Comes in: a `PoseSequence` and a `ClipPlan`. Goes out: `Frames`, one for each distinct frame of the
plan and one for its flipped twin. Source: the test pipeline of mmaction2 0.24.1 (``PoseDecode``,
``PoseCompact``, ``Resize``, ``CenterCrop``, ``GeneratePoseTarget``) and, for ``reference="1.x"``,
of 1.2.0. The results are equal bit for bit, which is why every cast is written out: the reference's
numpy (< 2) promoted scalars otherwise than today's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.constants import (
    BOX_PADDING,
    BOX_THRESHOLD,
    JOINTS,
    LEFT_JOINTS,
    RIGHT_JOINTS,
    SCORE_THRESHOLD,
    SIGMA,
    SIZE,
    Reference,
)
from engine.base.errors import SampleError
from engine.skeletons.poses import Crop, PoseSequence
from engine.skeletons.sampling import ClipPlan
from engine.skeletons.sparse import CELLS, Frames

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

REACH = 3 * SIGMA  # how far a joint is drawn around its centre, pixels
WINDOW = 5  # columns that 2 * REACH can touch at most
_VARIANCE = np.float32(SIGMA**2)
_JOINTS_AT_ONCE = 1 << 16

TWIN = np.arange(JOINTS)
"""For each joint its twin on the other side, or itself."""
TWIN[list(LEFT_JOINTS)] = RIGHT_JOINTS
TWIN[list(RIGHT_JOINTS)] = LEFT_JOINTS

# For each cell of a frame the one that holds its value in the mirror image.
_MIRRORED = np.arange(CELLS, dtype=np.uint16).reshape(JOINTS, SIZE, SIZE)[TWIN, :, ::-1].ravel()


@dataclass(frozen=True, eq=False)
class Joints:
    """Where the joints of a video's distinct frames are, and how much they count.

    `centres`: float64 [P, U, 17, 2], x and y in pixels of the 56 x 56 canvas.
    `peaks`: float32 [P, U, 17], the scores.
    """

    centres: F64
    peaks: F32


def place(poses: PoseSequence, plan: ClipPlan, reference: Reference = "0.24.1") -> Joints:
    """The joints of the distinct frames of `plan` on the canvas.

    Raises `SampleError` for coordinates that the reference cannot place either.
    """
    keypoint = poses.keypoint[:, plan.unique].astype(np.float32)
    if poses.keypoint_score is None:
        peaks = np.ones(keypoint.shape[:3], np.float32)
    else:
        peaks = poses.keypoint_score[:, plan.unique].astype(np.float32)
    keypoint, img_shape = compact(keypoint, poses.img_shape, poses.crop)
    keypoint, img_shape = resize(keypoint, img_shape)
    centres = center_crop(keypoint, img_shape)
    if reference == "1.x":  # casts the cropped coordinates back
        centres = centres.astype(np.float32).astype(np.float64)
    return Joints(centres, peaks)


def render(joints: Joints, reference: Reference = "0.24.1", *, twins: bool = True) -> Frames:
    """Draw frames: U as they are, then, with `twins`, their U flipped twins (left and right
    exchanged)."""
    plain = draw(joints.centres, joints.peaks)
    if not twins:
        return plain
    if reference == "1.x":
        return Frames.joined([plain, mirror(plain)])
    return Frames.joined([plain, draw(flip(joints.centres), joints.peaks[..., TWIN])])


def compact(
    keypoint: F32, img_shape: tuple[int, int], crop: Crop | None = None
) -> tuple[F32, tuple[int, int]]:
    """``PoseCompact``: move the origin to the corner of a padded square around all poses.

    `keypoint` float32 [P, U, 17, 2] pixels, `img_shape` (height, width). Returns
    both for the square, unchanged where the poses span less than ten pixels. `crop`: another
    square than theirs.
    """
    keypoint = np.where(np.isnan(keypoint), np.float32(0), keypoint)
    if crop is None and (crop := crop_around(keypoint)) is None:
        return keypoint, img_shape
    left, top, right, bottom = crop
    for axis, corner in enumerate((left, top)):
        values = keypoint[..., axis]
        np.subtract(values, np.float32(corner), out=values, where=values != 0)
    return keypoint, (bottom - top, right - left)


def crop_around(keypoint: F32) -> Crop | None:
    """The padded square around all poses [P, U, 17, 2]; None where they span less than ten
    pixels. Raises `SampleError` where no square fits around them."""
    keypoint = np.where(np.isnan(keypoint), np.float32(0), keypoint)
    low = np.empty(2, np.float32)
    high = np.empty(2, np.float32)
    for axis in (0, 1):
        present = keypoint[..., axis]
        present = present[present != 0]
        if not present.size:
            return None
        low[axis], high[axis] = present.min(), present.max()
    with np.errstate(over="ignore"):
        span, total = high - low, high + low  # float32, as the reference
    if span[0] < BOX_THRESHOLD or span[1] < BOX_THRESHOLD:
        return None
    centre = total.astype(np.float64) / 2
    radius = float((span.astype(np.float64) / 2 * (1 + BOX_PADDING)).max())
    if not (np.isfinite(centre).all() and math.isfinite(radius)):
        raise SampleError(
            f"keypoint spans {low.tolist()} to {high.tolist()}: no box fits around that"
        )
    left, top = (int(c - radius) for c in centre)
    right, bottom = (int(c + radius) for c in centre)
    return left, top, right, bottom


def resize(keypoint: F32, img_shape: tuple[int, int]) -> tuple[F32, tuple[int, int]]:
    """``Resize``: scale so that the short side is 56. Shapes as for `compact`."""
    height, width = img_shape
    scale = SIZE / min(height, width)
    new_height, new_width = int(height * scale + 0.5), int(width * scale + 0.5)
    factors = np.array([new_width / width, new_height / height], np.float64).astype(np.float32)
    with np.errstate(over="ignore"):
        return keypoint * factors, (new_height, new_width)


def center_crop(keypoint: F32, img_shape: tuple[int, int]) -> F64:
    """``CenterCrop``: float64 coordinates in the 56 x 56 square in the middle.

    Every coordinate moves, those of absent joints (0, 0) too.
    """
    height, width = img_shape
    offset = np.array([(width - SIZE) // 2, (height - SIZE) // 2], np.float64)
    return keypoint.astype(np.float64) - offset


def flip(centres: F64) -> F64:
    """0.24.1's flip of float64 [..., 17, 2] coordinates: x becomes 56 - x.

    The width, not width - 1, so this is one pixel off the mirror image; x of
    exactly zero means "absent" and stays. Joints change places with their twins.
    """
    flipped = centres[..., TWIN, :]
    x = flipped[..., 0]
    np.subtract(SIZE, x, out=x, where=x != 0)
    return flipped


def mirror(frames: Frames) -> Frames:
    """1.x's flip: the mirror image of what has been drawn, joints in the places of their twins."""
    return replace(frames, cells=_MIRRORED[frames.cells])


def draw(centres: F64, peaks: F32) -> Frames:
    """``GeneratePoseTarget``: draw joints as Gaussians, the maximum over persons.

    `centres` float64 [P, U, 17, 2] pixels, `peaks` float32 [P, U, 17].
    """
    persons, count = peaks.shape[:2]
    step = max(1, _JOINTS_AT_ONCE // max(1, persons * JOINTS))  # bounds the memory of a crowd
    pieces = [
        _draw(centres[:, first : first + step], peaks[:, first : first + step])
        for first in range(0, count, step)
    ]
    return Frames.joined(pieces)


def _draw(centres: F64, peaks: F32) -> Frames:
    count = peaks.shape[1]
    visible = np.flatnonzero(~(peaks.astype(np.float64) < SCORE_THRESHOLD))
    first, last = _window(centres.reshape(-1, 2)[visible])
    inside = (first < last).all(axis=1)
    visible, first, last = visible[inside], first[inside], last[inside]
    centre = centres.reshape(-1, 2)[visible]

    # float32 squares of the distances along each axis: [joints, window, 2]
    cells = first[:, None, :] + np.arange(WINDOW)[:, None]
    offset = cells.astype(np.float32) - centre.astype(np.float32)[:, None, :]
    square = offset * offset
    exponent = square[:, None, :, 0] + square[:, :, None, 1]  # [joints, y, x]
    patch = np.exp(-exponent / np.float32(2) / _VARIANCE)
    patch *= peaks.reshape(-1)[visible][:, None, None]

    wanted = cells < last[:, None, :]
    mask = wanted[:, None, :, 0] & wanted[:, :, None, 1]
    place = (visible % (count * JOINTS))[:, None, None] * (SIZE * SIZE)
    place = place + cells[:, :, None, 1] * SIZE + cells[:, None, :, 0]
    places, values = place[mask], patch[mask]
    if len(peaks) > 1:  # several persons may share cells; a single one's are in order
        order = np.argsort(places, kind="stable")
        places, values = places[order], values[order]
        new = np.flatnonzero(np.diff(places, prepend=-1))
        places = places[new]
        values = np.maximum.reduceat(values, new) if len(new) else values
    frame, cell = np.divmod(places, CELLS)
    starts = np.searchsorted(frame, np.arange(count + 1))
    return Frames(starts.astype(np.int32), cell.astype(np.uint16), values)


def _window(centre: F64) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """First cell and end (excluded) that a joint is drawn on, int64 [joints, 2]."""
    # Truncation toward zero in float64. Far-off centres are clamped first, since
    # they may not fit an integer; they lie outside the canvas either way.
    near = np.clip(centre, -4.0 * SIZE, 4.0 * SIZE)
    first = np.maximum(np.trunc(near - REACH), 0).astype(np.int64)
    last = np.minimum(np.trunc(near + REACH) + 1, SIZE).astype(np.int64)
    return first, last
