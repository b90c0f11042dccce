"""Layout ``shared``: every distinct frame and every distinct context of a video once.

A *half* is the ten clips of a sample, plain or flipped, or the one of a window; a *wave* is as many
halves as fit into the buffers. A wave goes through the parts of the network (`engine.network.cuts`)
level by level, in runs of a fixed number of rows, each row a frame or a context
(`engine.network.contexts`) of any of its halves. Of a window of a track only what is new is
computed (`engine.network.increments`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from engine.base.recipe import Recipe
from engine.network.backend import Array, PartNetwork, PartsBackend
from engine.network.contexts import PADDING, Contexts, contexts
from engine.network.cuts import FEATURES, FRAMES, HANDED, NEXT, PREVIOUS, SHORTCUT, THIS, Cuts, Part
from engine.network.increments import Increment, slot_id
from engine.network.runners.base import F32, Logits, Runner
from engine.network.runners.cache import CachedTrack, RowCache
from engine.network.runners.rows import (
    ArrayShapes,
    Drawn,
    Placed,
    Taken,
    buffers,
    laid_out,
    nbytes,
)
from engine.skeletons.clips import Clips, HeatmapClips, JointClips
from engine.skeletons.sparse import Frames

_WANTED = (HANDED, (THIS, SHORTCUT), (PREVIOUS, NEXT))  # by use, in the order of `Level.uses`
_CAPACITY = 480  # rows of a wave at least
_RUNS_BETWEEN = 32  # calls of `meanwhile`, which cost as much as the smallest runs


@dataclass(frozen=True, eq=False)
class _Half:
    """Clips of a sample, as they are or flipped: their distinct frames and their contexts.
    `last`: whether the sample is complete with it."""

    key: int
    frames: Frames
    contexts: Contexts
    last: bool
    of_track: _OfTrack | None = None


@dataclass(frozen=True, eq=False)
class _OfTrack:
    """A window of a track, and what it adds."""

    track: CachedTrack
    increment: Increment


class SharedRunner(Runner):
    """Runs samples through the parts of a network. Filler is rows here, not clips. Halves that do
    not fill a wave wait for more, or for `collect`. `recipe`: of the samples. `room`: bytes for
    what is kept of tracks.
    """

    _backend: PartsBackend

    def __init__(self, backend: PartsBackend, cuts: Cuts, recipe: Recipe, room: int = 0) -> None:
        super().__init__(backend)
        self._head, self._strides, self._rows = cuts.head, cuts.strides, backend.rows
        levels = [[_Network(backend, cuts.trunk(backend.rows))]]
        for number in range(len(cuts.strides)):
            strided = cuts.strides[number + 1 : number + 2] > (1,)
            parts = [
                cuts.block(number, backend.rows, wanted)
                for wanted in (_WANTED if strided else _WANTED[:1])
            ]
            levels.append([_Network(backend, part) for part in parts])
        _give_inputs([network for level in levels for network in level])
        self._levels = levels
        parts = [level[0].part for level in levels]
        self._recipe = recipe
        # rows that one half has at most at any level, or that windows fill together
        self._capacity = max(_CAPACITY, recipe.clips * recipe.length)
        self._buffers = buffers(parts, backend.values, self._capacity)
        self._room = room
        self._cache = RowCache(parts, recipe.length, cuts.strides, backend.values, room)
        self._pending: dict[int, None] = {}  # keys, in their order
        self._waiting: list[_Half] = []  # the next wave
        self._total = np.zeros(len(levels), int)  # rows of it, by level
        self._found: list[F32] = []  # the first half's logits of a sample under way
        self._warm_up()

    @property
    def idle(self) -> bool:
        return not self._waiting

    @property
    def pending(self) -> list[int]:
        return list(self._pending)

    def close(self) -> None:
        self._levels.clear()
        super().close()

    def feed(
        self,
        batch: Sequence[tuple[int, Clips | JointClips]],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Iterator[Logits]:
        """Runs as long as waves are full."""
        self._pending.update(dict.fromkeys(key for key, _ in batch))
        for key, clips in batch:
            assert isinstance(clips, HeatmapClips)
            if self._is_window(clips) and (yield from self._add_window(key, clips, meanwhile)):
                continue
            table = contexts(clips.plan, self._strides)
            half = _Half(key, clips.frames[: clips.unique], table, last=not clips.twins)
            yield from self._add(half, meanwhile)
            if clips.twins:
                twin = _Half(key, clips.frames[clips.unique :], table, last=True)
                yield from self._add(twin, meanwhile)

    def _is_window(self, clips: HeatmapClips) -> bool:
        """Whether it is one of a track's windows, which have inner contexts in common: of
        consecutive moments, beginning at a multiple of the network's stride over time."""
        if clips.track is None or not self._room or clips.views > 1:
            return False
        _, _, first, step = clips.track
        stride = prod(self._strides)
        in_steps = step > 0 and first % stride == 0 == step % stride
        return in_steps and np.array_equal(clips.plan[0], np.arange(self._recipe.length))

    def _add_window(
        self, key: int, clips: HeatmapClips, meanwhile: Callable[[], object]
    ) -> Generator[Logits, None, bool]:
        """Whether there is room for what it adds. Of a track whose window before is in the wave,
        what that one adds is not kept yet."""
        assert clips.track is not None
        number, crop, first, step = clips.track
        busy = {half.of_track.track.number for half in self._waiting if half.of_track is not None}
        if number in busy:
            yield from self.collect(meanwhile)
        track = self._cache.track(number, crop, first, time.monotonic())
        increment = track.ring.increment(first, step)
        if not self._cache.allocate(track, increment, {*busy, number}):
            if busy:
                yield from self.collect(meanwhile)
            if not self._cache.allocate(track, increment, {number}):
                self._cache.evict(track)
                return False
        frames = clips.frames.chosen(increment.frames)
        half = _Half(key, frames, increment.contexts, True, _OfTrack(track, increment))
        yield from self._add(half, meanwhile)
        return True

    def _add(self, half: _Half, meanwhile: Callable[[], object]) -> Iterator[Logits]:
        """To the next wave, which is run before where that is full."""
        rows = np.array([half.contexts.frames, *(len(level) for level in half.contexts.levels)])
        if self._waiting and (self._total + rows).max() > self._capacity:
            yield from self.collect(meanwhile)
        self._waiting.append(half)
        self._total += rows

    def collect(self, meanwhile: Callable[[], object] = lambda: None) -> Iterator[Logits]:
        """Run a wave, full or not."""
        wave, self._waiting = self._waiting, []
        self._total[:] = 0
        under_way = self._wave(wave, meanwhile)
        self.together = sum(half.last for half in wave)
        for half, logits in zip(wave, under_way, strict=True):
            self._found.append(logits)
            if half.last:
                found = np.concatenate(self._found)
                self._found.clear()
                self.clips_run += len(found)
                del self._pending[half.key]
                yield half.key, found

    def _warm_up(self) -> None:
        """Run every part in every lane, so that the first sample is as fast as the others:
        memory is touched, and runtimes prepare much at the first run only."""
        for networks, buffer in zip(self._levels, self._buffers, strict=True):
            for array in buffer.values():
                array[:] = 0
            for network in networks:
                region = range(network.lanes * self._rows)
                self._sweep(network, region, buffer, lambda *_: None, lambda: None)

    def _wave(self, wave: Sequence[_Half], meanwhile: Callable[[], object]) -> list[F32]:
        """Logits [10, classes] of each half."""
        drawn = Drawn(Frames.joined([half.frames for half in wave]))
        placed = Placed([(half.contexts.frames,) for half in wave], self._rows)
        for number, (networks, buffer) in enumerate(zip(self._levels, self._buffers, strict=True)):
            for array in buffer.values():
                array[-1] = 0  # what padding reads; another level may have written there
            if number == 0:
                self._sweep(networks[0], placed.regions[0], buffer, drawn.read, meanwhile)
                self._keep(wave, placed, number, buffer)
                continue
            levels = [half.contexts.levels[number - 1] for half in wave]
            sources = placed.located(
                [
                    self._of_ring(half, level.sources, number - 1)
                    for half, level in zip(wave, levels, strict=True)
                ]
            )
            placed = Placed([level.uses for level in levels], self._rows)
            below, kept = self._buffers[number - 1], self._cache.arrays[number - 1]
            for use, (network, region) in enumerate(zip(networks, placed.regions, strict=False)):
                table = placed.gathered(sources, use)
                self._sweep(network, region, buffer, Taken(below, table, kept).read, meanwhile)
            self._keep(wave, placed, number, buffer)
        ids = [self._of_ring(half, half.contexts.clips, len(self._strides)) for half in wave]
        logits = []
        for half, rows in zip(wave, placed.located(ids), strict=True):
            scores = self._features(rows).mean(axis=1) @ self._head.weight.T + self._head.bias
            logits.append(np.asarray(scores[half.contexts.inverse], np.float32))
            if half.of_track is not None:
                half.of_track.track.ring.keep(half.of_track.increment)
        return logits

    def _of_ring(self, half: _Half, ids: NDArray[np.int32], level: int) -> NDArray[np.int64]:
        """Ids, those of slots of the half's ring as rows of what is kept."""
        wide = ids.astype(np.int64)
        return wide if (of := half.of_track) is None else self._cache.placed(wide, level, of.track)

    def _keep(
        self, wave: Sequence[_Half], placed: Placed, level: int, buffer: dict[str, Array]
    ) -> None:
        """Keep of a level what the next windows of tracks have in common with these."""
        for half, rows in zip(wave, placed.rows, strict=True):
            if half.of_track is not None:
                ids, slots = half.of_track.increment.kept[level]
                self._cache.store(level, half.of_track.track, slots, rows[ids], buffer)

    def _features(self, rows: NDArray[np.int64]) -> F32:
        """The features of clips' positions, float32 [clips, positions, features]."""
        found: F32 = self._buffers[-1][FEATURES][np.maximum(rows, PADDING)]
        for clip, position in np.argwhere(rows < PADDING):
            found[clip, position] = self._cache.arrays[-1][FEATURES][slot_id(rows[clip, position])]
        return found

    def _sweep(
        self,
        network: _Network,
        region: range,
        buffer: dict[str, Array],
        read: Callable[[int, int, dict[str, Array]], object],
        meanwhile: Callable[[], object],
    ) -> None:
        """Run a region of rows; `read` writes the inputs of rows counted from its start."""
        under_way: deque[int] = deque()
        for turn, first in enumerate(region[:: self._rows]):
            lane = turn % network.lanes
            if len(under_way) == network.lanes:
                network.finish(under_way.popleft())
            start = first - region.start
            count = min(self._rows, len(region) - start)
            read(start, start + count, network.inputs[lane])
            network.start(
                lane,
                {name: buffer[name][first : first + self._rows] for name in network.part.outputs},
            )
            under_way.append(lane)
            if turn % _RUNS_BETWEEN == 0:
                meanwhile()
        while under_way:
            network.finish(under_way.popleft())


class _Network:
    """A compiled part; `inputs`: arrays for each lane (`_give_inputs`)."""

    def __init__(self, backend: PartsBackend, part: Part) -> None:
        self.part = part
        self._network: PartNetwork = backend.part(part)
        self.lanes, self.finish = self._network.lanes, self._network.finish
        self.layout: ArrayShapes = {
            name: (shape, np.dtype(np.float32) if name == FRAMES else backend.values)
            for name, shape in part.inputs.items()
        }
        self.inputs: list[dict[str, Array]] = []

    def start(self, lane: int, outputs: dict[str, Array]) -> None:
        self._network.start(lane, self.inputs[lane], outputs)


def _give_inputs(networks: Sequence[_Network]) -> None:
    """Memory for the inputs of every lane; networks run one after the other and share it."""
    needed = max(nbytes(network.layout) for network in networks)
    memory = [np.zeros(needed, np.uint8) for _ in range(max(n.lanes for n in networks))]
    for network in networks:
        network.inputs = [laid_out(network.layout, lane) for lane in memory[: network.lanes]]
