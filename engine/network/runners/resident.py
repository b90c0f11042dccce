"""Layout ``shared`` on a device that does everything by itself, from joints to logits.

Samples are put into *waves*: rows of frames and contexts, level by level
(`engine.network.contexts`), of as many samples as the device takes at once. While it runs a wave,
the next one fills; so it is large when there is much to do, and starts at once when there is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from engine.base.recipe import Recipe
from engine.network.backend import Wave, WavesBackend
from engine.network.contexts import PADDING, Contexts, contexts
from engine.network.runners.base import F32, Logits, Runner
from engine.skeletons.clips import Clips, ClipTensor, JointClips

_MOST = 64  # samples of which a wave is said to be full: windows are short


@dataclass(frozen=True, eq=False)
class _Placed:
    """A sample in a wave: its first clip there, and which of its distinct clips each one is."""

    key: int
    first: int
    distinct: int
    inverse: NDArray[np.int32]
    twins: bool

    def logits(self, found: F32) -> F32:
        """Of all its clips, out of those of the wave."""
        halves = [self.inverse + half * self.distinct for half in range(1 + self.twins)]
        return found[self.first + np.concatenate(halves)]


class ResidentRunner(Runner):
    """There is no filler here."""

    draws = True
    _backend: WavesBackend

    def __init__(self, backend: WavesBackend, recipe: Recipe) -> None:
        super().__init__(backend)
        longest = max(1, min(_MOST, backend.capacity[1] // (recipe.length * recipe.views)))
        self._step = backend.lanes * longest
        self._next = _Filling(backend.capacity)
        self._runs: deque[tuple[int, list[_Placed]]] = deque()  # under way: lane, samples
        self._turns = count()

    @property
    def step(self) -> int:
        return self._step

    @property
    def idle(self) -> bool:
        return not self._runs and not self._next.placed

    @property
    def pending(self) -> list[int]:
        return [placed.key for _, wave in [*self._runs, (0, self._next.placed)] for placed in wave]

    def feed(
        self,
        batch: Sequence[tuple[int, Clips | JointClips]],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Iterator[Logits]:
        """Runs as long as waves are full."""
        for key, clips in batch:
            assert not isinstance(clips, ClipTensor)
            table = contexts(clips.plan, self._backend.strides)
            if not self._next.fits(table, clips.twins):
                if len(self._runs) == self._backend.lanes:
                    yield from self._finish()
                self._start()
            self._next.add(key, clips, table)
            meanwhile()

    def collect(self, meanwhile: Callable[[], object] = lambda: None) -> Iterator[Logits]:
        """Start what waits, if the device takes one more wave; complete the oldest."""
        if self._next.placed and len(self._runs) < self._backend.lanes:
            self._start()
        meanwhile()
        yield from self._finish()

    def _start(self) -> None:
        lane = next(self._turns) % self._backend.lanes
        self._backend.start_wave(lane, self._next.wave())
        self._runs.append((lane, self._next.placed))
        self._next = _Filling(self._backend.capacity)

    def _finish(self) -> Iterator[Logits]:
        lane, wave = self._runs[0]
        found = self._backend.finish(lane)
        self._runs.popleft()
        self.together = len(wave)
        for placed in wave:
            logits = placed.logits(found)
            self.clips_run += len(logits)
            yield placed.key, logits


class _Filling:
    """A wave in the making: at most of so many frames, rows of each level, and clips."""

    def __init__(self, capacity: Sequence[int]) -> None:
        self._capacity = np.array(capacity)
        self._total = np.zeros(len(capacity), int)
        self._samples: list[Clips | JointClips] = []
        self._halves: list[tuple[Contexts, NDArray[np.int64]]] = []  # and where its rows begin
        self.placed: list[_Placed] = []

    def fits(self, table: Contexts, twins: bool) -> bool:
        """Whether there is room for a sample; always in an empty wave."""
        more = (1 + twins) * _counts(table)
        return not self.placed or bool((self._total + more <= self._capacity).all())

    def add(self, key: int, clips: Clips | JointClips, table: Contexts) -> None:
        assert not isinstance(clips, ClipTensor)
        first, distinct = int(self._total[-1]), len(table.clips)
        self.placed.append(_Placed(key, first, distinct, table.inverse, clips.twins))
        self._samples.append(clips)
        for _ in range(1 + clips.twins):
            self._halves.append((table, self._total.copy()))
            self._total += _counts(table)

    def wave(self) -> Wave:
        tables = [table for table, _ in self._halves]
        begins = np.array([begin for _, begin in self._halves])
        levels = [
            _moved([table.levels[number].sources for table in tables], begins[:, number])
            for number in range(len(tables[0].levels))
        ]
        clips = _moved([table.clips for table in tables], begins[:, -2])
        halves = iter(begins[:, 0].tolist())
        firsts = []
        for sample in self._samples:
            assert not isinstance(sample, ClipTensor)
            firsts.append(next(halves))
            if sample.twins:
                next(halves)  # they follow
        return Wave(self._samples, firsts, int(self._total[0]), levels, clips)


def _counts(table: Contexts) -> NDArray[np.int64]:
    """Frames, rows of each level, clips of one half."""
    return np.array([table.frames, *map(len, table.levels), len(table.clips)])


def _moved(ids: Sequence[NDArray[np.int32]], begins: NDArray[np.int64]) -> NDArray[np.int32]:
    """Ids of several halves, each counted from where its rows begin; `PADDING` stays."""
    joined = np.concatenate(ids)
    rows = np.repeat(begins.astype(np.int32), [len(one) for one in ids])
    return np.where(joined == PADDING, joined, joined + rows[:, None])
