"""Levels: the parts of a network, one behind the other, and the buffers between them.

Comes in: a wave of halves. Goes out: the logits of their clips. A wave goes through the parts
(`engine.network.cuts`) level by level, in runs of a fixed number of rows, each row a frame or a
context (`engine.network.contexts`) of any of its halves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.network.backend import Array, PartNetwork, PartsBackend
from engine.network.contexts import PADDING, Contexts
from engine.network.cuts import FEATURES, HANDED, NEXT, PREVIOUS, SHORTCUT, THIS, Cuts, Part
from engine.network.increments import IdsToSlots, slot_id
from engine.network.runners.base import F32
from engine.network.runners.pool import RowPool, Slots
from engine.network.runners.rows import (
    ArrayShapes,
    Buffers,
    Convolved,
    Drawn,
    Placed,
    Taken,
    laid_out,
    nbytes,
    stored,
)
from engine.network.stem import Stem
from engine.skeletons.sparse import Frames

_WANTED = (HANDED, (THIS, SHORTCUT), (PREVIOUS, NEXT))  # by use, in the order of `Level.uses`
_RUNS_BETWEEN = 32  # calls of `meanwhile`, which cost as much as the smallest runs


@dataclass(frozen=True, eq=False)
class Half:
    """What a wave computes of a sample: clips of it, as they are or flipped, or what a window adds.

    `frames`: those that are drawn. `contexts`: ids of what is computed, and of `slots`, where what
    was computed before is kept. `kept`: for each level, ids of what is computed and is to be kept,
    and the slots that they go to. `distinct`: how many different clips the sample has in this half;
    `contexts.inverse` says which of them those of `contexts.clips` are.
    """

    frames: Frames
    contexts: Contexts
    distinct: int
    slots: Slots = ()
    kept: tuple[IdsToSlots, ...] = ()

    @property
    def rows(self) -> NDArray[np.int64]:
        """How many it has, by level, the first that of the frames."""
        return np.array(self.contexts.rows)


class Levels:
    """`capacity`: rows that a wave has at most, at any level. `stem`: what computes the first
    convolution, if the trunk does not. The `pool` of its methods is where the slots of halves
    are."""

    def __init__(
        self, backend: PartsBackend, cuts: Cuts, capacity: int, stem: Stem | None = None
    ) -> None:
        self._head, self._strides, self._rows = cuts.head, cuts.strides, backend.rows
        self.capacity = capacity
        self._stem = stem
        trunk = cuts.trunk(backend.rows) if stem is None else cuts.stemmed_trunk(backend.rows)
        levels = [[_Network(backend, trunk)]]
        for number in range(len(cuts.strides)):
            strided = cuts.strides[number + 1 : number + 2] > (1,)
            parts = [
                cuts.block(number, backend.rows, wanted)
                for wanted in (_WANTED if strided else _WANTED[:1])
            ]
            # some hand on the same, whatever is wanted of it
            distinct = {tuple(part.outputs): part for part in parts}
            networks = {outputs: _Network(backend, part) for outputs, part in distinct.items()}
            levels.append([networks[tuple(part.outputs)] for part in parts])
        _give_inputs([network for level in levels for network in level])
        self._levels = levels
        self.parts: list[Part] = [level[0].part for level in levels]
        self._memory = Buffers(self.parts, backend.values, capacity)

    @property
    def in_lanes(self) -> int:
        """Rows that are run at once."""
        return self._levels[0][0].lanes * self._rows

    def close(self) -> None:
        """Let go of the networks."""
        self._levels.clear()

    def warm_up(self, pool: RowPool) -> F32:
        """Run every part once, each on what the part before it made of an empty frame; what comes
        out in the end are the logits of an empty clip, [1, classes]. The other lanes prepare
        themselves at the first sample, which would wait for it just as long here."""
        region = range(self._rows)
        buffers = self._memory.of([self._rows] * len(self._levels))
        for number, (networks, buffer) in enumerate(zip(self._levels, buffers, strict=True)):
            table = np.zeros((len(region), 3), np.int64)
            first = Taken(buffers[number - 1], table, pool.arrays[number - 1])
            read = first.read if number else lambda first, last, out: out
            for network in networks:
                self._sweep(network, region, buffer, read, lambda: None)
        return self._scores(buffers[-1][FEATURES][:1])

    def run(
        self, wave: Sequence[Half], pool: RowPool, meanwhile: Callable[[], object]
    ) -> list[F32]:
        """Logits of each half, [clips, classes], by `Half.contexts.clips`. What the halves keep
        is in their slots then."""
        buffers = self._memory.of(np.sum([half.rows for half in wave], axis=0).tolist())
        frames = Frames.joined([half.frames for half in wave])
        stem = self._stem
        drawn = Drawn(frames) if stem is None else Convolved(frames, stem, self._rows)
        placed = Placed([(half.contexts.frames,) for half in wave], self._rows)
        for number, (networks, buffer) in enumerate(zip(self._levels, buffers, strict=True)):
            for array in buffer.values():
                array[-1] = 0  # what padding reads; another level may have written there
            if number == 0:
                self._sweep(networks[0], placed.regions[0], buffer, drawn.read, meanwhile)
                _keep(wave, placed, number, buffer, pool)
                continue
            levels = [half.contexts.levels[number - 1] for half in wave]
            sources = placed.located(
                [
                    pool.located(level.sources, half.slots, number - 1)
                    for half, level in zip(wave, levels, strict=True)
                ]
            )
            placed = Placed([level.uses for level in levels], self._rows)
            below, kept = buffers[number - 1], pool.arrays[number - 1]
            for use, (network, region) in enumerate(zip(networks, placed.regions, strict=False)):
                table = placed.gathered(sources, use)
                self._sweep(network, region, buffer, Taken(below, table, kept).read, meanwhile)
            _keep(wave, placed, number, buffer, pool)
        last = len(self._strides)
        ids = [pool.located(half.contexts.clips, half.slots, last) for half in wave]
        return [
            self._logits(half, rows, buffers[-1][FEATURES], pool.arrays[-1][FEATURES])
            for half, rows in zip(wave, placed.located(ids), strict=True)
        ]

    def _logits(self, half: Half, rows: NDArray[np.int64], computed: Array, kept: Array) -> F32:
        """Of the clips at rows [clips, positions]. Always as many as the half has: the bits of a
        product of matrices depend on their size."""
        found: F32 = computed[np.maximum(rows, PADDING)]
        for clip, position in np.argwhere(rows < PADDING):
            found[clip, position] = kept[slot_id(rows[clip, position])]
        features = np.zeros((half.distinct, found.shape[-1]), np.float32)
        features[half.contexts.inverse] = found.mean(axis=1)
        return self._scores(features)[half.contexts.inverse]

    def _scores(self, features: F32) -> F32:
        """What the classifier makes of features [clips, features]: [clips, classes]."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is looked for
            return self._head.logits(features)

    def _sweep(
        self,
        network: _Network,
        region: range,
        buffer: dict[str, Array],
        read: Callable[[int, int, dict[str, Array]], dict[str, Array]],
        meanwhile: Callable[[], object],
    ) -> None:
        """Run a region of rows; `read` has the inputs of rows counted from its start, written
        where it is told or where they are."""
        under_way: deque[int] = deque()
        for turn, first in enumerate(region[:: self._rows]):
            lane = turn % network.lanes
            if len(under_way) == network.lanes:
                network.finish(under_way.popleft())
            start = first - region.start
            count = min(self._rows, len(region) - start)
            network.start(
                lane,
                read(start, start + count, network.inputs[lane]),
                {name: buffer[name][first : first + self._rows] for name in network.part.outputs},
            )
            under_way.append(lane)
            if turn % _RUNS_BETWEEN == 0:
                meanwhile()
        while under_way:
            network.finish(under_way.popleft())


def _keep(
    wave: Sequence[Half], placed: Placed, level: int, buffer: dict[str, Array], pool: RowPool
) -> None:
    """Keep of a level what halves to come have in common with these."""
    for half, rows in zip(wave, placed.rows, strict=True):
        if half.kept:
            ids, slots = half.kept[level]
            pool.store(level, half.slots[level][slots], rows[ids], buffer)


class _Network:
    """A compiled part; `inputs`: arrays for each lane (`_give_inputs`)."""

    def __init__(self, backend: PartsBackend, part: Part) -> None:
        self.part = part
        compiled: PartNetwork = backend.part(part)
        self.lanes, self.start, self.finish = compiled.lanes, compiled.start, compiled.finish
        self.layout: ArrayShapes = {
            name: (shape, stored(name, part.input_types[name], backend.values))
            for name, shape in part.inputs.items()
        }
        self.inputs: list[dict[str, Array]] = []


def _give_inputs(networks: Sequence[_Network]) -> None:
    """Memory for the inputs of every lane; networks run one after the other and share it."""
    needed = max(nbytes(network.layout) for network in networks)
    memory = [np.zeros(needed, np.uint8) for _ in range(max(n.lanes for n in networks))]
    for network in networks:
        network.inputs = [laid_out(network.layout, lane) for lane in memory[: network.lanes]]
