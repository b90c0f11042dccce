"""The same work as the processes do, in this one: one sample after the other.

Comes in: samples. Goes out: exactly one record of each. As many samples as fill one run of the
network go through it together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from engine.base.notes import Note
from engine.base.records import Cause, Facts, Record
from engine.network.recogniser import Recogniser
from engine.runtime.aggregator import Aggregator
from engine.skeletons.clips import Clips, JointClips
from engine.skeletons.samples import Sample


class _Prepared(NamedTuple):
    """A sample that is ready to run. `seconds`: what that took."""

    sample: Sample
    clips: Clips | JointClips
    notes: tuple[Note, ...]
    seconds: float


class InProcessDriver:
    """Owns a `recogniser`. After the first of the `interruptions` it
    takes no more samples; after the second it drops what it has."""

    port, engines = None, 1

    def __init__(
        self,
        samples: Iterable[Sample],
        recogniser: Recogniser,
        aggregator: Aggregator,
        interruptions: Callable[[], int],
    ) -> None:
        self._samples, self._recogniser, self._aggregator = samples, recogniser, aggregator
        self._interruptions, self._closed = interruptions, False
        self._network = recogniser.runner
        self.max_batch = self._network.step
        self.watchers: list[Callable[[float], None]] = []

    def start(self) -> Facts:
        return self._network.facts

    def records(self) -> Iterator[Record]:
        waiting: list[_Prepared] = []
        for sample in self._samples:
            if self._interruptions():
                break  # what is prepared is still scored
            for watch in self.watchers:
                watch(time.monotonic())
            start = time.perf_counter()
            self._aggregator.take(sample)
            found = self._recogniser.clips(sample)
            if isinstance(found, Cause):
                yield self._aggregator.failure(sample.index, found)
                continue
            waiting.append(_Prepared(sample, *found, time.perf_counter() - start))
            if len(waiting) == self.max_batch:
                yield from self._infer(waiting)
                waiting.clear()
        if waiting and self._interruptions() < 2:
            yield from self._infer(waiting)

    def processes(self) -> list[dict[str, Any]]:
        return []

    def waits(self) -> str:
        return "in process"

    def close(self, *, at_once: bool = False) -> None:
        if not self._closed:
            self._closed = True
            self._recogniser.close()

    def _infer(self, batch: list[_Prepared]) -> Iterator[Record]:
        padded, start = self._network.clips_padded, time.perf_counter()
        outputs = self._recogniser.logits([one.clips for one in batch])
        for one, logits in zip(batch, outputs, strict=True):
            now = time.perf_counter()
            self._aggregator.figures.decode_s += one.seconds
            ms = {"decode": 1e3 * one.seconds, "infer": 1e3 * (now - start)}
            more = self._network.clips_padded - padded
            yield self._aggregator.score(one.sample.index, logits, more, ms, one.notes)
            padded, start = self._network.clips_padded, time.perf_counter()
