"""Events: what happens in a run, one JSON line each, for machines to read.

Comes in: what the engine logs. Goes out: the file that ``--log-json`` names. Whoever logs
an event says what it is and in which process it happened with `event`; other log lines
are events of kind ``log``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from engine.base.files import append_whole, end_line, is_stream, open_lines

PARENT = "supervisor"  # the name of the process that has the children

log = logging.getLogger("engine")


def event(kind: str, process: str = PARENT, **fields: Any) -> dict[str, Any]:
    """The ``extra`` of a log call that tells of an event; `fields` are JSON values."""
    return {"event": {"event": kind, "process": process, **fields}}


def event_line(record: logging.LogRecord) -> bytes:
    """A log record as its line: time (UTC), level, event, process, its fields, message."""
    # An event that holds something unforeseen, or text that is not UTF-8, is still an event.
    text = json.dumps({**event_fields(record), "message": record.getMessage()}, default=str)
    return text.encode() + b"\n"


def event_fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a log record tells of, less its message."""
    about = getattr(record, "event", None) or event("log")["event"]
    time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
    return {"time": time, "level": record.levelname.lower(), **about}


class _Lines(logging.Handler):
    """Writes every record of the engine's logger at once, unbuffered."""

    def __init__(self, path: Path, target: IO[bytes]) -> None:
        super().__init__(logging.DEBUG)
        self._path, self._target, self._stream = path, target, is_stream(path)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            append_whole(self._target, event_line(record), stream=self._stream)
        except OSError as error:  # must not end a run that only tells of itself
            log.removeHandler(self)
            log.warning("--log-json %s: %s; no more events are written", self._path, error.strerror)


@contextmanager
def events_to(name: str | None) -> Iterator[None]:
    """Append the events of the enclosed run to a file, if one is named. Raises `OutputError`."""
    if name is None:
        yield
        return
    path = Path(name)
    target = open_lines(path)
    before = log.level
    with target:
        end_line(path, target)  # of an earlier run's event, which a full disk may have torn
        handler = _Lines(path, target)
        log.addHandler(handler)
        log.setLevel(logging.DEBUG)  # the console's handler has a level of its own
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.setLevel(before)
