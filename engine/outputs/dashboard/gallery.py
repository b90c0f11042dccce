"""The gallery: samples of a data set run that were scored lately, in motion, and how far it is.

Comes in: records. Goes out: JSON types. Pure, and the clock is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from engine.base.records import Prediction, Record
from engine.outputs.html_report import in_motion
from engine.skeletons.samples import Sample

_SHOWN = 6
_EVERY_S = 1.0  # a new one in the long run, so that one can look


class Gallery:
    """`samples`: of the data set, by index. `classes`: names."""

    def __init__(self, samples: Sequence[Sample], classes: Sequence[str]) -> None:
        self._samples, self._classes = samples, classes
        self._chosen: deque[dict[str, Any]] = deque(maxlen=_SHOWN)
        self._due = float("-inf")  # when so many had their second
        self.changes = 0
        self.scored = self.failed = self.labelled = self.right = 0

    def add(self, record: Record, now: float) -> None:
        """A sample has its record."""
        if not isinstance(record, Prediction):
            self.failed += 1
            return
        self.scored += 1
        if record.label is not None:
            self.labelled += 1
            self.right += int(record.scores.argmax()) == record.label
        self._due = max(self._due, now - _SHOWN * _EVERY_S)  # records come a batch at a time
        if now - self._due >= _EVERY_S:
            self._due += _EVERY_S
            poses = self._samples[record.index].poses(len(self._classes))
            self._chosen.append(in_motion(record, poses, self._classes))
            self.changes += 1

    def shown(self) -> list[dict[str, Any]]:
        """The latest samples, the newest first: as `engine.outputs.html_report.in_motion` gives
        them."""
        return list(reversed(self._chosen))

    def state(self, rate: float) -> dict[str, Any]:
        """How far the run is; `rate` in samples/s."""
        done, of = self.scored + self.failed, len(self._samples)
        return {
            "done": done,
            "of": of,
            "failed": self.failed,
            "top1": self.right / self.labelled if self.labelled else None,
            "left_s": (of - done) / rate if rate > 0 else None,
        }
