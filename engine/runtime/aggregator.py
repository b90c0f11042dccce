"""The aggregator: the logits of twenty clips become the one record of a sample.

Comes in: logits, and what is known of the way they took. Goes out: `Prediction` or
`Failure`. Lives in the parent, with the result files; called by the supervisor and by
the in-process runner. Source of the average: ``average_clips='prob'`` of mmaction2.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import SampleError, printable
from engine.sources.dataset import Sample

STAGES = ("assign", "decode", "transport", "queue", "infer", "total")
"""Keys of `Prediction.ms`, in the order of a sample's way."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The scores of a sample.

    `logits`: float32 [views, classes]. `scores`: float32 [classes], sums to one. `ms`:
    milliseconds of work or waiting, by stage.
    """

    index: int
    id: str
    label: int | None
    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A sample that could not be scored: where (`stage`), what (`type`) and why (`message`)."""

    index: int
    id: str
    label: int | None
    stage: str
    type: str
    message: str


Record = Prediction | Failure


@dataclass
class Figures:
    """What a run amounted to so far, for progress and report."""

    decode_s: float = 0.0  # seconds of work, all workers together
    infer_s: float = 0.0  # seconds of work, all executors together
    clips_run: int = 0
    clips_padded: int = 0
    bytes_sent: int = 0  # of clips, between processes
    peak_bytes: int = 0  # in flight
    states: dict[str, float] = field(default_factory=dict)  # seconds in which who waited for whom
    batches: dict[str, int] = field(default_factory=dict)  # by the number of samples in them
    restarts: int = 0
    dropped: int = 0  # messages that were not ours

    def add(self, more: Figures) -> None:
        """Add those of another part of the run."""
        for one in fields(self):
            value, added = getattr(self, one.name), getattr(more, one.name)
            if isinstance(value, dict):
                for key, number in added.items():
                    value[key] = value.get(key, 0) + number
            elif one.name == "peak_bytes":
                self.peak_bytes = max(value, added)
            else:
                setattr(self, one.name, value + added)


class Aggregator:
    """Makes records of samples: one of each that was taken."""

    def __init__(self) -> None:
        self._samples: dict[int, Sample] = {}  # without a record
        self.figures = Figures()

    def take(self, sample: Sample) -> None:
        """A sample will have its record."""
        self._samples[sample.index] = sample

    def forget(self, index: int) -> None:
        """A sample has its record from elsewhere."""
        del self._samples[index]

    def score(
        self, index: int, logits: NDArray[np.float32], padded: int, ms: dict[str, float]
    ) -> Record:
        """The record of a sample whose logits, float32 [views, classes], are complete.

        `padded`: filler clips that were run with it. `ms`: as in `Prediction`; ``infer`` is
        counted as work of the device.
        """
        self.figures.infer_s += ms["infer"] / 1e3
        self.figures.clips_run += len(logits)
        self.figures.clips_padded += padded
        try:
            scores = average(logits)
        except SampleError as error:
            return self.fail(index, error.stage, error)
        sample = self._samples.pop(index)
        return Prediction(index, sample.id, sample.label, logits, scores, ms)

    def fail(self, index: int, stage: str, error: Exception) -> Failure:
        """The record of a sample that `error` stopped in `stage`."""
        return self.failure(index, stage, type(error).__name__, printable(error))

    def failure(self, index: int, stage: str, type: str, message: str) -> Failure:
        """The record of a sample that could not be scored, as another process reports it."""
        sample = self._samples.pop(index)
        return Failure(index, sample.id, sample.label, stage, type, message)


def average(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over the clips of the softmax over the classes: float32 [classes].

    `logits` float32 [views, classes]. Computed in float64, so that the order of summation
    does not show. Raises `SampleError` where a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise SampleError("the network's logits are not finite", stage="score")
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    scores: NDArray[np.float64] = (shifted / shifted.sum(axis=1, keepdims=True)).mean(axis=0)
    return scores.astype(np.float32)
