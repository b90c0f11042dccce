"""The journal: the records of a run as JSON lines, and how a later run continues them.

Comes in: records. Goes out: the file of ``--output``, and beside it ``FILE.run.json``, which says
of what they are the records; with ``--resume FILE`` both come in. A run that was killed leaves
whole lines and perhaps a torn last one; an editor may have changed how lines end.
"""

from __future__ import annotations

import fcntl
import math
import os
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from engine.base.errors import OutputError, UsageError, printable
from engine.base.files import (
    append_whole,
    guarded,
    is_stream,
    open_lines,
    place_of,
    remove,
    write_json,
)
from engine.base.notes import fields_of, notes_of
from engine.base.records import Failure, Prediction, Record
from engine.outputs.accuracy import are_scores, top_classes
from engine.skeletons.samples import Sample

Identity = dict[str, Any]  # what must be the same for records to belong together
NAMED = ".name"  # what ends so may differ; it makes a checksum readable


_UNSAID = {"clips": "all", "per": "group", "coordinates": "auto"}  # what a run is without a word


def identity_path(path: Path) -> Path:
    """Where the identity of a journal stands."""
    return path.with_name(f"{path.name}.run.json")


def record_json(record: Record, classes: Sequence[str], top_k: int) -> dict[str, Any]:
    """A record as its JSON line has it."""
    line: dict[str, Any] = {"index": record.index, "id": record.id, "label": record.label}
    if record.who is not None:
        line["who"] = record.who
    if isinstance(record, Failure):
        error = {"stage": record.stage, "type": record.type, "message": record.message}
        return {**line, "error": error}
    line["top_k"] = listed(record.scores, classes, top_k)
    line["scores"] = record.scores
    if record.clips is not None:
        line["clips"] = record.clips
    line["ms"] = {stage: round(ms, 3) for stage, ms in record.ms.items()}
    return line | fields_of(record.notes)


def json_line(line: dict[str, Any]) -> bytes:
    """As files and sockets have it."""
    return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def listed(scores: NDArray[np.float32], classes: Sequence[str], k: int) -> list[dict[str, Any]]:
    """The best `k` of the classes that have the scores [classes], best first."""
    best = top_classes(scores[None], k)[0].tolist()
    return [{"label": c, "name": classes[c], "score": float(scores[c])} for c in best]


def holds_records(path: Path) -> bool:
    """Whether a file is there that is not empty."""
    return path.is_file() and path.stat().st_size > 0


def can_go_on(path: Path) -> bool:
    """Whether a later run could go on with the records of a journal."""
    return holds_records(path) and identity_path(path).is_file()


def read_journal(
    path: Path, identity: Identity, samples: Sequence[Sample], classes: int
) -> list[Record]:
    """The records that a journal holds; a torn last line is none.

    Raises `UsageError` for a journal of other samples, or of another way to score them, and
    says what differs.
    """
    _check_identity(path, identity)
    return _records(path, _whole(guarded(path, path.read_bytes)), samples, classes)


class Journal:
    """The open file, from before a run looks into it until all is written: one run at a time
    has it. A device or a pipe gets lines, and has neither identity nor a second run.

    Raises `OutputError` where the file cannot be written; what had been written stays whole.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._stream = path, is_stream(path)
        self._fresh, self._size = not path.exists(), 0
        self._lines = open_lines(path)
        if not self._stream:
            self._lock()

    def begin(self, identity: Identity | None, *, resumed: bool) -> None:
        """Before the first record: say of what they are, if a later run may go on with them, or
        drop a torn line, so that the next one stands on a line of its own."""
        self._fresh = False
        if self._stream:
            return
        self._size = 0
        if resumed:
            guarded(self._path, self._keep_whole)
            self._size = os.fstat(self._lines.fileno()).st_size
            return
        guarded(self._path, lambda: self._lines.truncate(0))
        if identity is not None:
            write_json(identity_path(self._path), identity)
        else:  # that of an earlier run
            remove(identity_path(self._path))

    def _keep_whole(self) -> None:
        content = self._path.read_bytes()
        lines = _whole(content)
        if content[len(lines) :] != b"\n" * (len(lines) > 0):
            self._lines.truncate(len(lines))
            if lines:
                self._lines.write(b"\n")

    def append(self, line: dict[str, Any]) -> None:
        """Write one JSON line, all of it or nothing."""
        self.write(json_line(line))

    def write(self, data: bytes) -> None:
        """Write one line, which is there already."""
        guarded(self._path, lambda: append_whole(self._lines, data, stream=self._stream))
        self._size += len(data)

    def end(self) -> None:
        """All is written. Raises `OutputError` where the file is not what was written to it."""
        if self._stream:
            return
        ours = guarded(self._path, lambda: os.fstat(self._lines.fileno()))
        if place_of(self._path)[:2] != (ours.st_dev, ours.st_ino):
            raise OutputError(f"{self._path} was moved, removed or replaced while it was written")
        if ours.st_size != self._size:
            raise OutputError(
                f"{self._path} was changed by somebody else while it was written: it has "
                f"{ours.st_size} bytes in place of {self._size}, so that records may be missing"
            )

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have the file."""
        if self._fresh:  # a run that never came to be leaves no file
            remove(self._path)
        self._lines.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lines.close()
            raise OutputError(f"{self._path}: another run is writing to it") from None
        except OSError:
            pass  # a file system without locks


def _whole(content: bytes) -> bytes:
    """The whole lines, less the last one's end: a run may have died within its last one, and an
    editor may end lines in its own way, or leave blanks and empty ones behind."""
    return content[: max(content.rfind(end) for end in (b"\n", b"\r")) + 1].rstrip()


def _check_identity(path: Path, identity: Identity) -> None:
    """Raise `UsageError` that names every difference."""
    beside = identity_path(path)
    try:
        before = orjson.loads(beside.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not JSON"
        raise UsageError(
            f"--resume {path}: {beside}, which says what it holds, cannot be read ({reason}). Give "
            "another FILE to begin anew, or put that one back"
        ) from None
    if not isinstance(before, dict):
        raise UsageError(f"--resume {path}: {beside} is not what a run writes")
    differences = [
        f"{name}: {_difference(before, identity, name)}"
        for name in sorted(before.keys() | identity.keys())
        if before.get(name) != identity.get(name) and not name.endswith(NAMED)
    ]
    if differences:
        raise UsageError(
            f"--resume {path}: its records are of another run. Give the model, data and options of "
            "that run, or another FILE to begin anew. What differs:\n  " + "\n  ".join(differences)
        )


def _difference(before: Identity, now: Identity, name: str) -> str:
    then, today = before.get(name), now.get(name)
    if isinstance(then, list) and isinstance(today, list):  # as limbs are: longer than a line
        return f"a list of {len(then)}, now another of {len(today)}"
    return f"{_spell(before, name)}, now {_spell(now, name)}"


def _spell(identity: Identity, name: str) -> str:
    value = identity.get(name, _UNSAID.get(name))
    named = identity.get(f"{name}{NAMED}")
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = printable("none" if value is None else value)
    return text[:80] if named is None else f"{printable(named)[-80:]} ({text[:12]}…)"


def _records(path: Path, content: bytes, samples: Sequence[Sample], classes: int) -> list[Record]:
    records: list[Record] = []
    seen: set[int] = set()
    for number, line in enumerate(content.removeprefix(BOM_UTF8).splitlines(), 1):
        if not line.strip():
            continue
        where = f"--resume {path}, line {number}"
        try:
            record = _record(orjson.loads(line), classes)
        except Exception as error:  # a line that is none makes its reader raise nearly anything
            raise UsageError(
                f"{where} is not a record ({type(error).__name__}: {error}). Delete that line, and "
                "its sample is run again"
            ) from None
        if not 0 <= record.index < len(samples):
            raise UsageError(
                f"{where} is sample {record.index}; this run has {len(samples)} (--limit?)"
            )
        if samples[record.index].id != record.id:
            raise UsageError(f"{where} has an id that is not that of sample {record.index}")
        if samples[record.index].label != record.label:
            raise UsageError(f"{where} has a label that is not that of sample {record.index}")
        if record.index in seen:
            raise UsageError(
                f"{where} is a second record of sample {record.index}; delete one of them"
            )
        seen.add(record.index)
        records.append(record)
    return records


def _record(line: dict[str, Any], classes: int) -> Record:
    """A line as a record, less its logits. Raises nearly anything for another line."""
    index, name, label = line["index"], line["id"], line["label"]
    if type(index) is not int or not isinstance(name, str) or type(label) not in (int, type(None)):
        raise ValueError("index, id or label of another type")
    if type(who := line.get("who")) not in (int, str, type(None)):
        raise ValueError("who of another type")
    if "error" in line:
        error = line["error"]
        stage, kind, message = (str(error[k]) for k in ("stage", "type", "message"))
        return Failure(index, name, label, stage, kind, message, who)
    scores = np.array(line["scores"], np.float32)  # written so that they are read back exactly
    if scores.shape != (classes,):
        raise ValueError(f"scores of shape {scores.shape}, not {classes} of them")
    if {*map(type, line["scores"])} - {float, int} or not are_scores(scores[None]).all():
        raise ValueError(
            f"scores from {scores.min():.4g} to {scores.max():.4g} that sum to {scores.sum():.4g}"
        )
    ms = {str(stage): float(value) for stage, value in line["ms"].items()}
    if not all(0 <= value < math.inf for value in ms.values()):
        raise ValueError("times that cannot be times")
    if type(clips := line.get("clips")) not in (int, type(None)):
        raise ValueError("clips of another type")
    logits = np.empty((0, classes), np.float32)
    return Prediction(index, name, label, logits, scores, ms, who, notes_of(line), clips)
