"""Limbs on a GPU: lines between joints, drawn onto a canvas of frames, in Triton.

As `engine.skeletons.drawing` draws them, in the same precisions and order: multiplications and
additions are not fused, and quotients are rounded as IEEE 754 has it. A device's ``exp`` may differ
in its last bits.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.backends.torch.rasteriser import FLIPPED, MIRRORED, Poses, sent
from engine.backends.torch.stem import bounds
from engine.base.recipe import Recipe

_ROWS = 16  # of pixels, which a program draws of one limb


def draw(canvas: Tensor, poses: Poses) -> None:
    """Draw the limbs of poses onto a cleared canvas [frames, size, size, channels], the maximum
    of all persons."""
    recipe, device = poses.recipe, canvas.device
    _limbs[(len(canvas), recipe.channels, triton.cdiv(recipe.size, _ROWS))](
        sent(poses.centres, device),
        sent(poses.peaks, device),
        sent(poses.frames, device),
        _ends(recipe, device),
        canvas,
        JOINTS=recipe.joints,
        LIMBS=recipe.channels,
        CHANNELS=canvas.shape[-1],
        SIZE=recipe.size,
        ROWS=_ROWS,
        COLUMNS=triton.next_power_of_2(recipe.size),
        REACH=recipe.reach,
        VARIANCE=recipe.sigma**2,
        THRESHOLD=recipe.threshold,
        COORDINATES=tl.float64 if recipe.precision == "float64" else tl.float32,
        FLIPPED=FLIPPED,
        MIRRORED=MIRRORED,
        num_warps=4,
        enable_fp_fusion=False,
    )


@lru_cache(maxsize=16)
def _ends(recipe: Recipe, device: torch.device) -> Tensor:
    """The joints that each channel's line goes between, as it is and in a twin: int32 [2, limbs,
    2]."""
    ends = twins = np.array(recipe.limbs)
    if recipe.flip == "mirror":
        twins = ends[recipe.twin]
    elif recipe.flip == "redraw":
        twins = recipe.twin[ends]
    return torch.from_numpy(np.stack([ends, twins]).astype(np.int32)).to(device)


@triton.jit
def _limbs(
    centres,
    peaks,
    frames,
    ends,
    canvas,
    JOINTS: tl.constexpr,
    LIMBS: tl.constexpr,
    CHANNELS: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    REACH: tl.constexpr,
    VARIANCE: tl.constexpr,
    THRESHOLD: tl.constexpr,
    COORDINATES: tl.constexpr,
    FLIPPED: tl.constexpr,
    MIRRORED: tl.constexpr,
):
    frame, limb, top = tl.program_id(0), tl.program_id(1), tl.program_id(2) * ROWS
    first, step = tl.load(frames + 4 * frame), tl.load(frames + 4 * frame + 1)
    persons, way = tl.load(frames + 4 * frame + 2), tl.load(frames + 4 * frame + 3)
    half = (way > 0).to(tl.int32)
    one = tl.load(ends + 2 * (half * LIMBS + limb))
    other = tl.load(ends + 2 * (half * LIMBS + limb) + 1)
    y, x = top + tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    fx, fy = x.to(tl.float32), y.to(tl.float32)
    values = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    person = 0
    while person < persons:
        at = (first + person * step) * JOINTS
        ax, ay = tl.load(centres + 2 * (at + one)), tl.load(centres + 2 * (at + one) + 1)
        bx, by = tl.load(centres + 2 * (at + other)), tl.load(centres + 2 * (at + other) + 1)
        if way == FLIPPED:
            ax, bx = tl.where(ax != 0.0, SIZE - ax, ax), tl.where(bx != 0.0, SIZE - bx, bx)
        peak = tl.load(peaks + at + one)
        score = tl.minimum(peak, tl.load(peaks + at + other))
        x0, x1 = bounds(tl.minimum(ax, bx), tl.maximum(ax, bx), SIZE, REACH)
        y0, y1 = bounds(tl.minimum(ay, by), tl.maximum(ay, by), SIZE, REACH)
        seen = (x0 < x1) & (y0 < top + ROWS) & (top < y1) & (y0 < y1)
        if seen & (score.to(tl.float64) >= THRESHOLD):
            ax32, ay32 = ax.to(tl.float32), ay.to(tl.float32)
            to_start = (fx - ax32) * (fx - ax32) + (fy - ay32) * (fy - ay32)
            ahead_x = bx.to(COORDINATES) - ax.to(COORDINATES)
            ahead_y = by.to(COORDINATES) - ay.to(COORDINATES)
            along, down = ahead_x.to(tl.float64), ahead_y.to(tl.float64)
            length = along * along + down * down
            if length < 1.0:  # a dot
                x0, x1 = bounds(ax, ax, SIZE, REACH)
                y0, y1 = bounds(ay, ay, SIZE, REACH)
                drawn = tl.exp(tl.div_rn(-to_start * 0.5, VARIANCE)) * peak
            else:
                bx32, by32 = bx.to(tl.float32), by.to(tl.float32)
                to_end = (fx - bx32) * (fx - bx32) + (fy - by32) * (fy - by32)
                length32 = length.to(tl.float32)
                share = tl.div_rn((to_start - to_end + length32) * 0.5, length32)
                part = share.to(COORDINATES)
                off_x = fx.to(COORDINATES) - (ax.to(COORDINATES) + part * ahead_x)
                off_y = fy.to(COORDINATES) - (ay.to(COORDINATES) + part * ahead_y)
                square = off_x * off_x + off_y * off_y
                square = tl.where(share >= 1.0, to_end.to(COORDINATES), square)
                square = tl.where(share <= 0.0, to_start.to(COORDINATES), square)
                value = tl.exp(-square.to(tl.float64) / 2 / VARIANCE) * score.to(tl.float64)
                drawn = value.to(tl.float32)
            inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
            drawn = tl.where(inside, drawn, 0.0)
            # NaN stays, as in numpy's maximum: logits tell of it
            values = tl.maximum(values, drawn, propagate_nan=tl.PropagateNan.ALL)
        person += 1
    column = x
    if way == MIRRORED:
        column = SIZE - 1 - x
    pixel = (frame.to(tl.int64) * SIZE + y) * SIZE + column
    tl.store(
        canvas + pixel * CHANNELS + limb, values.to(canvas.dtype.element_ty), mask=values != 0.0
    )
