"""Layout ``shared`` as one compiled graph: a run is a sample, its distinct frames and its plan.

A compiler for a device takes no loop over parts (`engine.network.runners.shared`) and their tensors
would go through the host; the graph of `Cuts.planned` computes the first layers once a frame and
gathers the clips on the device. Frames beyond a sample's own are filler that the plan never names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import SampleError
from engine.base.recipe import Recipe
from engine.network.backend import Array, PlanBackend, TablesBackend
from engine.network.runners.base import Logits, Runner
from engine.skeletons.clips import Clips, HeatmapClips, JointClips
from engine.skeletons.sparse import Frames


class PlannedRunner(Runner):
    """`recipe`: of the file; `views`: clips of every sample. Filler is frames here, not clips."""

    _backend: PlanBackend | TablesBackend

    def __init__(
        self, backend: PlanBackend | TablesBackend, classes: int, recipe: Recipe, views: int
    ) -> None:
        super().__init__(backend, classes)
        self._planned, self._views = recipe.views, views  # clips of a run, those of a sample
        self._left: list[NDArray[np.int64] | None] = [None] * backend.lanes
        self._runs: deque[tuple[int, int]] = deque()  # under way: lane, key
        self._turns = count()
        self._backend.start(0, self._written(0, _nobody(recipe)) or backend.sizes[0])
        self._tried(self._backend.finish(0), self._planned)

    @property
    def idle(self) -> bool:
        return not self._runs

    @property
    def pending(self) -> list[int]:
        return [key for _, key in self._runs]

    def check(self, clips: Clips | JointClips) -> None:
        assert isinstance(clips, HeatmapClips)
        if self._size(clips) is None:
            room = self._backend.sizes[-1] // (1 + clips.twins)
            frames = f"{clips.unique} distinct frames"
            raise SampleError(
                (
                    f"{frames}, and the largest file takes {room}"
                    if clips.unique > room
                    else f"{frames} in more contexts than the largest file has room for"
                )
                + ": python -m converters.onnx2om --unique makes larger ones",
                stage="infer",
            )

    def feed(
        self,
        batch: Sequence[tuple[int, Clips | JointClips]],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Iterator[Logits]:
        for key, clips in batch:
            assert isinstance(clips, HeatmapClips)
            if len(self._runs) == self._backend.lanes:
                yield from self.collect()
            lane = next(self._turns) % self._backend.lanes
            size = self._written(lane, clips)
            assert size is not None  # `check` has looked
            self._backend.start(lane, size)
            self._runs.append((lane, key))
            meanwhile()

    def collect(self, meanwhile: Callable[[], object] = lambda: None) -> Iterator[Logits]:
        lane, key = self._runs.popleft()
        logits = self._shaped(self._backend.finish(lane), self._planned)
        self.clips_run += self._views
        yield key, logits[: self._views]

    def _size(self, clips: HeatmapClips) -> int | None:
        """The smallest run that takes a sample."""
        return next((size for size in self._backend.sizes if size >= len(clips.frames)), None)

    def _written(self, lane: int, clips: HeatmapClips) -> int | None:
        """Write a sample over the one that was there before. Returns the size of its run, None, and
        writes nothing, where there is none that takes it."""
        if (size := self._size(clips)) is None:
            return None
        frames, *_ = self._inputs(lane, self._backend.sizes[-1])
        canvas, left = frames.reshape(-1), self._left[lane]
        if left is not None:  # only its cells are cleared
            canvas[left] = 0
        places, values = clips.frames.entries()
        canvas[places] = values
        self._left[lane] = places
        _, *others = self._inputs(lane, size)
        self._place(clips, size, others)
        return size

    def _inputs(self, lane: int, size: int) -> tuple[Array, ...]:
        """Where a run's inputs are written."""
        assert isinstance(self._backend, PlanBackend)
        return self._backend.planned(lane, size)

    def _place(self, clips: HeatmapClips, size: int, others: Sequence[Array]) -> None:
        """Write what tells the clips from the frames."""
        [plan] = others
        plan[:] = 0  # rows beyond the sample's own are filler, too
        plan[: len(clips.plan)] = clips.plan
        if clips.twins:
            plan[len(clips.plan) :] = clips.plan + clips.unique


def _nobody(recipe: Recipe) -> HeatmapClips:
    """A clip of one frame in which nobody is."""
    nothing = np.zeros(0, np.uint32), np.zeros(0, np.float32)
    frame = Frames(np.zeros(2, np.int32), *nothing, recipe.frame_shape)
    return HeatmapClips(frame, np.zeros((1, recipe.length), np.int32), twins=False)
