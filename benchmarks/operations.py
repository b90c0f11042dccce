"""Operations: how many a video needs, once everything that repeats is computed once.

Counted from the network's shapes (`converters.slowonly`) and the contexts of a video
(`engine.network.contexts`); two a multiply-add, convolutions only. Without a `Network` it is
HMDB51's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from converters.network import Conv
from converters.slowonly import SlowOnly
from engine.base.constants import CLIP_LEN, VIEWS
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.network.contexts import Contexts, of_plan
from engine.network.increments import Ring
from engine.skeletons.sampling import clip_plan


@dataclass(frozen=True)
class Level:
    """A temporal convolution: values of a position that it reads, of a tap, and of what goes around
    it; operations of the shortcut, if that is a convolution."""

    number: int
    read: int
    tap: int
    around: int
    shortcut: float


@dataclass(frozen=True)
class Network:
    """A network and the recipe of its input."""

    arch: SlowOnly = SlowOnly()
    recipe: Recipe = HMDB51_RECIPE

    @cached_property
    def shapes(self) -> tuple[float, list[tuple[float, float, int]]]:
        """Operations a frame before the first temporal convolution; then, a block, those of its
        temporal convolution for a position that it reads, of the rest for one that it writes (its
        shortcut included), and its stride over time."""
        side = self.recipe.size // self.arch.conv1_stride_s
        per_frame = _conv(self.arch.stem, side)
        side //= self.arch.pool1_stride_s
        blocks = []
        for block in self.arch.bottlenecks():
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

    @cached_property
    def levels(self) -> list[Level]:
        """Of each temporal convolution, in order."""
        side = self.recipe.size // self.arch.conv1_stride_s // self.arch.pool1_stride_s
        found: list[Level] = []
        for block in self.arch.bottlenecks():
            conv1, conv2, conv3 = block.body
            after = side // conv2.stride[1]
            read, tap = conv1.inputs * side * side, conv1.outputs * side * side
            around, shortcut = read, 0.0
            if block.shortcut is not None:
                around, shortcut = conv3.outputs * after * after, _conv(block.shortcut, after)
            if conv1.kernel[0] == 3:
                found.append(Level(len(found), read, tap, around, shortcut))
            side = after
        return found

    @property
    def strides(self) -> list[int]:
        """Of the blocks with a temporal convolution."""
        return [stride for _, _, stride in self.shapes[1]]


_HMDB51 = Network()


def whole(network: Network = _HMDB51) -> float:
    """Of the reference: every layer over all frames of all clips."""
    per_frame, blocks = network.shapes
    positions = network.recipe.views * network.recipe.length
    total = positions * per_frame
    for before, after, stride in blocks:
        total += positions * before
        positions //= stride
        total += positions * after
    return total


def shared(total_frames: int, network: Network = _HMDB51) -> float:
    """Of a video of so many frames, its distinct frames and contexts once (both halves).

    Where a layer strides over time, a context that is only ever in the middle needs only that
    tap of the convolution, one that is only ever beside it only the other two.
    """
    plan = clip_plan(total_frames, network.recipe).positions
    halves = network.recipe.views // network.recipe.clips
    return halves * _once(of_plan(plan, network.strides), network)


def window(stride: int | None) -> float:
    """Of a window of a track, so many moments after the last one; None: computed anew."""
    ring = Ring(_HMDB51.recipe.length, _HMDB51.strides)
    found = ring.increment(0, stride)
    if stride is not None:
        ring.keep(found)
        found = ring.increment(stride, stride)
    return _once(found.contexts, _HMDB51)


def _once(found: Contexts, network: Network) -> float:
    """Of every context once."""
    per_frame, blocks = network.shapes
    total = found.frames * per_frame
    counts = np.array([found.frames, 0, 0])
    for (before, after, _), level in zip(blocks, found.levels, strict=True):
        both, middle, beside = counts
        total += (both + middle / 3 + beside * 2 / 3) * before + len(level) * after
        counts = np.array(level.uses)
    return float(total)


def planned(frames: int) -> float:
    """Of the compiled graph of frames and a plan (`Cuts.planned`), made for so many frames."""
    per_frame, _ = _HMDB51.shapes
    return whole() + (frames - VIEWS * CLIP_LEN) * per_frame


def tabled(rows: Sequence[int], network: Network = _HMDB51) -> float:
    """Of the static graph for so many frames and, level by level, contexts (`Chain.graph`): taps
    and shortcuts are computed below, but of a level that strides over time at its own rows."""
    per_frame, blocks = network.shapes
    total = rows[0] * per_frame
    for level, (before, after, stride) in zip(network.levels, blocks, strict=True):
        below, count = rows[level.number : level.number + 2]
        read = count if stride > 1 else below
        total += read * (before + level.shortcut) + count * (after - level.shortcut)
    return total


def gathered(rows: Sequence[int], network: Network = _HMDB51) -> int:
    """Values that this graph writes to gather and add taps, which is no operation of a
    convolution: rows of zeros appended, rows gathered, and two sums."""
    total = 0
    for level, stride in zip(network.levels, network.strides, strict=True):
        below, count = rows[level.number : level.number + 2]
        if stride > 1:
            total += below * level.read + 3 * count * level.read
        else:
            total += 2 * below * level.tap + count * (3 * level.tap + level.around)
        total += 2 * count * level.tap
    return total


def _conv(conv: Conv, side: int) -> float:
    """Of one position in time; `side` of the output."""
    return 2.0 * conv.inputs * conv.outputs * prod(conv.kernel) * side * side
