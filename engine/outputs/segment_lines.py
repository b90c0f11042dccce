"""Segments as lines, for ``--segments``: who did what from when to when.

Comes in: labels. Goes out: a line for each segment, when it has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from engine.live.labels import Label
from engine.live.segments import Segment, Segments
from engine.outputs.line_file import LineFile
from engine.outputs.output import LiveOutput
from engine.outputs.run_info import LiveRun


class SegmentLines(LiveOutput):
    """Writes each segment that has ended: by another label, by a gap, or because nobody will say
    any more of whom it is about."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, LineFile(path, "segments")
        self._segments = Segments()

    def begin(self, run: LiveRun) -> None:
        self._state = run.state
        self._file.begin()

    def record(self, record: Label) -> None:
        self._write(self._segments.add(record))

    def tick(self, now: float) -> None:
        self._write(self._segments.settle(self._state.settled))

    def end(self) -> None:
        self._write(self._segments.end())
        self._file.end()

    def close(self) -> None:
        self._file.close()

    def _write(self, segments: Iterable[Segment]) -> None:
        for segment in segments:
            self._file.append({**asdict(segment), "score": round(segment.score, 6)})
