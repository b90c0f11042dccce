"""Layout ``clips`` in stages: of each sample as many whole clips as its answer needs, those of
several samples in one run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from engine.base.recipe import Recipe
from engine.network.backend import ClipsBackend, split_rows
from engine.network.clip_rules import ClipRule
from engine.network.runners.base import Logits, Runner
from engine.network.runners.progress import Progress
from engine.skeletons.clips import Clips, JointClips


@dataclass(eq=False)
class _Sample:
    """`left`: views of its stage that have no logits yet."""

    key: int
    clips: Clips
    progress: Progress
    left: int = field(default=0)


class StagedClipsRunner(Runner):
    """`recipe`: of the samples. `rule`: how many of their clips are run. Clips that do not fill a
    run wait for more, or for `collect`; those of samples under way go first."""

    _backend: ClipsBackend

    def __init__(self, backend: ClipsBackend, classes: int, recipe: Recipe, rule: ClipRule) -> None:
        super().__init__(backend, classes)
        self._recipe, self._rule = recipe, rule
        self._turns = count()
        self._waiting: deque[tuple[_Sample, int]] = deque()  # views to be run
        self._runs: deque[tuple[int, int, list[tuple[_Sample, int]]]] = deque()  # lane, size, views
        size = min(backend.sizes)
        backend.start(0, size)
        self._tried(backend.finish(0), size)

    @property
    def step(self) -> int:
        """As many as fill a run with their first clips."""
        return max(1, self._backend.sizes[-1] // self._rule.stages(self._recipe.views)[0])

    @property
    def idle(self) -> bool:
        return not self._runs and not self._waiting

    def feed(
        self,
        batch: Sequence[tuple[int, Clips | JointClips]],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Iterator[Logits]:
        """Runs as long as the largest runs are full."""
        self._enter(batch)
        for key, clips in batch:
            assert not isinstance(clips, JointClips)
            sample = _Sample(key, clips, Progress(self._rule, self._recipe, self._classes))
            self._waiting.extend(self._next_stage(sample))
            while len(self._waiting) >= self._backend.sizes[-1]:
                if len(self._runs) == self._backend.lanes:
                    yield from self._finish()
                else:
                    self._start()
                meanwhile()

    def collect(self, meanwhile: Callable[[], object] = lambda: None) -> Iterator[Logits]:
        """Start what waits, in as many lanes as are free; complete the oldest run."""
        while self._waiting and len(self._runs) < self._backend.lanes:
            self._start()
            meanwhile()
        yield from self._finish()

    def _next_stage(self, sample: _Sample) -> list[tuple[_Sample, int]]:
        wanted = sample.progress.wanted
        sample.left = len(wanted)
        return [(sample, view) for view in wanted]

    def _start(self) -> None:
        size = split_rows(min(len(self._waiting), self._backend.sizes[-1]), self._backend.sizes)[0]
        views = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
        lane = next(self._turns) % self._backend.lanes
        buffer = self._backend.clips(lane, size)
        for row, (sample, view) in enumerate(views):
            sample.clips.write(view, buffer[row : row + 1])
        buffer[len(views) :] = 0
        self._backend.start(lane, size)
        self._runs.append((lane, size, views))
        self.clips_run += len(views)
        self.clips_padded += size - len(views)

    def _finish(self) -> Iterator[Logits]:
        lane, size, views = self._runs[0]
        found = self._shaped(self._backend.finish(lane), size)
        self._runs.popleft()
        complete = []
        for row, (sample, view) in enumerate(views):
            sample.progress.put([view], found[row : row + 1])
            sample.left -= 1
            if sample.left:
                continue
            if sample.progress.advance():
                self._waiting.extendleft(reversed(self._next_stage(sample)))
            else:
                complete.append(sample)
        self.together = len(complete)
        for sample in complete:
            del self._pending[sample.key]
            yield sample.key, sample.progress.logits
