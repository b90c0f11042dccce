"""Result files: JSON lines as the records come, score and logit archives at the end.

Comes in: records. Goes out: the files that ``--output``, ``--scores`` and ``--logits`` name.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import OutputError, UsageError
from engine.base.events import event
from engine.base.files import guarded, is_stream, part_of, write_atomically
from engine.base.option_field import about, files_written, flag, paths_read
from engine.base.options import Options
from engine.base.records import Failure, Prediction, Record
from engine.outputs.journal import Journal, identity_path, record_json
from engine.pipeline import Pipeline

log = logging.getLogger("engine")


def check_outputs(options: Options) -> None:
    """Find files that cannot or must not be written, before the work and not after.

    Raises `UsageError` where an output is an input or another output, and `OutputError`
    where it cannot be written. Whole files replace what is there, so they must not stand
    for a device; ``--output`` and ``--log-json`` may be one.
    """
    taken = paths_read(options)
    folders = {path for path in taken if path.is_dir()}
    if options.save_video is not None and Path(options.save_video).suffix != ".mp4":
        raise UsageError(f"--save-video {options.save_video}: a file .mp4 is what is written")
    for f, name in files_written(options):
        path, option = Path(name), flag(f.name)
        if name == "-":
            raise UsageError(f"{option} - : a file is needed; standard output is /dev/stdout")
        if path.resolve() in taken:
            raise UsageError(f"{option} {name} is the file of {taken[path.resolve()]} as well")
        if (folder := path.resolve().parent) in folders:
            raise UsageError(f"{option} {name} is in the folder of {taken[folder]}")
        taken[path.resolve()] = option
        if f.name in ("output", "resume"):
            taken[identity_path(path).resolve()] = f"what {option} is identified by"
        if path.is_dir() or (is_stream(path) and about(f).writes != "lines"):
            raise OutputError(f"{name} exists and is not a file")
        if not is_stream(path):
            guarded(path, partial(_probe, part_of(path)))


def _probe(path: Path) -> None:
    """Create and remove a file."""
    path.touch()
    path.unlink()


class ResultWriter:
    """Writes every record once. Raises `OutputError` when a file cannot be written.

    `predictions` and `failures` keep what was written, in the order of arrival, behind what
    a resumed run found. Logits are kept only where a file wants them.
    """

    def __init__(self, pipeline: Pipeline, journal: Journal | None) -> None:
        self._options, self._classes = pipeline.options, pipeline.model.classes
        self._views = pipeline.options.views
        self.predictions: list[Prediction] = []
        self.failures: list[Failure] = []
        for record in pipeline.resumed:
            self._keep(record)
        self._journal = journal
        if journal is not None:
            journal.begin(pipeline.identity, resumed=pipeline.resumes)

    def write(self, record: Record) -> None:
        """Take one record and write its JSON line."""
        if self._journal:
            self._journal.append(record_json(record, self._classes, self._options.top_k))
        if isinstance(record, Prediction) and self._options.logits is None:
            record = replace(record, logits=record.logits[:0].copy())  # a view would keep them
        if isinstance(record, Failure):
            log.debug(
                "%s failed (%s): %s",
                record.id,
                record.stage,
                record.message,
                extra=event("failed", **asdict(record)),
            )
        self._keep(record)

    def _keep(self, record: Record) -> None:
        if isinstance(record, Failure):
            self.failures.append(record)
        else:
            self.predictions.append(record)

    def write_archive(self, path: Path, field: str) -> None:
        """Write ``scores`` or ``logits`` of all samples, in the data set's order."""
        rows = sorted(self.predictions, key=lambda p: p.index)
        ids = np.array([p.id for p in rows], dtype=np.str_)
        views = (self._views,) if field == "logits" else ()
        values = np.array([getattr(p, field) for p in rows], np.float32)
        arrays = {"id": ids, field: values.reshape(len(rows), *views, len(self._classes))}
        write_atomically(path, partial(_save, arrays))


def _save(arrays: dict[str, NDArray[Any]], target: IO[bytes]) -> None:
    np.savez(target, **arrays)  # type: ignore[arg-type]  # a stub takes a name for a flag
