"""The stem on a GPU: joints are drawn and go through the network's first step at once, in Triton.

Few cells of a frame are not zero, so this takes for each square of pixels only the joints that are
near, and no canvas.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.backends.torch.rasteriser import FLIPPED, MIRRORED, Poses, sent
from engine.backends.torch.steps import Convolution
from engine.base.recipe import Recipe

TAPS = 64  # of a kernel, filled up with zeros
_TILE = 8  # pixels, each way
_MOST = 32  # joints: those that are near are bits of a number


def fits(first: Convolution, recipe: Recipe) -> bool:
    """Whether `draw` runs a network's first step."""
    times, kernel, *_ = first.weight.shape
    alone = first.relu and first.residual is None and first.then is None
    drawn = recipe.limbs is None and recipe.joints <= _MOST and recipe.size % _TILE == 0
    return alone and drawn and first.stride == times == 1 and kernel**2 <= TAPS


def draw(out: Tensor, poses: Poses, *, weight: Tensor, bias: Tensor, kernel: int) -> None:
    """Draw the joints of poses and run the network's first step into `out`, [frames, size, size,
    outputs]. `weight`: [joints, taps, outputs].
    """
    recipe, device = poses.recipe, out.device
    tiles = (recipe.size // _TILE) ** 2
    _stem[(len(out), tiles)](
        sent(poses.centres, device),
        sent(poses.peaks, device),
        sent(poses.frames, device),
        _twin(recipe, device),
        weight,
        bias,
        out,
        JOINTS=recipe.joints,
        MOST=_MOST,
        OUTPUTS=out.shape[-1],
        KERNEL=kernel,
        TAPS=TAPS,
        SIZE=recipe.size,
        TILE=_TILE,
        REACH=recipe.reach,
        VARIANCE=recipe.sigma**2,
        THRESHOLD=recipe.threshold,
        FLIPPED=FLIPPED,
        MIRRORED=MIRRORED,
        num_warps=4,
    )


@lru_cache(maxsize=16)
def _twin(recipe: Recipe, device: torch.device) -> Tensor:
    return torch.from_numpy(recipe.twin.astype("int32")).to(device)


@triton.jit
def bounds(low, high, SIZE: tl.constexpr, REACH: tl.constexpr):
    # First cell and end that is drawn on between two coordinates. As `engine.skeletons.drawing`
    # has it: float64, towards zero, what is far off brought near.
    low = tl.minimum(tl.maximum(low, -4.0 * SIZE), 4.0 * SIZE)
    high = tl.minimum(tl.maximum(high, -4.0 * SIZE), 4.0 * SIZE)
    first = tl.maximum((low - REACH).to(tl.int32), 0)
    last = tl.minimum((high + REACH).to(tl.int32) + 1, SIZE)
    return first, last


@triton.jit
def _window(
    centres,
    peaks,
    at,
    mask,
    way,
    SIZE: tl.constexpr,
    REACH: tl.constexpr,
    THRESHOLD: tl.constexpr,
    FLIPPED: tl.constexpr,
    MIRRORED: tl.constexpr,
):
    # A joint's x, and the cells that it is drawn on, none for one that is not.
    across = tl.load(centres + 2 * at, mask=mask, other=0.0)
    down = tl.load(centres + 2 * at + 1, mask=mask, other=0.0)
    peak = tl.load(peaks + at, mask=mask, other=0.0).to(tl.float64)
    if way == FLIPPED:
        across = tl.where(across != 0.0, SIZE - across, across)
    x0, x1 = bounds(across, across, SIZE, REACH)
    y0, y1 = bounds(down, down, SIZE, REACH)
    y1 = tl.where(peak < THRESHOLD, y0, y1)
    begin, end = x0, x1
    if way == MIRRORED:
        begin, end = SIZE - x1, SIZE - x0
    return across, begin, end, y0, y1


@triton.jit
def _stem(
    centres,
    peaks,
    frames,
    twin,
    weight,
    bias,
    out,
    JOINTS: tl.constexpr,
    MOST: tl.constexpr,
    OUTPUTS: tl.constexpr,
    KERNEL: tl.constexpr,
    TAPS: tl.constexpr,
    SIZE: tl.constexpr,
    TILE: tl.constexpr,
    REACH: tl.constexpr,
    VARIANCE: tl.constexpr,
    THRESHOLD: tl.constexpr,
    FLIPPED: tl.constexpr,
    MIRRORED: tl.constexpr,
):
    frame, tile = tl.program_id(0), tl.program_id(1)
    HALF: tl.constexpr = KERNEL // 2
    top, left = tile // (SIZE // TILE) * TILE, tile % (SIZE // TILE) * TILE
    first, step = tl.load(frames + 4 * frame), tl.load(frames + 4 * frame + 1)
    persons, way = tl.load(frames + 4 * frame + 2), tl.load(frames + 4 * frame + 3)
    m, k, n = tl.arange(0, TILE * TILE), tl.arange(0, TAPS), tl.arange(0, OUTPUTS)
    y = (top + m // TILE)[:, None] + (k // KERNEL)[None, :] - HALF
    x = (left + m % TILE)[:, None] + (k % KERNEL)[None, :] - HALF
    # Which joints are near, all at once: most are not.
    joints = tl.arange(0, MOST)
    sources = joints
    if way > 0:  # left and right change places in a twin
        sources = tl.load(twin + joints, mask=joints < JOINTS, other=0)
    near, person = 0, 0
    while person < persons:
        at = (first + person * step) * JOINTS + sources
        across, x0, x1, y0, y1 = _window(
            centres, peaks, at, joints < JOINTS, way, SIZE, REACH, THRESHOLD, FLIPPED, MIRRORED
        )
        touches = (x0 < left + TILE + HALF) & (x1 > left - HALF) & (x0 < x1)
        touches = touches & (y0 < top + TILE + HALF) & (y1 > top - HALF) & (y0 < y1)
        near = near | tl.sum(tl.where(touches, 1 << joints, 0), axis=0)
        person += 1
    total = tl.zeros((TILE * TILE, OUTPUTS), dtype=tl.float32)
    for joint in range(JOINTS):
        if (near >> joint) & 1:
            source = joint
            if way > 0:
                source = tl.load(twin + joint)
            values = tl.zeros((TILE * TILE, TAPS), dtype=tl.float32)
            person = 0
            while person < persons:
                at = (first + person * step) * JOINTS + source
                across, x0, x1, y0, y1 = _window(
                    centres,
                    peaks,
                    at,
                    joint < JOINTS,
                    way,
                    SIZE,
                    REACH,
                    THRESHOLD,
                    FLIPPED,
                    MIRRORED,
                )
                inside = (
                    (x >= x0) & (x < x1) & (y >= y0) & (y < y1) & (k < KERNEL * KERNEL)[None, :]
                )
                cells = x
                if way == MIRRORED:
                    cells = SIZE - 1 - x
                right = cells.to(tl.float32) - across.to(tl.float32)
                below = y.to(tl.float32) - tl.load(centres + 2 * at + 1).to(tl.float32)
                drawn = tl.exp(-(right * right + below * below) / 2 / VARIANCE)
                drawn *= tl.load(peaks + at)
                values = tl.maximum(values, tl.where(inside, drawn, 0.0))
                person += 1
            b = tl.load(weight + (joint * TAPS + k)[:, None] * OUTPUTS + n[None, :])
            total = tl.dot(values.to(weight.dtype.element_ty), b, total, input_precision="ieee")
    total = tl.maximum(total + tl.load(bias + n)[None, :], 0.0)
    pixel = (frame.to(tl.int64) * SIZE + top + m // TILE) * SIZE + left + m % TILE
    tl.store(out + pixel[:, None] * OUTPUTS + n[None, :], total.to(out.dtype.element_ty))
