"""Progress of long work: a live bar on a terminal, plain lines elsewhere.

Writes to stderr, so that stdout stays free for results.
"""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # on use: plain lines need nothing of it
    from rich.progress import Progress, ProgressColumn, TaskID

LINE_EVERY_S = 5.0  # between plain lines
_MEANS_A_TERMINAL = ("FORCE_COLOR", "TTY_COMPATIBLE")  # variables that make rich take one for it


class _Progress(ABC):
    """A count that grows; what it counts is the subclasses' business."""

    def __init__(self, title: str, total: int | None, done: int = 0) -> None:
        self._title, self._total, self._done = title, total, done
        self._first = done
        self._start = self._last_line = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID

    def __enter__(self) -> _Progress:
        if any(map(os.environ.get, _MEANS_A_TERMINAL)) or (sys.stderr and sys.stderr.isatty()):
            self._show_bar()
        return self

    def _show_bar(self) -> None:
        """Show a bar where rich finds a terminal."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True)
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=12),
                *self._columns(),
                console=console,
                expand=True,
            )
            self._task = self._bar.add_task(self._title, total=self._total, note="", rate="")
            self._bar.start()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, note: str = "") -> None:
        """Say that `done` of the total are done; `note` is shown behind."""
        self._done = done
        if self._bar is not None:
            rate = f"{self._rate(time.monotonic()):.2f}/s"
            self._bar.update(self._task, completed=done, note=note, rate=rate)
            return
        now = time.monotonic()
        if now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            print(f"{self._title}: {self._line(now)}{note and '  ' + note}", file=sys.stderr)

    def _rate(self, now: float) -> float:
        return (self._done - self._first) / max(now - self._start, 1e-9)

    def _eta(self, now: float) -> str:
        rate = self._rate(now)
        if self._total is None or rate <= 0:
            return "?"
        return str(timedelta(seconds=round((self._total - self._done) / rate)))

    @abstractmethod
    def _columns(self) -> tuple[ProgressColumn, ...]:
        """What a bar shows of the count."""

    @abstractmethod
    def _line(self, now: float) -> str:
        """What a plain line says of the count, the rate and the time left."""


class SampleProgress(_Progress):
    """Samples of a run, or what else the title says, with rate and time left."""

    def _columns(self) -> tuple[ProgressColumn, ...]:
        from rich.progress import MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.table import Column

        return (
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn(
                "{task.fields[note]}",
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
        )

    def _line(self, now: float) -> str:
        rate = self._rate(now)
        return f"{self._done}/{self._total}  {rate:.2f}/s  {self._eta(now)} left"


class ByteProgress(_Progress):
    """Bytes of a download."""

    def _columns(self) -> tuple[ProgressColumn, ...]:
        from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

        return DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()

    def _line(self, now: float) -> str:
        of = f" of {self._total / 1e6:.1f}" if self._total is not None else ""
        rate = self._rate(now)
        return f"{self._done / 1e6:.1f}{of} MB  {rate / 1e6:.2f} MB/s  {self._eta(now)} left"
