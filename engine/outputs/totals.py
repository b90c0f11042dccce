"""Totals: the records of a run, counted once for every output that shows them.

Comes in: each record and when it came. Goes out: how many there are and how many failed, by class,
rates, and latencies. Pure, and the clock is an argument: seconds of any one origin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice, takewhile
from typing import Any

from engine.base.notes import NoteCounts
from engine.base.records import Failure, Prediction, Record
from engine.live.labels import Label

NO_ACTION = "no action"  # what a label of no class is called
END_TO_END = "end to end"  # the stage that is a label's latency

_KEPT = 10_000  # of the latest latencies
_SHOWN = 4000  # of those, lately


class Latencies:
    """Milliseconds by stage of the latest records."""

    def __init__(self) -> None:
        self._latest: deque[tuple[float, Mapping[str, float]]] = deque(maxlen=_KEPT)

    def add(self, ms: Mapping[str, float], now: float) -> None:
        """What a record took."""
        self._latest.append((now, ms))

    def of(self, stage: str) -> list[float]:
        """Those of a stage, oldest first."""
        return [ms[stage] for _, ms in self._latest if stage in ms]

    def since(self, then: float, least: int) -> list[Mapping[str, float]]:
        """Those that came since `then`, or the last `least` where they are fewer; newest first."""
        newest = list(islice(reversed(self._latest), _SHOWN))
        recent = list(takewhile(lambda one: one[0] >= then, newest))
        return [ms for _, ms in (recent if len(recent) >= least else newest[:least])]


class Totals(ABC):
    """What the totals of both kinds of run have in common. `done`: records so far; `failed`: those
    of them without scores; `notes`: of the others."""

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.done = self.failed = 0
        self.seconds = 0.0
        self.latencies = Latencies()
        self.notes = NoteCounts()

    @abstractmethod
    def add(self, record: Any, now: float) -> None:
        """Count a record that has just come."""

    @abstractmethod
    def end(self, now: float) -> None:
        """The last record has come."""


class SampleTotals(Totals):
    """Of a data set. The records that `--resume` found count as done; rates are without them.

    `predictions` and `failures`: all of them, in the order of arrival behind what was resumed; the
    logits only where they are asked for, and labels only where they are `comparable`: numbers of
    the model's classes. `answers`: how often which (label, first answer) came.
    `arrivals`: seconds after the start of each prediction of this run. `seconds`: from the start to
    the last record.
    """

    def __init__(
        self,
        begun: float,
        resumed: Sequence[Record] = (),
        *,
        keep_logits: bool = False,
        comparable: bool = True,
    ) -> None:
        super().__init__(begun)
        self._comparable = comparable
        self._keep_logits = keep_logits
        self.predictions: list[Prediction] = []
        self.failures: list[Failure] = []
        self.answers: Counter[tuple[int, int]] = Counter()
        self.arrivals: list[float] = []
        for record in resumed:
            self._count(record)
        self.resumed = len(resumed)

    def add(self, record: Record, now: float) -> None:
        self.seconds = now - self.begun
        if isinstance(record, Prediction):
            self.arrivals.append(self.seconds)
            self.latencies.add(record.ms, now)
            if not self._keep_logits:  # a view would keep them
                record = replace(record, logits=record.logits[:0].copy())
        self._count(record)

    def end(self, now: float) -> None:
        """Leaves `seconds` at the last record."""

    @property
    def scored(self) -> Sequence[Prediction]:
        """The predictions of this run alone."""
        return self.predictions[len(self.predictions) - len(self.arrivals) :]

    @property
    def rate(self) -> float:
        """Samples scored a second."""
        return len(self.arrivals) / self.seconds if self.seconds > 0 else 0.0

    @property
    def labelled(self) -> int:
        """Predictions whose class is known."""
        return self.answers.total()

    @property
    def right(self) -> int:
        """Predictions whose first answer is their class."""
        return sum(count for (label, answer), count in self.answers.items() if label == answer)

    def _count(self, record: Record) -> None:
        self.done += 1
        if isinstance(record, Failure):
            self.failed += 1
            self.failures.append(record)
            return
        if not self._comparable:
            record = replace(record, label=None)
        self.predictions.append(record)
        self.notes.add(record.notes, record.id)
        if record.label is not None:
            self.answers[record.label, int(record.scores.argmax())] += 1


class LabelTotals(Totals):
    """Of live sources. `names`: labels by what they say. `seconds`: from the start to the end."""

    def __init__(self, begun: float) -> None:
        super().__init__(begun)
        self.names: Counter[str] = Counter()

    def add(self, record: Label, now: float) -> None:
        self.done += 1
        self.latencies.add({**record.ms, END_TO_END: record.latency_ms}, now)
        if record.error is not None:
            self.failed += 1
        else:
            self.names[record.name or NO_ACTION] += 1
            self.notes.add(record.notes, f"{record.stream}@{record.last}")

    def end(self, now: float) -> None:
        self.seconds = now - self.begun

    @property
    def rate(self) -> float:
        """Labels a second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0
