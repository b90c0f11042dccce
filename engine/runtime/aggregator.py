"""The aggregator: the logits of a sample's clips become the one record of a sample.

Comes in: logits, and what is known of the way they took. Goes out: `Prediction` or `Failure`. Lives
in the parent. Source of the average: ``average_clips='prob'`` of mmaction2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.base.notes import Note
from engine.base.records import Cause, Failure, Figures, Prediction, Record
from engine.network.recogniser import scored
from engine.skeletons.samples import Sample


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
        self,
        index: int,
        logits: NDArray[np.float32],
        padded: int,
        ms: dict[str, float],
        notes: tuple[Note, ...] = (),
    ) -> Record:
        """The record of a sample whose logits, float32 [clips, classes], are complete.

        `padded`: filler clips that were run with it. `ms`: as in `Prediction`; ``infer`` is
        counted as work of the device. `notes`: of its poses.
        """
        self.figures.infer_s += ms["infer"] / 1e3
        self.figures.clips_run += len(logits)
        self.figures.clips_padded += padded
        scores = scored(logits)
        if isinstance(scores, Cause):
            return self.failure(index, scores)
        sample = self._samples.pop(index)
        about = index, sample.id, sample.label
        return Prediction(*about, logits, scores, ms, sample.who, notes, len(logits))

    def failure(self, index: int, cause: Cause) -> Failure:
        """The record of a sample that could not be scored."""
        sample = self._samples.pop(index)
        about = index, sample.id, sample.label
        return Failure(*about, cause.stage, cause.type, cause.message, sample.who)
