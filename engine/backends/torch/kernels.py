"""Kernels of a GPU for `engine.backends.torch.network`, in Triton.

Every row is computed by itself and in one order, so a sample's bits do not depend on its
neighbours. How many rows there are is read on the device: one captured graph serves all waves
that fit, and blocks beyond the last row end at once. With ``TRITON_INTERPRET=1`` set before the
import they run on a CPU.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.backends.torch.drawing import FLIPPED, MIRRORED
from engine.backends.torch.steps import Convolution
from engine.constants import JOINTS, SCORE_THRESHOLD, SIGMA, SIZE
from engine.heatmaps import REACH, TWIN

STEM_TAPS = 64  # of a kernel, filled up with zeros
_STEM_TILE = 8  # pixels, each way
_LEAST = 32  # channels
_BLOCK = 64  # pixels that pooling and averaging take at once


def filled(channels: int) -> int:
    """How many channels maps have for so many, the rest of them zeros: blocks are powers of two."""
    return max(_LEAST, 1 << (channels - 1).bit_length())


def stem_fits(first: Convolution) -> bool:
    """Whether `stem` runs a network's first step."""
    times, kernel, _, joints, _ = first.weight.shape
    alone = first.relu and first.residual is None and first.then is None
    return alone and first.stride == times == 1 and joints == JOINTS and kernel**2 <= STEM_TAPS


def stem(
    centres: Tensor,
    peaks: Tensor,
    frames: Tensor,
    out: Tensor,
    *,
    weight: Tensor,
    bias: Tensor,
    kernel: int,
) -> None:
    """Draw `engine.backends.torch.drawing.Poses` and run the network's first step into `out`,
    [frames, 56, 56, outputs].

    Few cells of a frame are not zero, so this takes for each square of pixels only the joints
    that are near, and no canvas. `weight`: [17, taps, outputs].
    """
    tiles = (SIZE // _STEM_TILE) ** 2
    _stem[(len(out), tiles)](
        centres, peaks, frames, _twin(out.device), weight, bias, out, JOINTS=JOINTS,
        OUTPUTS=out.shape[-1], KERNEL=kernel, TAPS=STEM_TAPS, SIZE=SIZE, TILE=_STEM_TILE,
        REACH=REACH, VARIANCE=SIGMA**2, THRESHOLD=SCORE_THRESHOLD, FLIPPED=FLIPPED,
        MIRRORED=MIRRORED, num_warps=4,
    )  # fmt: skip


@lru_cache(maxsize=16)
def _twin(device: torch.device) -> Tensor:
    return torch.from_numpy(TWIN.astype("int32")).to(device)


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    stride: int,
    relu: bool,
    sources: Tensor | None,
    gathered: bool,
    residual: Tensor | None,
    residual_gathered: bool,
    then: tuple[Tensor, Tensor] | None,
    rows: int,
    count: Tensor,
) -> Tensor:
    """As `engine.backends.torch.plain.convolve`, but of the first `count` rows only."""
    times, kernel, _, channels, outputs = weight.shape
    size = x.shape[1]
    width = (size - 1) // stride + 1
    last = outputs if then is None else then[0].shape[1]
    out = torch.empty((rows, width, width, last), dtype=x.dtype, device=x.device)
    exact = x.dtype == torch.float32
    block_m, block_n, block_k, block_then, warps, stages = tile(
        exact, times * kernel**2, channels, outputs, 0 if then is None else last
    )
    grid = (triton.cdiv(rows * width * width, block_m), outputs // block_n)
    _convolve[grid](
        x, x if sources is None else sources, weight, bias, x if residual is None else residual,
        *((x, x) if then is None else then), out, count, THEN=0 if then is None else last,
        BLOCK_THEN=block_then,
        SIZE=size, WIDTH=width, CHANNELS=channels, OUTPUTS=outputs, TIMES=times, KERNEL=kernel,
        STRIDE=stride, GATHERED=gathered, RESIDUAL=residual is not None,
        RESIDUAL_GATHERED=residual_gathered, RELU=relu, BLOCK_M=block_m,
        BLOCK_N=block_n, BLOCK_K=block_k, num_warps=warps, num_stages=stages,
    )  # fmt: skip
    return out


def tile(
    exact: bool, taps: int, channels: int, outputs: int, then: int
) -> tuple[int, int, int, int, int, int]:
    """Pixels, outputs, channels and last outputs of a block; warps; stages: the fastest of those
    tried on an H200, but for float32, where they are what its registers hold."""
    block_n = next(n for n in ((64, 32) if exact else (128, 64, 32)) if outputs % n == 0)
    block_k = 64 if channels % 64 == 0 and not exact else 32
    if then:  # which needs all outputs of a pixel
        block_m = 32 if exact and outputs > 64 else 64
        block_then = next(
            n for n in ((128, 64, 32) if outputs == 32 else (64, 32)) if then % n == 0
        )
        return block_m, outputs, block_k, block_then, 4, 4 if outputs == 32 else 3
    if exact:
        return 64, block_n, block_k, 32, 4, 3
    if taps > 1:
        wide = block_n == 128 or channels < 256
        return 128, block_n, block_k, 32, 8 if wide and block_n > 32 else 4, 3
    # Memory is what these wait for.
    if block_n == 128 and channels >= 128:
        block_k = 64 if channels > 128 else 128
        return 128, block_n, block_k, 32, 4, 3 if channels > block_k else 2
    return 64 if block_n == 128 else 128, block_n, block_k, 32, 4, 2


def pool(x: Tensor, *, kernel: int, stride: int, count: Tensor) -> Tensor:
    """As `engine.backends.torch.plain.pool`, but of the first `count` rows only."""
    rows, size, _, channels = x.shape
    width = (size - 1) // stride + 1
    out = torch.empty((rows, width, width, channels), dtype=x.dtype, device=x.device)
    _pool[(triton.cdiv(rows * width * width, _BLOCK), channels // _LEAST)](
        x, out, count, SIZE=size, WIDTH=width, CHANNELS=channels, KERNEL=kernel, STRIDE=stride,
        BLOCK_M=_BLOCK, BLOCK_N=_LEAST,
    )  # fmt: skip
    return out


def mean(x: Tensor, clips: Tensor, count: Tensor) -> Tensor:
    """As `engine.backends.torch.plain.mean`, but of the first `count` clips only."""
    number, positions = clips.shape
    pixels, channels = x.shape[1] * x.shape[2], x.shape[3]
    out = torch.empty((number, channels), dtype=torch.float32, device=x.device)
    _mean[(number, channels // _LEAST)](
        x, clips, out, count, POSITIONS=positions, PIXELS=pixels, CHANNELS=channels,
        BLOCK_M=_BLOCK, BLOCK_N=_LEAST,
    )  # fmt: skip
    return out


@triton.jit
def _window(
    centres, peaks, at, mask, way, SIZE: tl.constexpr, REACH: tl.constexpr,
    THRESHOLD: tl.constexpr, FLIPPED: tl.constexpr, MIRRORED: tl.constexpr,
):  # fmt: skip
    # A joint's x, and the cells that it is drawn on, none for one that is not. As
    # `engine.heatmaps` has it: float64, towards zero, what is far off brought near.
    across = tl.load(centres + 2 * at, mask=mask, other=0.0)
    down = tl.load(centres + 2 * at + 1, mask=mask, other=0.0)
    peak = tl.load(peaks + at, mask=mask, other=0.0).to(tl.float64)
    if way == FLIPPED:
        across = tl.where(across != 0.0, SIZE - across, across)
    bound = tl.minimum(tl.maximum(across, -4.0 * SIZE), 4.0 * SIZE)
    x0 = tl.maximum((bound - REACH).to(tl.int32), 0)
    x1 = tl.minimum((bound + REACH).to(tl.int32) + 1, SIZE)
    bound = tl.minimum(tl.maximum(down, -4.0 * SIZE), 4.0 * SIZE)
    y0 = tl.maximum((bound - REACH).to(tl.int32), 0)
    y1 = tl.minimum((bound + REACH).to(tl.int32) + 1, SIZE)
    y1 = tl.where(peak < THRESHOLD, y0, y1)
    begin, end = x0, x1
    if way == MIRRORED:
        begin, end = SIZE - x1, SIZE - x0
    return across, begin, end, y0, y1


@triton.jit
def _stem(
    centres, peaks, frames, twin, weight, bias, out,
    JOINTS: tl.constexpr, OUTPUTS: tl.constexpr, KERNEL: tl.constexpr, TAPS: tl.constexpr,
    SIZE: tl.constexpr, TILE: tl.constexpr, REACH: tl.constexpr, VARIANCE: tl.constexpr,
    THRESHOLD: tl.constexpr, FLIPPED: tl.constexpr, MIRRORED: tl.constexpr,
):  # fmt: skip
    frame, tile = tl.program_id(0), tl.program_id(1)
    HALF: tl.constexpr = KERNEL // 2
    top, left = tile // (SIZE // TILE) * TILE, tile % (SIZE // TILE) * TILE
    first, step = tl.load(frames + 4 * frame), tl.load(frames + 4 * frame + 1)
    persons, way = tl.load(frames + 4 * frame + 2), tl.load(frames + 4 * frame + 3)
    m, k, n = tl.arange(0, TILE * TILE), tl.arange(0, TAPS), tl.arange(0, OUTPUTS)
    y = (top + m // TILE)[:, None] + (k // KERNEL)[None, :] - HALF
    x = (left + m % TILE)[:, None] + (k % KERNEL)[None, :] - HALF
    # Which joints are near, all at once: most are not.
    joints = tl.arange(0, 32)
    sources = joints
    if way > 0:  # left and right change places in a twin
        sources = tl.load(twin + joints, mask=joints < JOINTS, other=0)
    near, person = 0, 0
    while person < persons:
        at = (first + person * step) * JOINTS + sources
        across, x0, x1, y0, y1 = _window(centres, peaks, at, joints < JOINTS, way, SIZE, REACH,
                                         THRESHOLD, FLIPPED, MIRRORED)  # fmt: skip
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
                across, x0, x1, y0, y1 = _window(centres, peaks, at, joint < JOINTS, way, SIZE,
                                                 REACH, THRESHOLD, FLIPPED, MIRRORED)  # fmt: skip
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


@triton.jit(do_not_specialize_on_alignment=["sources", "clips", "count"])
def _convolve(
    x, sources, weight, bias, residual, weight_then, bias_then, out, count,
    THEN: tl.constexpr, BLOCK_THEN: tl.constexpr,
    SIZE: tl.constexpr, WIDTH: tl.constexpr, CHANNELS: tl.constexpr, OUTPUTS: tl.constexpr,
    TIMES: tl.constexpr, KERNEL: tl.constexpr, STRIDE: tl.constexpr, GATHERED: tl.constexpr,
    RESIDUAL: tl.constexpr, RESIDUAL_GATHERED: tl.constexpr, RELU: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    # A matrix product without its left matrix: pixels of all rows by taps and channels.
    PIXELS: tl.constexpr = WIDTH * WIDTH
    pixels = tl.load(count) * PIXELS
    first = tl.program_id(0) * BLOCK_M
    if first >= pixels:
        return
    m = first + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    inside = m < pixels
    row, pixel = m // PIXELS, m % PIXELS
    top = pixel // WIDTH * STRIDE - KERNEL // 2
    left = pixel % WIDTH * STRIDE - KERNEL // 2
    this = row
    if GATHERED:
        this = tl.load(sources + 3 * row + 1, mask=inside, other=-1)
    before, after = this, this
    if TIMES == 3:
        before = tl.load(sources + 3 * row, mask=inside, other=-1)
        after = tl.load(sources + 3 * row + 2, mask=inside, other=-1)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    STEPS: tl.constexpr = CHANNELS // BLOCK_K
    for step in range(TIMES * KERNEL * KERNEL * STEPS):  # one loop, which is what pipelines well
        tap, channel = step // STEPS, step % STEPS * BLOCK_K + k
        source = this
        if TIMES == 3:
            time = tap // (KERNEL * KERNEL)
            source = tl.where(time == 0, before, tl.where(time == 1, this, after))
        place = tap % (KERNEL * KERNEL)
        y, z = top + place // KERNEL, left + place % KERNEL
        there = inside & (source >= 0)
        if KERNEL > 1:
            there = there & (y >= 0) & (y < SIZE) & (z >= 0) & (z < SIZE)
        at = (source.to(tl.int64) * SIZE + y) * SIZE + z
        a = tl.load(x + at[:, None] * CHANNELS + channel[None, :], mask=there[:, None], other=0.0)
        b = tl.load(weight + (tap * CHANNELS + channel)[:, None] * OUTPUTS + n[None, :])
        # For other dtypes than float32 it has no effect.
        total = tl.dot(a, b, total, input_precision="ieee")
    total += tl.load(bias + n)[None, :]
    added = m.to(tl.int64)
    if RESIDUAL_GATHERED:
        source = tl.load(sources + 3 * row + 1, mask=inside, other=0)
        added = source.to(tl.int64) * PIXELS + pixel
    if THEN == 0:
        _finish(total, residual, out, m, added, n, inside, OUTPUTS, RESIDUAL, RELU)
    else:
        hidden = tl.maximum(total, 0.0).to(x.dtype.element_ty)
        for start in range(0, THEN, BLOCK_THEN):
            last = start + tl.arange(0, BLOCK_THEN)
            b = tl.load(weight_then + n[:, None] * THEN + last[None, :])
            found = tl.dot(hidden, b, input_precision="ieee") + tl.load(bias_then + last)[None, :]
            _finish(found, residual, out, m, added, last, inside, THEN, RESIDUAL, RELU)


@triton.jit
def _finish(
    total, residual, out, m, added, n, inside,
    OUTPUTS: tl.constexpr, RESIDUAL: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    # Add what goes around, of rows and pixels `added`; write pixels `m`.
    if RESIDUAL:
        at = added[:, None] * OUTPUTS + n[None, :]
        total += tl.load(residual + at, mask=inside[:, None], other=0.0).to(tl.float32)
    if RELU:
        total = tl.maximum(total, 0.0)
    to = m.to(tl.int64)[:, None] * OUTPUTS + n[None, :]
    tl.store(out + to, total.to(out.dtype.element_ty), mask=inside[:, None])


@triton.jit(do_not_specialize_on_alignment=["sources", "clips", "count"])
def _pool(
    x, out, count,
    SIZE: tl.constexpr, WIDTH: tl.constexpr, CHANNELS: tl.constexpr, KERNEL: tl.constexpr,
    STRIDE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    PIXELS: tl.constexpr = WIDTH * WIDTH
    pixels = tl.load(count) * PIXELS
    first = tl.program_id(0) * BLOCK_M
    if first >= pixels:
        return
    m = first + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = m < pixels
    row, pixel = m // PIXELS, m % PIXELS
    top = pixel // WIDTH * STRIDE - KERNEL // 2
    left = pixel % WIDTH * STRIDE - KERNEL // 2
    most = tl.full((BLOCK_M, BLOCK_N), float("-inf"), dtype=tl.float32)
    for place in tl.static_range(KERNEL * KERNEL):
        y, z = top + place // KERNEL, left + place % KERNEL
        there = inside & (y >= 0) & (y < SIZE) & (z >= 0) & (z < SIZE)
        at = (row.to(tl.int64) * SIZE + y) * SIZE + z
        one = tl.load(x + at[:, None] * CHANNELS + n[None, :], mask=there[:, None],
                      other=float("-inf"))  # fmt: skip
        most = tl.maximum(most, one.to(tl.float32))
    to = m.to(tl.int64)[:, None] * CHANNELS + n[None, :]
    tl.store(out + to, most.to(out.dtype.element_ty), mask=inside[:, None])


@triton.jit(do_not_specialize_on_alignment=["sources", "clips", "count"])
def _mean(
    x, clips, out, count,
    POSITIONS: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    clip = tl.program_id(0)
    if clip >= tl.load(count):
        return
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    pixel = tl.arange(0, BLOCK_M)
    total = tl.zeros((BLOCK_N,), dtype=tl.float32)
    for position in range(POSITIONS):
        row = tl.load(clips + clip * POSITIONS + position).to(tl.int64)
        for first in tl.static_range(0, PIXELS, BLOCK_M):
            at = row * PIXELS + first + pixel
            some = tl.load(x + at[:, None] * CHANNELS + n[None, :],
                           mask=(first + pixel < PIXELS)[:, None], other=0.0)  # fmt: skip
            total += tl.sum(some.to(tl.float32), axis=0)
    tl.store(out + clip * CHANNELS + n, total / (POSITIONS * PIXELS))
