"""What `engine.backends.torch.kernels` does, by PyTorch's own operators: on any device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def filled(channels: int) -> int:
    """How many channels maps have for so many."""
    return channels


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
    """A convolution over rows of maps: [rows, height, width, outputs].

    `x`: [n, height, width, channels]; `weight`: [times, kernel, kernel, channels, outputs];
    `bias`: float32 [outputs]; `then`: those of a convolution of single pixels that follows a Relu,
    [outputs, last] and float32 [last]. `sources`: int32 [rows, 3], the rows in the level below of
    the positions before, at and after each, -1 for none; `x` (or `residual`, which is added) is
    taken from there if it is `gathered`. `count`: how many rows there really are, on the device.
    """
    total: Tensor | None = None
    for time, taps in enumerate(weight.permute(0, 4, 3, 1, 2)):
        part = x
        if gathered:
            assert sources is not None
            part = _taken(x, sources[:, time if len(weight) == 3 else 1])
        padding = weight.shape[1] // 2
        part = functional.conv2d(part.permute(0, 3, 1, 2), taps, stride=stride, padding=padding)
        total = part if total is None else total + part
    assert total is not None
    found = total.permute(0, 2, 3, 1) + bias.to(total.dtype)
    if then is not None:
        found = functional.relu(found) @ then[0] + then[1].to(found.dtype)
    if residual is not None:
        if residual_gathered:
            assert sources is not None
            residual = residual[sources[:, 1].long()]
        found = found + residual
    return functional.relu(found) if relu else found


def _taken(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of `x`; zeros for -1."""
    found = x[rows.clamp(min=0).long()]
    found[rows < 0] = 0
    return found


def pool(x: Tensor, *, kernel: int, stride: int, count: Tensor) -> Tensor:
    """The maximum around each pixel of [rows, height, width, channels]."""
    found = functional.max_pool2d(x.permute(0, 3, 1, 2), kernel, stride, padding=kernel // 2)
    return found.permute(0, 2, 3, 1)


def mean(x: Tensor, clips: Tensor, count: Tensor) -> Tensor:
    """The mean over pixels and positions: float32 [clips, channels]. `clips`: int32
    [clips, positions], rows of `x`."""
    rows = x.mean(dim=(1, 2), dtype=torch.float32)
    return rows[clips.long()].mean(dim=1)
