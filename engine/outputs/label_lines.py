"""Labels as lines: of a file for machines, and a line for people where a label changes.

Comes in: labels. Goes out: the file that ``--output`` names, and standard output.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from engine.base.console import say
from engine.base.errors import printable
from engine.base.notes import fields_of
from engine.live.labels import Label
from engine.outputs.journal import listed
from engine.outputs.line_file import LineFile
from engine.outputs.output import LiveOutput
from engine.outputs.run_info import LiveRun
from engine.outputs.totals import NO_ACTION

_A_DATE: Final = 1e9  # seconds; as an age it would be 31 years


class LabelLines(LiveOutput):
    """Writes each label as a line of a file, which it holds from its making."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, LineFile(path, "labels")

    def begin(self, run: LiveRun) -> None:
        self._classes, self._top_k = run.model.classes, run.options.top_k or 0
        self._file.begin(self._top_k)

    def record(self, record: Label) -> None:
        self._file.append(label_json(record, self._classes, self._top_k))

    def end(self) -> None:
        self._file.end()

    def close(self) -> None:
        self._file.close()


class PrintedLabels(LiveOutput):
    """Says what somebody does whenever that changes."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, Any], str | None] = {}

    def begin(self, run: LiveRun) -> None:
        self._live = any(source.live for source in run.sources)

    def record(self, record: Label) -> None:
        key = record.stream, record.who
        if record.error is None and self._said.get(key, "") != record.name:
            self._said[key] = record.name
            last = time.time() - record.latency_ms / 1e3 if self._live else record.t
            say(spelt(record, clock(last)))


def label_json(label: Label, classes: Sequence[str], top_k: int) -> dict[str, Any]:
    """A label as its JSON line has it, with the best `top_k` classes of its window, if any."""
    line = {name: getattr(label, name) for name in ("stream", "who", "t", "first", "last")}
    if label.error is not None:
        return {**line, "error": label.error}
    line |= {"label": label.label, "name": label.name, "score": round(label.score, 6)}
    line |= {"scores": label.scores, "latency_ms": round(label.latency_ms, 1)}
    if top_k and label.scores is not None:
        line["top"] = listed(label.scores, classes, top_k)
    return line | fields_of(label.notes)


def spelt(label: Label, when: str) -> str:
    """A label as a line for people."""
    who = "" if label.who is None else f" {label.who}"
    what = NO_ACTION if label.name is None else f"{label.name} {label.score:.2f}"
    return f"{when}  {printable(label.stream)}{who}  {what}  ({label.latency_ms:.0f} ms)"


def clock(t: float) -> str:
    """Seconds as a clock shows them: the time of day where they are since 1970, else since the
    beginning, as of a film: minutes, or hours."""
    if t >= _A_DATE:
        return f"{datetime.fromtimestamp(t):%H:%M:%S}"
    minutes, seconds = divmod(round(max(t, 0.0) * 10), 600)
    hours, minutes = divmod(minutes, 60)
    before = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{before}:{seconds / 10:04.1f}"
