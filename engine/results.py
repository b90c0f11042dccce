"""Result files: JSON lines as the records come, score and logit archives at the end.

Comes in: records. Goes out: the files that ``--output``, ``--scores`` and ``--logits``
name. Called by `engine.run`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from engine.aggregator import Failure, Prediction, Record
from engine.constants import VIEWS
from engine.errors import OutputError, UsageError
from engine.metrics import top_classes
from engine.options import Options


def record_json(record: Record, classes: Sequence[str], top_k: int) -> dict[str, Any]:
    """A record as its JSON line has it."""
    line: dict[str, Any] = {"index": record.index, "id": record.id, "label": record.label}
    if isinstance(record, Failure):
        error = {"stage": record.stage, "type": record.type, "message": record.message}
        return {**line, "error": error}
    best = top_classes(record.scores[None], top_k)[0].tolist()
    line["top_k"] = [
        {"label": c, "name": classes[c], "score": float(record.scores[c])} for c in best
    ]
    line["scores"] = record.scores
    line["ms"] = {stage: round(ms, 3) for stage, ms in record.ms.items()}
    return line


def check_outputs(options: Options) -> None:
    """Find files that cannot or must not be written, before the work and not after.

    Raises `UsageError` where an output is an input or another output, and `OutputError`
    where it cannot be written. Whole files replace what is there, so they must not stand
    for a device; ``--output`` may be one.
    """
    taken = {
        Path(name).resolve(): option
        for option, name in (
            ("--dataset", options.dataset),
            ("--ann-file", options.ann_file),
            ("--model", options.model),
        )
        if name is not None and Path(name).exists()
    }
    for option in ("output", "scores", "logits", "summary", "report"):
        name = getattr(options, option)
        if name is None:
            continue
        path = Path(name)
        if name == "-":
            raise UsageError(f"--{option} - : a file is needed; standard output is /dev/stdout")
        if path.resolve() in taken:
            raise UsageError(f"--{option} {name} is the file of {taken[path.resolve()]} as well")
        taken[path.resolve()] = f"--{option}"
        if path.is_dir() or (path.exists() and not path.is_file() and option != "output"):
            raise OutputError(f"{name} exists and is not a file")
        if option != "output" or not path.exists():
            _guard(name, _probe)


def _probe(path: Path) -> None:
    """Create and remove a file beside `path`."""
    probe = path.with_name(f".{path.name}.{os.getpid()}.part")
    probe.touch()
    probe.unlink()


class ResultWriter:
    """Writes every record once. Raises `OutputError` when a file cannot be written.

    `predictions` and `failures` keep what was written, in the order of arrival.
    """

    def __init__(self, options: Options, classes: Sequence[str]) -> None:
        self._options, self._classes = options, classes
        self.predictions: list[Prediction] = []
        self.failures: list[Failure] = []
        self._lines: IO[bytes] | None = None
        if options.output is not None:
            # Unbuffered: a record is with the system when `write` returns.
            self._lines = _guard(options.output, lambda path: path.open("wb", buffering=0))

    def write(self, record: Record) -> None:
        """Take one record and write its JSON line."""
        if self._lines is not None:
            line = orjson.dumps(
                record_json(record, self._classes, self._options.top_k),
                option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE,
            )
            lines = self._lines
            _guard(str(self._options.output), lambda _: _write_all(lines, line))
        if isinstance(record, Failure):
            self.failures.append(record)
        else:
            self.predictions.append(record)

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lines is not None:
            self._lines.close()

    def write_archives(self) -> None:
        """Write the files of ``--scores`` and ``--logits``, in the data set's order."""
        rows = sorted(self.predictions, key=lambda p: p.index)
        ids = np.array([p.id for p in rows], dtype=np.str_)
        width = len(self._classes)
        for name, field, shape in (
            (self._options.scores, "scores", (len(rows), width)),
            (self._options.logits, "logits", (len(rows), VIEWS, width)),
        ):
            if name is not None:
                values = np.array([getattr(p, field) for p in rows], np.float32)
                arrays = {"id": ids, field: values.reshape(shape)}
                write_atomically(Path(name), partial(_save, arrays))


def _write_all(target: IO[bytes], data: bytes) -> None:
    while data:
        data = data[target.write(data) :]


def _save(arrays: dict[str, NDArray[Any]], target: IO[bytes]) -> None:
    np.savez(target, **arrays)  # type: ignore[arg-type]  # a stub takes a name for a flag


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a whole file beside `path` and move it there. Raises `OutputError`."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as target:
            write(target)
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def _guard(name: str, action: Callable[[Path], Any]) -> Any:
    try:
        return action(Path(name))
    except OSError as error:
        raise OutputError(f"{name}: {error.strerror or error}") from None
