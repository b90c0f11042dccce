"""Operations: how many a video needs, once everything that repeats is computed once.

Counted from the network's shapes (`converters.slowonly`) and the contexts of a video
(`engine.network.contexts`); two a multiply-add, convolutions only.
"""

from __future__ import annotations

from math import prod

import numpy as np

from converters.network import Conv
from converters.slowonly import SlowOnly
from engine.base.constants import CLIP_LEN, SIZE, VIEWS
from engine.base.recipe import HMDB51_RECIPE
from engine.network.contexts import Contexts, of_plan
from engine.network.increments import Ring
from engine.skeletons.sampling import clip_plan


def whole() -> float:
    """Of the reference: every layer over all frames of all clips."""
    per_frame, blocks = _network()
    total, positions = VIEWS * CLIP_LEN * per_frame, VIEWS * CLIP_LEN
    for before, after, stride in blocks:
        total += positions * before
        positions //= stride
        total += positions * after
    return total


def shared(total_frames: int) -> float:
    """Of a video of so many frames, its distinct frames and contexts once (both halves).

    Where a layer strides over time, a context that is only ever in the middle needs only that
    tap of the convolution, one that is only ever beside it only the other two.
    """
    _, blocks = _network()
    strides = [stride for _, _, stride in blocks]
    return 2 * _once(of_plan(clip_plan(total_frames, HMDB51_RECIPE).positions, strides))


def window(stride: int | None) -> float:
    """Of a window of a track, so many moments after the last one; None: computed anew."""
    _, blocks = _network()
    ring = Ring(CLIP_LEN, [stride for _, _, stride in blocks])
    found = ring.increment(0, stride)
    if stride is not None:
        ring.keep(found)
        found = ring.increment(stride, stride)
    return _once(found.contexts)


def _once(found: Contexts) -> float:
    """Of every context once."""
    per_frame, blocks = _network()
    total = found.frames * per_frame
    counts = np.array([found.frames, 0, 0])
    for (before, after, _), level in zip(blocks, found.levels, strict=True):
        both, middle, beside = counts
        total += (both + middle / 3 + beside * 2 / 3) * before + len(level) * after
        counts = np.array(level.uses)
    return float(total)


def planned(frames: int) -> float:
    """Of the compiled graph of frames and a plan (`Cuts.planned`), made for so many frames."""
    per_frame, _ = _network()
    return whole() + (frames - VIEWS * CLIP_LEN) * per_frame


def _network() -> tuple[float, list[tuple[float, float, int]]]:
    """Operations a frame before the first temporal convolution; then, a block, those of its
    temporal convolution for a position that it reads, of the rest for one that it writes (its
    shortcut included), and its stride over time."""
    arch = SlowOnly()
    side = SIZE  # the stem keeps the size, pooling halves it
    per_frame = _conv(arch.stem, side)
    side //= arch.pool1_stride_s
    blocks = []
    for block in arch.bottlenecks():
        conv1, conv2, conv3 = block.body
        space = conv2.stride[1]
        after = _conv(conv2, side // space) + _conv(conv3, side // space)
        if block.shortcut is not None:
            after += _conv(block.shortcut, side // space)
        if conv1.kernel[0] == 1:
            per_frame += _conv(conv1, side) + after
        else:
            blocks.append((_conv(conv1, side), after, conv2.stride[0]))
        side //= space
    return per_frame, blocks


def _conv(conv: Conv, side: int) -> float:
    """Of one position in time; `side` of the output."""
    return 2.0 * conv.inputs * conv.outputs * prod(conv.kernel) * side * side
