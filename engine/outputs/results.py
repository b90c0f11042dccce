"""Result files of a data set: lines as the records come, archives of scores at the end.

Comes in: records. Goes out: the files that ``--output``, ``--scores`` and ``--logits`` name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from engine.base.records import Record
from engine.outputs.archive import UNKNOWN, write_archive
from engine.outputs.journal import record_json
from engine.outputs.line_file import LineFile
from engine.outputs.output import DatasetOutput
from engine.outputs.run_info import DatasetRun

_LISTED = 5  # classes of a record, where nobody says how many


class RecordLines(DatasetOutput):
    """Writes each record as a line of a file, which it holds from its making."""

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path, "records")

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
        self._path = path
        self._field: Literal["scores", "logits"] = field

    def begin(self, run: DatasetRun) -> None:
        self._run = run

    def end(self) -> None:
        model = self._run.model
        rows = sorted(self._run.totals.predictions, key=lambda p: p.index)
        views = (model.recipe.views,) if self._field == "logits" else ()
        values = np.array([getattr(p, self._field) for p in rows], np.float32)
        write_archive(
            self._path,
            self._field,
            [p.id for p in rows],
            values.reshape(len(rows), *views, len(model.classes)),
            [UNKNOWN if p.label is None else p.label for p in rows],
            model.classes,
        )
