"""Result files of a data set: lines as the records come, archives of scores at the end.

Comes in: records. Goes out: the files that ``--output``, ``--scores`` and ``--logits`` name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.base.records import Prediction, Record
from engine.outputs.archive import UNKNOWN, write_archive
from engine.outputs.journal import record_json
from engine.outputs.line_file import LineFile
from engine.outputs.output import DatasetOutput
from engine.outputs.run_info import DatasetRun, ModelFacts

_LISTED = 5  # classes of a record, where nobody says how many


class RecordLines(DatasetOutput):
    """Writes each record as a line of a file, which it holds from its making."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, LineFile(path, "records")

    def begin(self, run: DatasetRun) -> None:
        top_k = run.options.top_k
        self._classes, self._top_k = run.model.classes, _LISTED if top_k is None else top_k
        self._file.begin(self._top_k, dict(run.identity), resumed=run.resumes)

    def record(self, record: Record) -> None:
        self._file.append(record_json(record, self._classes, self._top_k))

    def end(self) -> None:
        self._file.end()

    def close(self) -> None:
        self._file.close()


class Archive(DatasetOutput):
    """Writes the ``scores`` or ``logits`` of all samples, in the data set's order
    (`engine.outputs.archive`)."""

    def __init__(self, path: Path, field: Literal["scores", "logits"]) -> None:
        self.path: Path = path
        self._field: Literal["scores", "logits"] = field

    def begin(self, run: DatasetRun) -> None:
        self._run = run

    def end(self) -> None:
        model = self._run.model
        rows = sorted(self._run.totals.predictions, key=lambda p: p.index)
        about = (
            [p.id for p in rows],
            [UNKNOWN if p.label is None else p.label for p in rows],
            model.classes,
        )
        if self._field == "scores":
            scores = np.array([p.scores for p in rows], np.float32)
            values = {"scores": scores.reshape(len(rows), len(model.classes))}
        else:
            values = _logits(rows, model)
        write_archive(self.path, values, *about)


def _logits(rows: Sequence[Prediction], model: ModelFacts) -> dict[str, NDArray[Any]]:
    """Of all views, NaN for those that were not run; how many were; and by which model."""
    order = model.recipe.view_order
    logits = np.full((len(rows), len(order), len(model.classes)), np.nan, np.float32)
    for row, prediction in zip(logits, rows, strict=True):
        row[sorted(order[: len(prediction.logits)])] = prediction.logits
    clips = np.array([len(p.logits) for p in rows], np.int64)
    return {"logits": logits, "clips": clips, "model": np.array(model.sha256)}
