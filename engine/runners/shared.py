"""Layout ``shared``: every distinct frame and every distinct context of a video once.

Called by the executor. A *half* is the ten clips of a sample, plain or flipped; a *wave* is as
many halves as fit into the buffers. A wave goes through the parts of the network
(`engine.parts`) level by level, in runs of a fixed number of rows, each row a frame or a
context (`engine.contexts`) of any of its halves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.backends import Array, Backend, Facts, PartNetwork
from engine.clips import Clips, HeatmapClips
from engine.constants import CLIP_LEN, NUM_CLIPS
from engine.contexts import PADDING, Contexts, contexts
from engine.frames import Frames
from engine.parts import FEATURES, FRAMES, HANDED, NEXT, PREVIOUS, SHORTCUT, THIS, Cuts, Part

F32 = NDArray[np.float32]
Rows = NDArray[np.int64]

_CAPACITY = NUM_CLIPS * CLIP_LEN  # rows that one half has at most at any level
_WANTED = (HANDED, (THIS, SHORTCUT), (PREVIOUS, NEXT))  # by use, in the order of `Level.uses`
_RUNS_BETWEEN = 32  # calls of `meanwhile`, which cost as much as the smallest runs
_TAPS = ((PREVIOUS, 0), (THIS, 1), (NEXT, 2), (SHORTCUT, 1))  # and whose row each is taken from


@dataclass(frozen=True, eq=False)
class _Half:
    """Clips of a sample, as they are or flipped: their distinct frames and their contexts.
    `last`: whether the sample is complete with it."""

    key: int
    frames: Frames
    contexts: Contexts
    last: bool


class SharedRunner:
    """Runs samples through the parts of a network. `clips_padded` stays 0: filler is rows
    here, not clips. Halves that do not fill a wave wait for more, or for `collect`.
    """

    step = 1

    def __init__(self, backend: Backend, cuts: Cuts) -> None:
        self._backend = backend
        self._head, self._strides, self._rows = cuts.head, cuts.strides, backend.rows
        levels = [[_Network(backend, cuts.trunk(backend.rows))]]
        for number in range(len(cuts.strides)):
            strided = cuts.strides[number + 1 : number + 2] > (1,)
            parts = [cuts.block(number, backend.rows, wanted)
                     for wanted in (_WANTED if strided else _WANTED[:1])]  # fmt: skip
            levels.append([_Network(backend, part) for part in parts])
        _give_inputs([network for level in levels for network in level])
        self._levels = levels
        self._buffers = _buffers([level[0].part for level in levels], backend.values)
        self._waiting: deque[_Half] = deque()
        self._found: list[F32] = []  # the first half's logits of a sample under way
        self.clips_run = self.clips_padded = 0
        self._warm_up()

    @property
    def facts(self) -> Facts:
        return self._backend.facts

    @property
    def idle(self) -> bool:
        """Whether no half waits."""
        return not self._waiting

    @property
    def pending(self) -> list[int]:
        """Keys of the samples that are not complete."""
        return list(dict.fromkeys(half.key for half in self._waiting))

    def check(self, clips: Clips) -> None:
        pass  # it takes every sample

    def pads(self, samples: int) -> bool:
        """Never by whole clips."""
        return False

    def close(self) -> None:
        self._levels.clear()
        self._backend.close()

    def feed(
        self,
        batch: Sequence[tuple[int, Clips]],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Iterator[tuple[int, F32]]:
        """Take a batch of (key, clips); run as long as waves are full. Yields (key, logits
        float32 [20, classes]) in the order fed. `meanwhile` is called often, while the
        device is busy.
        """
        for key, clips in batch:
            assert isinstance(clips, HeatmapClips)
            table = contexts(clips.plan.tobytes(), self._strides)
            self._waiting.append(
                _Half(key, clips.frames[: clips.unique], table, last=not clips.twins)
            )
            if clips.twins:
                self._waiting.append(_Half(key, clips.frames[clips.unique :], table, last=True))
        while self._waiting and len(_fitting(self._waiting)) < len(self._waiting):
            yield from self.collect(meanwhile)

    def collect(self, meanwhile: Callable[[], object] = lambda: None) -> Iterator[tuple[int, F32]]:
        """Run a wave, full or not; yield as `feed` does."""
        wave = _fitting(self._waiting)
        for half, logits in zip(wave, self._wave(wave, meanwhile), strict=True):
            self._waiting.popleft()
            self._found.append(logits)
            if half.last:
                found = np.concatenate(self._found)
                self._found.clear()
                self.clips_run += len(found)
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
        drawn = _Drawn(Frames.joined([half.frames for half in wave]))
        placed = _Placed([(half.contexts.frames,) for half in wave], self._rows)
        for number, (networks, buffer) in enumerate(zip(self._levels, self._buffers, strict=True)):
            for array in buffer.values():
                array[-1] = 0  # what padding reads; another level may have written there
            if number == 0:
                self._sweep(networks[0], placed.regions[0], buffer, drawn.read, meanwhile)
                continue
            levels = [half.contexts.levels[number - 1] for half in wave]
            sources = placed.located([level.sources for level in levels])
            placed = _Placed([level.uses for level in levels], self._rows)
            below = self._buffers[number - 1]
            for use, (network, region) in enumerate(zip(networks, placed.regions, strict=False)):
                table = placed.gathered(sources, use)
                self._sweep(network, region, buffer, _Taken(below, table).read, meanwhile)
        features = self._buffers[-1][FEATURES]
        logits = []
        for half, rows in zip(wave, placed.rows, strict=True):
            mean = features[rows[half.contexts.clips]].mean(axis=1)
            scores = mean @ self._head.weight.T + self._head.bias
            logits.append(np.asarray(scores[half.contexts.inverse], np.float32))
        return logits

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
            network.start(lane, {name: buffer[name][first : first + self._rows]
                                 for name in network.part.outputs})  # fmt: skip
            under_way.append(lane)
            if turn % _RUNS_BETWEEN == 0:
                meanwhile()
        while under_way:
            network.finish(under_way.popleft())


class _Network:
    """A compiled part; `inputs`: arrays for each lane (`_give_inputs`)."""

    def __init__(self, backend: Backend, part: Part) -> None:
        self.part = part
        self._network: PartNetwork = backend.part(part)
        self.lanes, self.finish = self._network.lanes, self._network.finish
        self.layout: _Layout = {
            name: (shape, np.dtype(np.float32) if name == FRAMES else backend.values)
            for name, shape in part.inputs.items()
        }
        self.inputs: list[dict[str, Array]] = []

    def start(self, lane: int, outputs: dict[str, Array]) -> None:
        self._network.start(lane, self.inputs[lane], outputs)


class _Placed:
    """Where in a buffer the ids of each half are, given how many there are by use.

    `regions`: the rows of each use; each begins with a run of its own. `rows`: for each half
    the row of each of its ids.
    """

    def __init__(self, counts: Sequence[tuple[int, ...]], run: int) -> None:
        self.regions: list[range] = []
        parts: list[list[Rows]] = [[] for _ in counts]
        self._counts = np.cumsum([(0, *count) for count in counts], axis=1)
        first = 0
        for use in range(len(counts[0])):
            row = first
            for half, count in enumerate(counts):
                parts[half].append(np.arange(row, row + count[use]))
                row += count[use]
            self.regions.append(range(first, row))
            first = -(-row // run) * run
        self.rows = [np.concatenate(part) for part in parts]

    def located(self, sources: Sequence[NDArray[np.int32]]) -> list[Rows]:
        """Rows instead of ids, -1 (the last row, of zeros) for padding."""
        return [
            np.where(ids == PADDING, -1, rows[ids])
            for ids, rows in zip(sources, self.rows, strict=True)
        ]

    def gathered(self, tables: Sequence[Rows], use: int) -> Rows:
        """The entries of one use out of a table of each half, in the order of its region."""
        borders = self._counts[:, use : use + 2]
        return np.concatenate([table[a:b] for table, (a, b) in zip(tables, borders, strict=True)])


class _Drawn:
    """Writes frames out, over those that were there before: only their cells are cleared."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._left: dict[int, NDArray[np.int64]] = {}  # by buffer: places that are not zero

    def read(self, first: int, last: int, out: dict[str, Array]) -> None:
        canvas = out[FRAMES].reshape(-1)
        left = self._left.get(id(out))
        canvas[slice(None) if left is None else left] = 0
        places, values = self._frames[first:last].entries()
        canvas[places] = values
        self._left[id(out)] = places


class _Taken:
    """Rows of a level's buffer, taken for the contexts of the next one."""

    def __init__(self, below: dict[str, Array], table: Rows) -> None:
        self._below = below
        # One contiguous list for each tap; numpy then copies whole rows.
        self._rows = np.ascontiguousarray(table.T)

    def read(self, first: int, last: int, out: dict[str, Array]) -> None:
        for name, tap in _TAPS:
            rows = self._rows[tap, first:last]
            np.take(self._below[name], rows, axis=0, out=out[name][: last - first], mode="wrap")


def _fitting(waiting: deque[_Half]) -> list[_Half]:
    """As many of the first as fit into the buffers together; one always does."""
    total = np.zeros(1 + len(waiting[0].contexts.levels), int)
    wave: list[_Half] = []
    for half in waiting:
        total += [half.contexts.frames, *(len(level) for level in half.contexts.levels)]
        if total.max() > _CAPACITY:
            break
        wave.append(half)
    return wave


_Layout = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]  # shapes and dtypes of arrays


def _give_inputs(networks: Sequence[_Network]) -> None:
    """Memory for the inputs of every lane; networks run one after the other and share it."""
    needed = max(_nbytes(network.layout) for network in networks)
    memory = [np.zeros(needed, np.uint8) for _ in range(max(n.lanes for n in networks))]
    for network in networks:
        network.inputs = [_laid_out(network.layout, lane) for lane in memory[: network.lanes]]


def _buffers(parts: Sequence[Part], values: np.dtype[Any]) -> list[dict[str, Array]]:
    """What each level hands on: arrays of rows, the last one for padding.

    The next level reads it and no other does, so every second level has the same memory.
    """
    layouts: list[_Layout] = []
    for part in parts:
        layouts.append({
            name: ((_CAPACITY + len(_WANTED) * shape[0] + 1, *shape[1:]),
                   np.dtype(np.float32) if name == FEATURES else values)
            for name, shape in part.outputs.items()
        })  # fmt: skip
    needed = [_nbytes(layout) for layout in layouts]
    memory = [np.empty(max(needed[parity::2], default=0), np.uint8) for parity in (0, 1)]
    return [_laid_out(layout, memory[n % 2]) for n, layout in enumerate(layouts)]


def _nbytes(layout: _Layout) -> int:
    return sum(prod(shape) * dtype.itemsize for shape, dtype in layout.values())


def _laid_out(layout: _Layout, memory: Array) -> dict[str, Array]:
    """Arrays in a piece of memory, one behind the other."""
    arrays, start = {}, 0
    for name, (shape, dtype) in layout.items():
        end = start + prod(shape) * dtype.itemsize
        arrays[name] = memory[start:end].view(dtype).reshape(shape)
        start = end
    return arrays
