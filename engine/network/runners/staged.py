"""Samples on their way through layout ``shared``: what of them the next wave computes.

A `StagedSample` runs as many of its clips as its answer needs, stage by stage
(`engine.network.stages`); a `Window` adds to what is known of its track
(`engine.network.increments`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from engine.base.recipe import Recipe
from engine.network.clip_rules import ClipRule
from engine.network.increments import Increment
from engine.network.runners.base import F32
from engine.network.runners.cache import CachedTrack
from engine.network.runners.levels import Half
from engine.network.runners.pool import RowPool
from engine.network.runners.progress import Progress
from engine.network.runners.rows import Rows
from engine.network.stages import Stage, Stages, separate_stages, stages
from engine.skeletons.clips import HeatmapClips
from engine.skeletons.sparse import Frames


class OnItsWay(Protocol):
    """A sample. `first`: the halves that it runs first."""

    key: int
    first: Sequence[Half]

    def put(self, half: Half, logits: F32) -> Sequence[Half]:
        """A half has been run; returns those to be run next."""

    @property
    def logits(self) -> F32 | None:
        """Of the clips that were run, float32 [clips, classes]; None until it is complete."""


class Window:
    """A window of a track, and what it adds."""

    def __init__(self, key: int, track: CachedTrack, frames: Frames, increment: Increment) -> None:
        self.key, self.track = key, track
        self._increment = increment
        of_it = frames.chosen(increment.frames), increment.contexts
        self.first: Sequence[Half] = [Half(*of_it, 1, track.rows, increment.kept)]
        self.logits: F32 | None = None

    def put(self, half: Half, logits: F32) -> Sequence[Half]:
        self.track.ring.keep(self._increment)
        self.logits = logits
        return ()


class Plan:
    """How the clips of a sample run in the stages of a rule. `ends`: of each half, how many of its
    clips are complete after each stage. `slots`: of each level, what is kept of both halves."""

    def __init__(
        self, clips: HeatmapClips, rule: ClipRule, recipe: Recipe, strides: tuple[int, ...]
    ) -> None:
        self.clips, self._strides = clips, strides
        count = 1 + clips.twins
        self.ends = [
            tuple((end + count - 1 - number) // count for end in rule.stages(recipe.views))
            for number in range(count)
        ]
        self.halves = [stages(clips.plan, strides, one) for one in self.ends]
        self.slots = [sum(of) for of in zip(*(half.slots for half in self.halves), strict=True)]

    def keep_nothing(self) -> None:
        """Each stage computes all that its clips need, to the same bits."""
        self.halves = [separate_stages(self.clips.plan, self._strides, one) for one in self.ends]


class StagedSample:
    """A sample whose clips run in stages. `pool`: where what a stage computes is kept for the next
    ones; where that has no room, nothing is."""

    def __init__(self, key: int, plan: Plan, progress: Progress, pool: RowPool) -> None:
        self.key, self._pool, self._progress = key, pool, progress
        if not pool.has(plan.slots):
            plan.keep_nothing()
        self._halves = [
            _HalfOfSample(plan.clips, number, half, ends, pool)
            for number, (half, ends) in enumerate(zip(plan.halves, plan.ends, strict=True))
        ]
        self._stage = 0
        self._under_way: dict[int, _HalfOfSample] = {}  # by the identity of what they run
        self.logits: F32 | None = None
        self.first = self._begun()

    def _begun(self) -> Sequence[Half]:
        """The halves of the next stage that has anything new; none where the sample is complete."""
        while True:
            of_it = [(one, one.begun(self._stage)) for one in self._halves]
            if begun := [half for _, half in of_it if half is not None]:
                self._under_way = {id(half): one for one, half in of_it if half is not None}
                return begun
            if not self._advance():
                return ()

    def put(self, half: Half, logits: F32) -> Sequence[Half]:
        self._under_way.pop(id(half)).put(half, logits)
        return () if self._under_way or not self._advance() else self._begun()

    def _advance(self) -> bool:
        """Whether another stage follows that which is complete now."""
        for one in self._halves:
            self._progress.put(*one.known(self._stage))
        self._stage += 1
        if self._progress.advance():
            return True
        self.logits = self._progress.logits
        for one in self._halves:
            one.release(self._pool)
        return False


class _HalfOfSample:
    """Its clips as they are, or flipped. `ends`: how many of them are complete after each stage."""

    def __init__(
        self,
        clips: HeatmapClips,
        number: int,
        found: Stages,
        ends: tuple[int, ...],
        pool: RowPool,
    ) -> None:
        self._first, self._ends, self._stages = number * len(clips.plan), ends, found
        self._frames = clips.frames[number * clips.unique : (number + 1) * clips.unique]
        self._slots: list[Rows] = [
            np.array(pool.take(level, slots), np.int64) for level, slots in enumerate(found.slots)
        ]
        self._logits: dict[int, F32] = {}  # by distinct clip

    def begun(self, number: int) -> Half | None:
        """What a stage of it computes, if anything."""
        stage: Stage | None = self._stages.stages[number]
        if stage is None:
            return None
        every = len(stage.frames) == len(self._frames)
        frames = self._frames if every else self._frames.chosen(stage.frames)
        return Half(frames, stage.contexts, self._stages.distinct, self._slots, stage.kept)

    def put(self, half: Half, logits: F32) -> None:
        self._logits.update(zip(half.contexts.inverse.tolist(), logits, strict=True))

    def known(self, number: int) -> tuple[Sequence[int], Sequence[F32]]:
        """Views that are complete after a stage, and their logits."""
        clips = self._stages.inverse[: self._ends[number]].tolist()
        logits = [self._logits[clip] for clip in clips]
        return range(self._first, self._first + len(clips)), logits

    def release(self, pool: RowPool) -> None:
        for level, rows in enumerate(self._slots):
            pool.release(level, rows)
