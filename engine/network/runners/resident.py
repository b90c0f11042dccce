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
from engine.network.clip_rules import ALL, ClipRule
from engine.network.contexts import Contexts, contexts, moved
from engine.network.runners.base import F32, Logits, Runner
from engine.network.runners.progress import Progress
from engine.skeletons.clips import Clips, ClipTensor, HeatmapClips, JointClips
from engine.skeletons.sparse import Frames

_MOST = 64  # samples of which a wave is said to be full: windows are short


@dataclass(eq=False)
class _Sample:
    """A sample on its way. `done`: how many of its clips are known, each with its twin: both are
    run together, whether or not the rule looks in between."""

    key: int
    clips: HeatmapClips | JointClips
    progress: Progress
    done: int = 0

    @property
    def end(self) -> int:
        """How many of the clips are known after this stage."""
        halves = 1 + self.clips.twins
        return -(-self.progress.end // halves)

    def put(self, found: F32) -> bool:
        """The logits of what this stage has run, twins last. Returns whether another one
        follows."""
        clips, end = len(self.clips.plan), self.end
        views = np.arange(self.done, end) + clips * np.arange(1 + self.clips.twins)[:, None]
        self.progress.put(views.ravel().tolist(), found)
        self.done = end
        while self.progress.advance():
            if self.end > end:
                return True
        return False


@dataclass(frozen=True, eq=False)
class _Placed:
    """What a wave runs of a sample: its first clip there, and which of its distinct clips each one
    is."""

    sample: _Sample
    first: int
    distinct: int
    inverse: NDArray[np.int32]
    twins: bool

    @property
    def rows(self) -> int:
        """Of the wave's logits."""
        return self.distinct * (1 + self.twins)

    def logits(self, found: F32) -> F32:
        """Of all its clips, out of those of the wave."""
        halves = [self.inverse + half * self.distinct for half in range(1 + self.twins)]
        return found[self.first + np.concatenate(halves)]


class ResidentRunner(Runner):
    """`rule`: how many of a sample's clips are run. What a stage of them computes is not kept for
    the next one: the device holds waves only. There is no filler here."""

    draws = True
    _backend: WavesBackend

    def __init__(
        self, backend: WavesBackend, classes: int, recipe: Recipe, rule: ClipRule = ALL
    ) -> None:
        super().__init__(backend, classes)
        self._recipe, self._rule = recipe, rule
        longest = max(1, min(_MOST, backend.capacity[1] // (recipe.length * recipe.views)))
        self._step = backend.lanes * longest
        self._waiting: deque[_Sample] = deque()  # those that are under way first
        self._next = _Filling(backend.capacity)
        self._runs: deque[tuple[int, list[_Placed]]] = deque()  # under way: lane, samples
        self._turns = count()
        self._try()

    def _try(self) -> None:
        """A wave of one clip, all of it one frame in which nobody is."""
        recipe = self._recipe
        frame = Frames(
            np.zeros(2, np.int32),
            np.zeros(0, np.uint32),
            np.zeros(0, np.float32),
            recipe.frame_shape,
        )
        clips = HeatmapClips(frame, np.zeros((1, recipe.length), np.int32), twins=False)
        filling = _Filling(self._backend.capacity)
        filling.add(self._sample(0, clips), clips, contexts(clips.plan, self._backend.strides))
        self._backend.start_wave(0, filling.wave())
        self._tried(self._backend.finish(0), 1)

    def _sample(self, key: int, clips: HeatmapClips | JointClips) -> _Sample:
        return _Sample(key, clips, Progress(self._rule, self._recipe, self._classes))

    @property
    def step(self) -> int:
        return self._step

    @property
    def idle(self) -> bool:
        return not (self._runs or self._next.placed or self._waiting)

    def feed(
        self,
        batch: Sequence[tuple[int, Clips | JointClips]],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Iterator[Logits]:
        """Runs as long as waves are full."""
        self._enter(batch)
        for key, clips in batch:
            assert not isinstance(clips, ClipTensor)
            self._waiting.append(self._sample(key, clips))
            while self._waiting:
                self._fill()
                if not self._waiting:
                    break
                if len(self._runs) == self._backend.lanes:
                    yield from self._finish()
                else:
                    self._start()
            meanwhile()

    def collect(self, meanwhile: Callable[[], object] = lambda: None) -> Iterator[Logits]:
        """Start what waits, if the device takes one more wave; complete the oldest."""
        self._fill()
        if self._next.placed and len(self._runs) < self._backend.lanes:
            self._start()
        meanwhile()
        yield from self._finish()

    def _fill(self) -> None:
        """Put into the next wave what there is room for."""
        while self._waiting:
            sample = self._waiting[0]
            clips = sample.clips.part(sample.done, sample.end)
            table = contexts(clips.plan, self._backend.strides)
            if not self._next.fits(table, clips.twins):
                return
            self._next.add(sample, clips, table)
            self._waiting.popleft()

    def _start(self) -> None:
        lane = next(self._turns) % self._backend.lanes
        self._backend.start_wave(lane, self._next.wave())
        self._runs.append((lane, self._next.placed))
        self._next = _Filling(self._backend.capacity)

    def _finish(self) -> Iterator[Logits]:
        lane, wave = self._runs[0]
        found = self._shaped(self._backend.finish(lane), sum(placed.rows for placed in wave))
        self._runs.popleft()
        following = [one.sample for one in wave if one.sample.put(one.logits(found))]
        complete = [one.sample for one in wave if one.sample not in following]
        self._waiting.extendleft(reversed(following))
        self.together = len(complete)
        for sample in complete:
            self.clips_run += len(sample.progress.logits)
            del self._pending[sample.key]
            yield sample.key, sample.progress.logits


class _Filling:
    """A wave in the making: at most of so many frames, rows of each level, and clips."""

    def __init__(self, capacity: Sequence[int]) -> None:
        self._capacity = np.array(capacity)
        self._total = np.zeros(len(capacity), int)
        self._samples: list[HeatmapClips | JointClips] = []
        self._halves: list[tuple[Contexts, NDArray[np.int64]]] = []  # and where its rows begin
        self.placed: list[_Placed] = []

    def fits(self, table: Contexts, twins: bool) -> bool:
        """Whether there is room for a sample; always in an empty wave."""
        more = (1 + twins) * _counts(table)
        return not self.placed or bool((self._total + more <= self._capacity).all())

    def add(self, sample: _Sample, clips: HeatmapClips | JointClips, table: Contexts) -> None:
        """Clips of a sample."""
        first, distinct = int(self._total[-1]), len(table.clips)
        self.placed.append(_Placed(sample, first, distinct, table.inverse, clips.twins))
        self._samples.append(clips)
        for _ in range(1 + clips.twins):
            self._halves.append((table, self._total.copy()))
            self._total += _counts(table)

    def wave(self) -> Wave:
        tables = [table for table, _ in self._halves]
        begins = np.array([begin for _, begin in self._halves])
        levels = [
            moved([table.levels[number].sources for table in tables], begins[:, number])
            for number in range(len(tables[0].levels))
        ]
        clips = moved([table.clips for table in tables], begins[:, -2])
        halves = iter(begins[:, 0].tolist())
        firsts = []
        for sample in self._samples:
            firsts.append(next(halves))
            if sample.twins:
                next(halves)  # they follow
        return Wave(self._samples, firsts, int(self._total[0]), levels, clips)


def _counts(table: Contexts) -> NDArray[np.int64]:
    """Frames, rows of each level, clips of one half."""
    return np.array([*table.rows, len(table.clips)])
