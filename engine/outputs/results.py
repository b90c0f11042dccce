"""Result files of a data set: JSON lines as the records come, archives of scores at the end.

Comes in: records. Goes out: the files that ``--output``, ``--scores`` and ``--logits`` name.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.base.files import write_atomically
from engine.base.records import Record
from engine.outputs.journal import Journal, record_json
from engine.outputs.output import DatasetOutput
from engine.outputs.run_info import DatasetRun


class RecordLines(DatasetOutput):
    """Writes each record as a line of a journal, which it holds from its making."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)

    def begin(self, run: DatasetRun) -> None:
        self._classes, self._top_k = run.model.classes, run.options.top_k
        self._journal.begin(dict(run.identity), resumed=run.resumes)

    def record(self, record: Record) -> None:
        self._journal.append(record_json(record, self._classes, self._top_k))

    def close(self) -> None:
        self._journal.close()


class Archive(DatasetOutput):
    """Writes ``id`` [N] and the ``scores`` [N, classes] or ``logits`` [N, views, classes] of all
    samples, in the data set's order."""

    def __init__(self, path: Path, field: Literal["scores", "logits"]) -> None:
        self._path, self._field = path, field

    def begin(self, run: DatasetRun) -> None:
        self._run = run

    def end(self) -> None:
        model = self._run.model
        rows = sorted(self._run.totals.predictions, key=lambda p: p.index)
        ids = np.array([p.id for p in rows], dtype=np.str_)
        views = (model.recipe.views,) if self._field == "logits" else ()
        values = np.array([getattr(p, self._field) for p in rows], np.float32)
        arrays = {"id": ids, self._field: values.reshape(len(rows), *views, len(model.classes))}
        write_atomically(self._path, partial(_save, arrays))


def _save(arrays: dict[str, NDArray[Any]], target: IO[bytes]) -> None:
    np.savez(target, **arrays)  # type: ignore[arg-type]  # a stub takes a name for a flag
