"""Progress of a run over a data set: the bar or line on stderr, and events for ``--log-json``."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict

from engine.base.events import event
from engine.base.progress import LINE_EVERY_S, SampleProgress
from engine.base.records import Failure, Record
from engine.outputs.output import DatasetOutput
from engine.outputs.run_info import DatasetRun
from engine.outputs.summary import busy_shares, spell_shares

log = logging.getLogger("engine")


class ProgressLine(DatasetOutput):
    """How far the run is, who waits for whom, and how busy each stage is."""

    def __init__(self) -> None:
        self._progress: SampleProgress | None = None

    def begin(self, run: DatasetRun) -> None:
        self._run, self._said = run, run.totals.begun
        self._progress = SampleProgress("samples", len(run.dataset.samples), run.totals.done)
        self._progress.__enter__()

    def record(self, record: Record) -> None:
        assert self._progress is not None
        if isinstance(record, Failure):
            log.debug(
                "%s failed (%s): %s",
                record.id,
                record.stage,
                record.message,
                extra=event("failed", **asdict(record)),
            )
        totals = self._run.totals
        shares = spell_shares(busy_shares(self._run))
        self._progress.update(totals.done, f"{self._run.state.waits()}; {shares}")
        if (now := time.monotonic()) - self._said >= LINE_EVERY_S:
            self._said = now
            figures = asdict(self._run.state.figures)
            about = {"done": totals.done, "seconds": totals.seconds, **figures}
            log.debug("%d done", totals.done, extra=event("progress", **about))

    def end(self) -> None:
        self.close()

    def close(self) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None
