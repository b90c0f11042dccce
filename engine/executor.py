"""The executor: clips of several samples through one device.

Comes in: `HeatmapClips` of the samples of a batch. Goes out: their logits. Called by
`engine.pipeline`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.backends import Backend
from engine.batching import split_rows
from engine.clips import HeatmapClips
from engine.constants import CLIP_SHAPE, VIEWS
from engine.errors import BackendError

F32 = NDArray[np.float32]


class Executor:
    """Owns a backend and the buffers that it runs on.

    `clips_run` and `clips_padded` count what the device was given: real and filler.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._buffers: dict[int, F32] = {}
        self.clips_run = 0
        self.clips_padded = 0

    def infer(self, batch: Sequence[HeatmapClips]) -> list[F32]:
        """Logits, float32 [20, classes], of each sample of the batch."""
        total = VIEWS * len(batch)
        logits: list[F32] = []
        first = 0
        for size in split_rows(total, self._backend.sizes):
            buffer = self._buffers.get(size)
            if buffer is None:
                buffer = self._buffers[size] = np.zeros((size, *CLIP_SHAPE), np.float32)
            real = min(size, total - first)
            _fill(buffer[:real], batch, first)
            buffer[real:] = 0
            output = self._backend.run(buffer)
            if output.ndim != 2 or len(output) != size:
                raise BackendError(
                    f"the network returned shape {output.shape} for {size} clips; "
                    "expected one row of logits a clip"
                )
            logits.append(output[:real])
            self.clips_run += real
            self.clips_padded += size - real
            first += real
        rows = np.concatenate(logits)
        return [rows[i * VIEWS : (i + 1) * VIEWS] for i in range(len(batch))]


def _fill(out: F32, batch: Sequence[HeatmapClips], first: int) -> None:
    """Write rows `first`, `first` + 1, … of the batch's clips, counted through all samples."""
    done = 0
    while done < len(out):
        sample, clip = divmod(first + done, VIEWS)
        count = min(VIEWS - clip, len(out) - done)
        batch[sample].write(clip, out[done : done + count])
        done += count
