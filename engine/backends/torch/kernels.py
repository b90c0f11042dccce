"""Kernels of a GPU for `engine.backends.torch.network`, in Triton.

Every row is computed by itself and in one order, so a sample's bits do not depend on its
neighbours. How many rows there are is read on the device: one captured graph serves all waves
that fit, and blocks beyond the last row end at once. With ``TRITON_INTERPRET=1`` set before the
import they run on a CPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.backends.torch import limbs, stem

__all__ = ["convolve", "filled", "limbs", "mean", "pool", "stem"]

_LEAST = 32  # channels
_BLOCK = 64  # pixels that pooling and averaging take at once


def filled(channels: int) -> int:
    """How many channels maps have for so many, the rest of them zeros: blocks are powers of two."""
    return max(_LEAST, 1 << (channels - 1).bit_length())


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
        x,
        x if sources is None else sources,
        weight,
        bias,
        x if residual is None else residual,
        *((x, x) if then is None else then),
        out,
        count,
        THEN=0 if then is None else last,
        BLOCK_THEN=block_then,
        SIZE=size,
        WIDTH=width,
        CHANNELS=channels,
        OUTPUTS=outputs,
        TIMES=times,
        KERNEL=kernel,
        STRIDE=stride,
        GATHERED=gathered,
        RESIDUAL=residual is not None,
        RESIDUAL_GATHERED=residual_gathered,
        RELU=relu,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        BLOCK_K=block_k,
        num_warps=warps,
        num_stages=stages,
    )
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
        x,
        out,
        count,
        SIZE=size,
        WIDTH=width,
        CHANNELS=channels,
        KERNEL=kernel,
        STRIDE=stride,
        BLOCK_M=_BLOCK,
        BLOCK_N=_LEAST,
    )
    return out


def mean(x: Tensor, clips: Tensor, count: Tensor) -> Tensor:
    """As `engine.backends.torch.plain.mean`, but of the first `count` clips only."""
    number, positions = clips.shape
    pixels, channels = x.shape[1] * x.shape[2], x.shape[3]
    out = torch.empty((number, channels), dtype=torch.float32, device=x.device)
    _mean[(number, channels // _LEAST)](
        x,
        clips,
        out,
        count,
        POSITIONS=positions,
        PIXELS=pixels,
        CHANNELS=channels,
        BLOCK_M=_BLOCK,
        BLOCK_N=_LEAST,
    )
    return out


@triton.jit(do_not_specialize_on_alignment=["sources", "clips", "count"])
def _convolve(
    x,
    sources,
    weight,
    bias,
    residual,
    weight_then,
    bias_then,
    out,
    count,
    THEN: tl.constexpr,
    BLOCK_THEN: tl.constexpr,
    SIZE: tl.constexpr,
    WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TIMES: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    GATHERED: tl.constexpr,
    RESIDUAL: tl.constexpr,
    RESIDUAL_GATHERED: tl.constexpr,
    RELU: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
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
    total,
    residual,
    out,
    m,
    added,
    n,
    inside,
    OUTPUTS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    RELU: tl.constexpr,
):
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
    x,
    out,
    count,
    SIZE: tl.constexpr,
    WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
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
        one = tl.load(
            x + at[:, None] * CHANNELS + n[None, :], mask=there[:, None], other=float("-inf")
        )
        most = tl.maximum(most, one.to(tl.float32))
    to = m.to(tl.int64)[:, None] * CHANNELS + n[None, :]
    tl.store(out + to, most.to(out.dtype.element_ty), mask=inside[:, None])


@triton.jit(do_not_specialize_on_alignment=["sources", "clips", "count"])
def _mean(
    x,
    clips,
    out,
    count,
    POSITIONS: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
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
            some = tl.load(
                x + at[:, None] * CHANNELS + n[None, :],
                mask=(first + pixel < PIXELS)[:, None],
                other=0.0,
            )
            total += tl.sum(some.to(tl.float32), axis=0)
    tl.store(out + clip * CHANNELS + n, total / (POSITIONS * PIXELS))
