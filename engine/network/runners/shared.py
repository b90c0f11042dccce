"""Layout ``shared``: every distinct frame and every distinct context of a video once.

A *half* is what a sample runs next of its clips as they are, or of the flipped ones, or what a
window adds to its track; a *wave* is as many halves as fit into the buffers
(`engine.network.runners.levels`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from math import prod

import numpy as np

from engine.base.recipe import Recipe
from engine.network.backend import PartsBackend
from engine.network.clip_rules import ALL, ClipRule
from engine.network.cuts import Cuts
from engine.network.increments import lengths
from engine.network.runners.base import Logits, Runner
from engine.network.runners.cache import RowCache
from engine.network.runners.levels import Half, Levels
from engine.network.runners.pool import RowPool
from engine.network.runners.progress import Progress
from engine.network.runners.staged import OnItsWay, Plan, StagedSample, Window
from engine.skeletons.clips import Clips, HeatmapClips, JointClips

_CAPACITY = 480  # rows of a wave at least
_SAMPLES = 4  # under way at least
_RUNS = 4  # of each lane, from the first clips of the samples under way


class SharedRunner(Runner):
    """Runs samples through the parts of a network. Filler is rows here, not clips. Halves that do
    not fill a wave wait for more, or for `collect`. `recipe`: of the samples. `rule`: how many of
    their clips are run. `room`: bytes for what is kept, of tracks or from stage to stage.
    """

    _backend: PartsBackend

    def __init__(
        self,
        backend: PartsBackend,
        classes: int,
        cuts: Cuts,
        recipe: Recipe,
        rule: ClipRule = ALL,
        room: int = 0,
    ) -> None:
        super().__init__(backend, classes)
        self._strides, self._recipe, self._rule = cuts.strides, recipe, rule
        # rows that one half has at most at any level, or that windows fill together
        stem = cuts.stem if recipe.limbs is None else None  # limbs are drawn on many cells
        capacity = max(_CAPACITY, recipe.clips * recipe.length)
        self._levels = Levels(backend, cuts, capacity, stem)
        of_a_clip = lengths(recipe.length, cuts.strides)
        self._pool = RowPool(self._levels.parts, of_a_clip, backend.values, room)
        self._cache = RowCache(self._pool, recipe.length, cuts.strides)
        clips = _RUNS * self._levels.in_lanes // recipe.length
        self._most = max(_SAMPLES, clips)  # samples under way, of those in stages
        self._keeps_tracks = room > 0 and recipe.views == 1
        self._waiting: deque[tuple[OnItsWay, Half]] = deque()  # those that are under way first
        self._tried(self._levels.warm_up(self._pool), 1)

    @property
    def idle(self) -> bool:
        return not self._waiting

    def close(self) -> None:
        self._levels.close()
        super().close()

    def feed(
        self,
        batch: Sequence[tuple[int, Clips | JointClips]],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Iterator[Logits]:
        """Runs as long as waves are full."""
        self._enter(batch)
        for key, clips in batch:
            assert isinstance(clips, HeatmapClips)
            sample: OnItsWay | None = None
            if self._is_window(clips):
                sample = yield from self._window(key, clips, meanwhile)
            if sample is None:
                plan = Plan(clips, self._rule, self._recipe, self._strides)
                while self._waiting and not self._has_room(plan):
                    yield from self.collect(meanwhile)
                progress = Progress(self._rule, self._recipe, self._classes)
                sample = StagedSample(key, plan, progress, self._pool)
            for half in sample.first:
                while self._waiting and not self._fits(half):
                    yield from self.collect(meanwhile)
                self._waiting.append((sample, half))

    def _has_room(self, plan: Plan) -> bool:
        """Whether one more sample may be under way: the more there are, the more memory is written
        for the first time, and a few keep the device busy."""
        if self._rule.until is None:
            return True
        under_way = len({id(sample) for sample, _ in self._waiting})
        return under_way < self._most and self._pool.has(plan.slots)

    def _is_window(self, clips: HeatmapClips) -> bool:
        """Whether it is one of a track's windows, which have inner contexts in common: of
        consecutive moments, beginning at a multiple of the network's stride over time."""
        if clips.track is None or not self._keeps_tracks:
            return False
        _, _, first, step = clips.track
        stride = prod(self._strides)
        in_steps = step > 0 and first % stride == 0 == step % stride
        return in_steps and np.array_equal(clips.plan[0], np.arange(self._recipe.length))

    def _window(
        self, key: int, clips: HeatmapClips, meanwhile: Callable[[], object]
    ) -> Generator[Logits, None, Window | None]:
        """None where there is no room for what it adds. Of a track whose window before is in the
        wave, what that one adds is not kept yet."""
        assert clips.track is not None
        number, crop, first, step = clips.track
        busy = {one.track.number for one, _ in self._waiting if isinstance(one, Window)}
        if number in busy:
            yield from self.collect(meanwhile)
        track = self._cache.track(number, crop, first, time.monotonic())
        increment = track.ring.increment(first, step)
        if not self._cache.allocate(track, increment, {*busy, number}):
            if busy:
                yield from self.collect(meanwhile)
            if not self._cache.allocate(track, increment, {number}):
                self._cache.evict(track)
                return None
        return Window(key, track, clips.frames, increment)

    def _fits(self, half: Half) -> bool:
        """Whether the next wave has room for one more."""
        rows = sum((one.rows for _, one in self._waiting), start=half.rows)
        return bool(rows.max() <= self._levels.capacity)

    def _next_wave(self) -> list[tuple[OnItsWay, Half]]:
        """As many of those that wait as there is room for, the first of them in any case."""
        rows = np.cumsum([half.rows for _, half in self._waiting], axis=0).max(axis=1)
        count = max(1, int((rows <= self._levels.capacity).sum()))
        return [self._waiting.popleft() for _ in range(count)]

    def collect(self, meanwhile: Callable[[], object] = lambda: None) -> Iterator[Logits]:
        """Run a wave, full or not."""
        wave = self._next_wave()
        found = self._levels.run([half for _, half in wave], self._pool, meanwhile)
        complete: list[Logits] = []
        following: list[tuple[OnItsWay, Half]] = []
        for (sample, half), logits in zip(wave, found, strict=True):
            following.extend((sample, more) for more in sample.put(half, logits))
            if sample.logits is not None:
                complete.append((sample.key, sample.logits))
        self._waiting.extendleft(reversed(following))
        self.together = len(complete)
        for key, logits in complete:
            self.clips_run += len(logits)
            del self._pending[key]
            yield key, logits
