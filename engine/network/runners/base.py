"""The base of all runners: what a network's user sees of it, whichever way it is executed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import ModelError
from engine.base.records import Facts
from engine.network.backend import Array, Backend
from engine.skeletons.clips import Clips, JointClips

F32 = NDArray[np.float32]

Logits = tuple[int, F32]
"""The key of a sample and the logits of its clips that were run, float32 [clips, classes], in the
order of the views."""


class Runner(ABC):
    """Owns a backend and the buffers that it runs on. Each makes a run of nothing before it is of
    use, and looks at what comes back: a network that cannot compute, or is not what its file says,
    ends a run before the first sample. `classes`: how many the file names.

    `draws`: whether it takes clips that are not drawn yet, and draws them where they run.
    `clips_run`, `clips_padded`: what the device was given, real and filler; the latter stays 0
    where filler is not whole clips. `together`: samples that complete with the one that was
    yielded last, itself included; they are yielded one after the other.
    """

    draws = False

    def __init__(self, backend: Backend, classes: int) -> None:
        self._backend, self._classes = backend, classes
        self.clips_run = self.clips_padded = 0
        self.together = 1
        self._pending: dict[int, None] = {}  # keys, in their order

    @property
    def facts(self) -> Facts:
        """Of the backend."""
        return self._backend.facts

    @property
    def step(self) -> int:
        """Samples that fill one run, at least one."""
        return 1

    @property
    @abstractmethod
    def idle(self) -> bool:
        """Whether nothing is left to `collect`."""

    @property
    def pending(self) -> list[int]:
        """Keys of the samples that are not complete, in the order in which they were fed."""
        return list(self._pending)

    def _enter(self, batch: Sequence[tuple[int, object]]) -> None:
        """The samples of a batch are pending from now on."""
        self._pending.update(dict.fromkeys(key for key, _ in batch))

    def check(self, clips: Clips | JointClips) -> None:  # noqa: B027
        """Raise `SampleError` for a sample that the network cannot take. Most take all."""

    def pads(self, samples: int) -> bool:
        """Whether a batch of so many samples needs filler clips."""
        return False

    @abstractmethod
    def feed(
        self,
        batch: Sequence[tuple[int, Clips | JointClips]],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Iterator[Logits]:
        """Start the runs of a batch of (key, clips).

        Yields the logits of samples that complete on the way, in whatever order: some need fewer
        clips than others. What is left at the end goes together with the next batch, or by
        `collect`: runs under way, or too little for a full one. `meanwhile` is called often, while
        the device is busy.
        """

    @abstractmethod
    def collect(self, meanwhile: Callable[[], object] = lambda: None) -> Iterator[Logits]:
        """Complete the oldest run; yield the samples that it completes, as `feed` does."""

    def _shaped(self, output: Array, rows: int) -> F32:
        """What a run gave, float32 [rows, classes]. Raises `ModelError` for another shape."""
        if output.shape != (rows, self._classes):
            raise ModelError(
                f"the network returned shape {list(output.shape)} for {rows} clips; its file "
                f"declares {self._classes} classes, a logit of each for every clip"
            )
        return output.astype(np.float32, copy=False)

    def _tried(self, output: Array, rows: int) -> None:
        """Look at what the run of nothing gave. Raises `ModelError`."""
        if not np.isfinite(self._shaped(output, rows)).all():
            raise ModelError(
                f"the network's logits of an empty clip are not finite on {self.facts.device} in "
                f"{self.facts.precision}: its weights exceed what that holds, or are damaged"
            )

    def close(self) -> None:
        """Give the device back. No call follows."""
        self._backend.close()
