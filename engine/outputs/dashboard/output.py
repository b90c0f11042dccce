"""The dashboard as an output: what a run does, for those who look at it while it does.

Comes in: a run with its records, frames and totals, and what the engine logs. Goes out: what
`engine.outputs.dashboard.server` serves. Everything but the serving happens in the run's own
thread.
"""

from __future__ import annotations

import logging
import os
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Generic

import orjson

from engine.base.errors import printable
from engine.base.events import PARENT, event, event_fields
from engine.base.host import process_status
from engine.base.records import Prediction, Record
from engine.base.version import __version__
from engine.live.labels import Label
from engine.outputs.dashboard.gallery import Gallery
from engine.outputs.dashboard.scene import Scene
from engine.outputs.dashboard.server import Server
from engine.outputs.dashboard.telemetry import Telemetry
from engine.outputs.output import Output, RecordT, RunT
from engine.outputs.run_info import DatasetRun, LiveRun
from engine.outputs.totals import Latencies
from engine.sources.pose_frames import PoseFrame

log = logging.getLogger("engine")

_DRAW_S = 1 / 16
_STATE_S = 0.5
_OBSERVE_S = 1.0
_SHOWN_ANYWAY = ("progress", "running")  # events


class Dashboard(Output[RunT, RecordT], Generic[RunT, RecordT]):
    """Serves from its making until the end of its ``with`` block. Arguments and errors are
    those of `engine.outputs.dashboard.server.Server`."""

    kind = ""

    def __init__(self, address: str, camera: Sequence[str] = ()) -> None:
        self._server = Server(address, list(camera))
        self.origins = self._server.origins
        self._telemetry = Telemetry(time.monotonic())
        self._run: RunT | None = None
        self._over = False
        self._about: dict[str, Any] = {"version": __version__, "camera": list(camera)}
        self._said = self._observed = float("-inf")
        self._events = -1  # of which has been told
        self._listener, self._level = _Listener(self._telemetry), log.level
        log.addHandler(self._listener)
        log.setLevel(logging.DEBUG)  # the console's handler has a level of its own
        self._say(time.monotonic())

    def __enter__(self) -> Any:
        print(f"dashboard {self._server.url}", flush=True)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        log.removeHandler(self._listener)
        log.setLevel(self._level)
        self._about["over"] = "the run is over" if error is None else printable(error)
        self._over, now = True, time.monotonic()
        if self._run is not None:
            self._say_news(self._run, now)
        self._say(now)
        self._server.close()

    def begin(self, run: RunT) -> None:
        self._run, model, facts = run, run.model, run.facts
        self._about |= {
            "kind": self.kind,
            "smooth": run.options.smooth,
            "where": self._where(run),
            "model": f"{printable(model.path.name)}: {len(model.classes)} classes, {model.layout}",
            "backend": f"{facts.runtime} on {facts.device}, {facts.precision}",
        }
        self._say(time.monotonic())

    def tick(self, now: float) -> None:
        assert self._run is not None
        if now - self._observed >= _OBSERVE_S:
            self._observed = now
            own = {"process": PARENT, "pid": os.getpid(), "ready": True, "killed": None}
            processes = [{**own, **process_status(os.getpid())}, *self._run.state.processes()]
            self._telemetry.observe(self._counters(self._run), processes, now)
        looked_at = self._server.readers > 0
        if now - self._said >= (_STATE_S if looked_at else _OBSERVE_S):
            self._say(now)  # so that whoever comes finds nothing old
        if looked_at:
            self._say_news(self._run, now)

    def _say(self, now: float) -> None:
        self._said, run = now, self._run
        if self._telemetry.events_seen != self._events:
            self._events = self._telemetry.events_seen
            self._publish("events", self._telemetry.events())
        latencies = Latencies() if run is None else run.totals.latencies
        state = {"about": self._about, **self._telemetry.state(latencies, now)}
        if run is not None:
            figures = run.state.figures
            state |= {"batches": figures.batches, "restarts": figures.restarts}
            state |= {"failed": run.totals.failed, **self._state(run, now)}
        self._publish("state", state)

    def _say_news(self, run: RunT, now: float) -> None:
        for name, value in self._news(run, now):
            self._publish(name, value)

    def _publish(self, name: str, value: Any) -> None:
        self._server.publish(name, orjson.dumps(value))

    @abstractmethod
    def _where(self, run: RunT) -> list[str]:
        """What is read, in words."""

    @abstractmethod
    def _counters(self, run: RunT) -> dict[str, int]:
        """Counters whose rates are shown; they only grow."""

    @abstractmethod
    def _news(self, run: RunT, now: float) -> list[tuple[str, Any]]:
        """What changes more often than the state, or less."""

    @abstractmethod
    def _state(self, run: RunT, now: float) -> dict[str, Any]:
        """What is shown of this kind of run alone."""


class LiveDashboard(Dashboard[LiveRun, Label]):
    """Streams, their skeletons and labels."""

    kind = "live"
    _scene: Scene

    def begin(self, run: LiveRun) -> None:
        self._scene = Scene(run.model.classes)
        self._moved, self._drawn = False, float("-inf")
        run.streams.watchers.append(self._add_frame)
        super().begin(run)

    def record(self, record: Label) -> None:
        self._scene.add_label(record, time.monotonic())

    def _add_frame(self, frame: PoseFrame) -> None:
        self._moved = True
        self._scene.add_frame(frame, time.monotonic())

    def _where(self, run: LiveRun) -> list[str]:
        return [printable(source.name) for source in run.sources]

    def _counters(self, run: LiveRun) -> dict[str, int]:
        streams = run.streams
        return {
            "frames": streams.totals().frames,
            "labels": run.totals.done,
            "left out": streams.figures.dropped,
        }

    def _news(self, run: LiveRun, now: float) -> list[tuple[str, Any]]:
        if not self._moved or now - self._drawn < _DRAW_S:
            return []
        self._moved, self._drawn = False, now
        return [("skeletons", self._scene.skeletons(now))]

    def _state(self, run: LiveRun, now: float) -> dict[str, Any]:
        streams, sources = run.streams, run.source_figures
        alive = {} if self._over else streams.heard
        shown = self._scene.state(alive, streams.dropped, now)
        for change in self._scene.changes():
            log.debug("%s", change, extra=event("stream"))
        return {
            "waiting": sum(streams.waiting.values()),
            "behind": None if self._over else run.state.behind,
            "streams": shown,
            "sources": {printable(name): about.to_json() for name, about in sources.items()},
        }


class DatasetDashboard(Dashboard[DatasetRun, Record]):
    """How far the run is, and samples in motion."""

    kind = "dataset"
    _gallery: Gallery

    def begin(self, run: DatasetRun) -> None:
        self._gallery = Gallery(run.dataset.samples, run.model.classes, run.model.recipe)
        self._told = 0  # of the gallery's changes
        for record in run.totals.predictions:  # those resumed
            self._gallery.add(record, time.monotonic())
        super().begin(run)

    def record(self, record: Record) -> None:
        if isinstance(record, Prediction):
            assert self._run is not None
            counted = self._run.totals.predictions[-1]  # which has the label where that compares
            self._gallery.add(counted, time.monotonic())

    def _where(self, run: DatasetRun) -> list[str]:
        data = run.dataset
        return [f"{printable(data.name)}, split {data.split}: {len(data.samples)} samples"]

    def _counters(self, run: DatasetRun) -> dict[str, int]:
        return {"samples": run.totals.done}

    def _news(self, run: DatasetRun, now: float) -> list[tuple[str, Any]]:
        if self._told == self._gallery.changes:
            return []
        self._told = self._gallery.changes
        return [("samples", self._gallery.shown())]

    def _state(self, run: DatasetRun, now: float) -> dict[str, Any]:
        totals, of = run.totals, len(run.dataset.samples)
        rate = self._telemetry.rates().get("samples", 0.0)
        return {
            "done": totals.done,
            "of": of,
            "top1": totals.right / totals.labelled if totals.labelled else None,
            "left_s": (of - totals.done) / rate if rate > 0 else None,
        }


class _Listener(logging.Handler):
    """Takes down what the engine logs."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(logging.DEBUG)
        self._telemetry = telemetry

    def emit(self, record: logging.LogRecord) -> None:
        about = event_fields(record)
        kind = about["event"]
        if kind in _SHOWN_ANYWAY or (kind == "log" and record.levelno < logging.INFO):
            return
        self._telemetry.add_event(
            {
                "time": about["time"],
                "level": about["level"],
                "event": kind,
                "process": printable(about["process"]),
                "text": printable(record.getMessage()),
            }
        )
