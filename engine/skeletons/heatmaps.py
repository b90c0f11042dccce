"""Heatmap frames: pose coordinates moved and scaled as the network wants them, drawn and flipped.

Comes in: a `PoseSequence` and a `ClipPlan`. Goes out: `Frames`, one for each distinct frame of the
plan and one for its flipped twin. Source: the test pipelines of mmaction2 0.24.1, 1.2.0 and pyskl
(``PoseDecode``, ``PoseCompact``, ``Resize``, ``CenterCrop``; drawing is
`engine.skeletons.drawing`). Equal bit for bit, see there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import SampleError
from engine.base.recipe import Recipe
from engine.skeletons.drawing import draw
from engine.skeletons.poses import Crop, PoseSequence
from engine.skeletons.sampling import ClipPlan
from engine.skeletons.sparse import Frames

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Joints:
    """Where the joints of a video's distinct frames are, and how much they count.

    `centres`: float64 [P, U, joints, 2], x and y in pixels of the canvas.
    `peaks`: float32 [P, U, joints], the scores.
    """

    centres: F64
    peaks: F32


def place(poses: PoseSequence, plan: ClipPlan, recipe: Recipe) -> Joints:
    """The joints of the distinct frames of `plan` on the canvas.

    Raises `SampleError` for coordinates that the reference cannot place either.
    """
    keypoint = poses.keypoint[:, plan.unique].astype(np.float32)
    if poses.keypoint_score is None:
        peaks = np.ones(keypoint.shape[:3], np.float32)
    else:
        peaks = poses.keypoint_score[:, plan.unique].astype(np.float32)
    keypoint, img_shape = compact(keypoint, poses.img_shape, recipe, poses.crop)
    keypoint, img_shape = resize(keypoint, img_shape, recipe)
    centres = keypoint.astype(np.float64)
    if recipe.fit == "crop":
        centres = center_crop(centres, img_shape, recipe)
    if recipe.precision == "float32":  # casts the cropped coordinates back
        centres = centres.astype(np.float32).astype(np.float64)
    return Joints(centres, peaks)


def render(joints: Joints, recipe: Recipe) -> Frames:
    """Draw frames: U as they are, then, where the recipe flips, their U flipped twins."""
    plain = draw(joints.centres, joints.peaks, recipe)
    if recipe.flip is None:
        return plain
    if recipe.flip == "mirror":
        twins = replace(plain, cells=recipe.mirrored[plain.cells])
    else:
        twins = draw(flip(joints.centres, recipe), joints.peaks[..., recipe.twin], recipe)
    return Frames.joined([plain, twins])


def compact(
    keypoint: F32, img_shape: tuple[int, int], recipe: Recipe, crop: Crop | None = None
) -> tuple[F32, tuple[int, int]]:
    """``PoseCompact``: move the origin to the corner of a padded square around all poses.

    `keypoint` float32 [P, U, joints, 2] pixels, `img_shape` (height, width). Returns
    both for the square, unchanged where the poses span less than a least box. `crop`: another
    square than theirs.
    """
    keypoint = np.where(np.isnan(keypoint), np.float32(0), keypoint)
    if crop is None and (crop := crop_around(keypoint, recipe)) is None:
        return keypoint, img_shape
    left, top, right, bottom = crop
    for axis, corner in enumerate((left, top)):
        values = keypoint[..., axis]
        np.subtract(values, np.float32(corner), out=values, where=values != 0)
    return keypoint, (bottom - top, right - left)


def crop_around(keypoint: F32, recipe: Recipe) -> Crop | None:
    """The padded square around all poses [P, U, joints, 2]; None where they span less than a
    least box. Raises `SampleError` where no square fits around them."""
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
    if span[0] < recipe.least_box or span[1] < recipe.least_box:
        return None
    centre = total.astype(np.float64) / 2
    radius = float((span.astype(np.float64) / 2 * (1 + recipe.padding)).max())
    if not (np.isfinite(centre).all() and math.isfinite(radius)):
        raise SampleError(
            f"keypoint spans {low.tolist()} to {high.tolist()}: no box fits around that"
        )
    left, top = (int(c - radius) for c in centre)
    right, bottom = (int(c + radius) for c in centre)
    return left, top, right, bottom


def resize(
    keypoint: F32, img_shape: tuple[int, int], recipe: Recipe
) -> tuple[F32, tuple[int, int]]:
    """``Resize``: scale the short side to a heatmap's, or, to stretch, each by itself. Shapes as
    for `compact`."""
    height, width = img_shape
    new_height = new_width = recipe.size
    if recipe.fit == "crop":
        scale = recipe.size / min(height, width)
        new_height, new_width = int(height * scale + 0.5), int(width * scale + 0.5)
    factors = np.array([new_width / width, new_height / height], np.float64).astype(np.float32)
    with np.errstate(over="ignore"):
        return keypoint * factors, (new_height, new_width)


def center_crop(centres: F64, img_shape: tuple[int, int], recipe: Recipe) -> F64:
    """``CenterCrop``: coordinates in the square in the middle.

    Every coordinate moves, those of absent joints (0, 0) too.
    """
    height, width = img_shape
    size = recipe.size
    return centres - np.array([(width - size) // 2, (height - size) // 2], np.float64)


def flip(centres: F64, recipe: Recipe) -> F64:
    """0.24.1's flip of float64 [..., joints, 2] coordinates: x becomes the width less x.

    The width, not width - 1, so this is one pixel off the mirror image; x of
    exactly zero means "absent" and stays. Joints change places with their twins.
    """
    flipped = centres[..., recipe.twin, :]
    x = flipped[..., 0]
    np.subtract(recipe.size, x, out=x, where=x != 0)
    return flipped
