"""Labels as lines: JSON for machines, and a line for people where a label changes.

Comes in: labels. Goes out: the file that ``--output`` names, and standard output.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import IO, Any

import orjson

from engine.base.errors import printable
from engine.base.files import append_whole, guarded, is_stream, open_lines
from engine.base.notes import fields_of
from engine.live.labels import Label
from engine.outputs.output import LiveOutput
from engine.outputs.run_info import LiveRun
from engine.outputs.totals import NO_ACTION


class LabelLines(LiveOutput):
    """Writes each label as a JSON line, in place of what an earlier run wrote there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: IO[bytes] | None = None

    def begin(self, run: LiveRun) -> None:
        self._lines = open_lines(self._path)
        if not is_stream(self._path):
            self._lines.truncate(0)

    def record(self, record: Label) -> None:
        assert self._lines is not None
        line, stream = label_json(record), is_stream(self._path)
        guarded(self._path, partial(append_whole, self._lines, line, stream=stream))

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()


class PrintedLabels(LiveOutput):
    """Says what somebody does whenever that changes."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, Any], str | None] = {}

    def record(self, record: Label) -> None:
        key = record.stream, record.who
        if record.error is None and self._said.get(key, "") != record.name:
            self._said[key] = record.name
            print(spelt(record), flush=True)


def label_json(label: Label) -> bytes:
    """A label as a JSON line."""
    line = {name: getattr(label, name) for name in ("stream", "who", "t", "first", "last")}
    if label.error is not None:
        line["error"] = label.error
    else:
        line |= {"label": label.label, "name": label.name, "score": round(label.score, 6)}
        line |= {"scores": label.scores, "latency_ms": round(label.latency_ms, 1)}
        line |= fields_of(label.notes)
    return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def spelt(label: Label) -> str:
    """A label as a line for people."""
    who = "" if label.who is None else f" {label.who}"
    what = NO_ACTION if label.name is None else f"{label.name} {label.score:.2f}"
    return f"{printable(label.stream)}{who}  {label.t:.2f} s  {what}  ({label.latency_ms:.0f} ms)"
