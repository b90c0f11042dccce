"""Events: what happens in a run, one JSON line each, for machines to read.

Comes in: what the engine logs. Goes out: the file that ``--log-json`` names. Whoever logs
an event says what it is and in which process it happened with `event`; other log lines
are events of kind ``log``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import orjson

from engine.files import guarded

PARENT = "supervisor"  # the name of the process that has the children

log = logging.getLogger("engine")


def event(kind: str, process: str = PARENT, **fields: Any) -> dict[str, Any]:
    """The ``extra`` of a log call that tells of an event; `fields` are JSON values."""
    return {"event": {"event": kind, "process": process, **fields}}


def event_line(record: logging.LogRecord) -> bytes:
    """A log record as its line: time (UTC), level, event, process, its fields, message."""
    about = getattr(record, "event", None) or event("log")["event"]
    time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
    line = {"time": time, "level": record.levelname.lower(), **about}
    # `default`: an event that holds something unforeseen is still an event.
    return orjson.dumps(
        {**line, "message": record.getMessage()},
        default=str,
        option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY,
    )


class _Lines(logging.Handler):
    """Writes every record of the engine's logger at once, unbuffered."""

    def __init__(self, target: IO[bytes]) -> None:
        super().__init__(logging.DEBUG)
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._target.write(event_line(record))
        except Exception:
            self.handleError(record)  # a full disk must not end a run that only tells of itself


@contextmanager
def events_to(name: str | None) -> Iterator[None]:
    """Append the events of the enclosed run to a file, if one is named. Raises `OutputError`."""
    if name is None:
        yield
        return
    path = Path(name)
    target = guarded(path, lambda: path.open("ab", buffering=0))
    before = log.level
    with target:
        handler = _Lines(target)
        log.addHandler(handler)
        log.setLevel(logging.DEBUG)  # the console's handler has a level of its own
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.setLevel(before)
