"""Layout ``clips``: whole clips of several samples through runs of the sizes that a backend
takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from engine.network.backend import Array, ClipsBackend, split_rows
from engine.network.runners.base import F32, Logits, Runner
from engine.skeletons.clips import Clips, JointClips


class ClipsRunner(Runner):
    """`views`: clips of every sample."""

    _backend: ClipsBackend

    def __init__(self, backend: ClipsBackend, classes: int, views: int) -> None:
        super().__init__(backend, classes)
        self._views = views
        self._turn = 0
        self._runs: deque[tuple[int, int, int]] = deque()  # under way: lane, size, real clips
        self._keys: deque[int] = deque()  # of the samples not complete yet, in order
        self._rows: list[F32] = []  # logits of the first of them, so far
        size = min(self._backend.sizes)
        self._backend.start(0, size)
        self._tried(self._backend.finish(0), size)

    @property
    def step(self) -> int:
        return max(1, self._backend.sizes[-1] // self._views)

    @property
    def idle(self) -> bool:
        return not self._runs

    @property
    def pending(self) -> list[int]:
        return list(self._keys)

    def pads(self, samples: int) -> bool:
        rows = self._views * samples
        return sum(split_rows(rows, self._backend.sizes)) > rows

    def feed(
        self,
        batch: Sequence[tuple[int, Clips | JointClips]],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Iterator[Logits]:
        """The last runs are still under way at the end, so that the device has work until the
        next batch. `meanwhile` is called after each start."""
        self._keys.extend(key for key, _ in batch)
        drawn = [clips for _, clips in batch if not isinstance(clips, JointClips)]
        total, first = self._views * len(drawn), 0
        for size in split_rows(total, self._backend.sizes):
            lane = self._turn % self._backend.lanes
            if len(self._runs) == self._backend.lanes:
                yield from self.collect()
            buffer = self._backend.clips(lane, size)
            real = min(size, total - first)
            _fill(buffer[:real], drawn, first)
            buffer[real:] = 0
            self._backend.start(lane, size)
            self._runs.append((lane, size, real))
            self._turn += 1
            self.clips_run += real
            self.clips_padded += size - real
            first += real
            meanwhile()

    def collect(self, meanwhile: Callable[[], object] = lambda: None) -> Iterator[Logits]:
        lane, size, real = self._runs.popleft()
        self._rows.extend(self._shaped(self._backend.finish(lane), size)[:real])
        while len(self._rows) >= self._views:
            yield self._keys.popleft(), np.stack(self._rows[: self._views])
            del self._rows[: self._views]


def _fill(out: Array, batch: Sequence[Clips], first: int) -> None:
    """Write rows `first`, `first` + 1, … of the batch's clips, counted through all samples."""
    done, views = 0, batch[0].views
    while done < len(out):
        sample, clip = divmod(first + done, views)
        count = min(views - clip, len(out) - done)
        batch[sample].write(clip, out[done : done + count])
        done += count
