"""The screen: a run's dashboard, told of everything by the run itself.

Comes in: a `Stream` with its frames and labels, or a `Pipeline` with its records; and what the
engine logs. Goes out: what `engine.outputs.dashboard.server` serves. Everything but the serving
happens in the run's own thread.
"""

from __future__ import annotations

import logging
import os
import time
from types import TracebackType
from typing import Any

import orjson

from engine.base.errors import printable
from engine.base.events import event, event_fields
from engine.base.host import process_status
from engine.base.records import Prediction, Record
from engine.base.version import __version__
from engine.live.labels import Label
from engine.livestream import Stream
from engine.outputs.dashboard.board import Board
from engine.outputs.dashboard.gallery import Gallery
from engine.outputs.dashboard.scene import Scene
from engine.outputs.dashboard.server import Server
from engine.pipeline import Pipeline
from engine.sources.pose_frames import PoseFrame

log = logging.getLogger("engine")

_DRAW_S = 1 / 16
_STATE_S = 0.5
_OBSERVE_S = 1.0
_SHOWN_ANYWAY = ("progress", "running")  # events


class Screen:
    """Serves from its making until the end of its ``with`` block. `camera`: WebSocket sources, to
    which the page may send a browser's camera. Raises `UsageError` for an address that is none or
    is taken."""

    def __init__(self, address: str, camera: list[str]) -> None:
        self._server = Server(address, camera)
        self._board = Board(time.monotonic())
        self._run: _Live | _Recorded | None = None
        self._about: dict[str, Any] = {"version": __version__, "camera": camera}
        self._said = self._observed = float("-inf")
        self._events = -1  # of which has been told
        self._listener, self._level = _Listener(self._board), log.level
        log.addHandler(self._listener)
        log.setLevel(logging.DEBUG)  # the console's handler has a level of its own
        self._say(time.monotonic())

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        log.removeHandler(self._listener)
        log.setLevel(self._level)
        self._about["over"] = "the run is over" if error is None else printable(error)
        now = time.monotonic()
        if self._run is not None:
            self._run.over = True
            self._tell_news(self._run, now)
        self._say(now)
        self._server.close()

    @property
    def url(self) -> str:
        """Where the page is."""
        return self._server.url

    @property
    def origins(self) -> list[str]:
        """What a browser calls the page's site."""
        return self._server.origins

    def follow(self, stream: Stream) -> _Live:
        """Show a live run; tell what is returned of its labels."""
        live = _Live(stream, self._board)
        self._introduce(live, stream, [printable(source.name) for source in stream.sources])
        return live

    def show(self, pipeline: Pipeline) -> _Recorded:
        """Show a run over a data set; tell what is returned of its records."""
        recorded, data = _Recorded(pipeline, self._board), pipeline.dataset
        where = f"{printable(data.name)}, split {data.split}: {len(data.samples)} samples"
        self._introduce(recorded, pipeline, [where])
        return recorded

    def _introduce(
        self, run: _Live | _Recorded, source: Stream | Pipeline, where: list[str]
    ) -> None:
        model, facts = source.setup.model, source.facts
        self._run = run
        self._about |= {
            "kind": run.kind,
            "smooth": source.options.smooth,
            "where": where,
            "model": f"{printable(model.path.name)}: {len(model.classes)} classes, {model.layout}",
            "backend": f"{facts.runtime} on {facts.device}, {facts.precision}",
        }
        self._say(time.monotonic())
        source.watchers.append(self._look)

    def _look(self, now: float) -> None:
        """At everything; tell those who look at the page. Called often."""
        assert self._run is not None
        if now - self._observed >= _OBSERVE_S:
            self._observed = now
            own = {"process": "supervisor", "pid": os.getpid(), "ready": True, "killed": None}
            processes = [{**own, **process_status(os.getpid())}, *self._run.processes()]
            self._board.observe(self._run.totals(), processes, now)
        looked_at = self._server.readers > 0
        if now - self._said >= (_STATE_S if looked_at else _OBSERVE_S):
            self._say(now)  # so that whoever comes finds nothing old
        if looked_at:
            self._tell_news(self._run, now)

    def _tell_news(self, run: _Live | _Recorded, now: float) -> None:
        for name, value in run.news(now):
            self._publish(name, value)

    def _say(self, now: float) -> None:
        self._said = now
        if self._board.events_seen != self._events:
            self._events = self._board.events_seen
            self._publish("events", self._board.events())
        state = {"about": self._about, **self._board.state(now)}
        self._publish("state", state if self._run is None else {**state, **self._run.state(now)})

    def _publish(self, name: str, value: Any) -> None:
        self._server.publish(name, orjson.dumps(value))


class _Live:
    """Streams, their frames and labels."""

    kind = "live"

    def __init__(self, stream: Stream, board: Board) -> None:
        self._stream, self._board = stream, board
        self._scene = Scene(stream.setup.model.classes)
        self._labels = self._failed = 0
        self._moved, self._drawn = False, float("-inf")
        self.over = False
        stream.streams.watchers.append(self._add_frame)

    def add(self, label: Label) -> None:
        """A window has been scored."""
        now = time.monotonic()
        self._labels += 1
        self._failed += label.error is not None
        self._board.add_latency({**label.ms, "end to end": label.latency_ms}, now)
        self._scene.add_label(label, now)

    def _add_frame(self, frame: PoseFrame) -> None:
        self._moved = True
        self._scene.add_frame(frame, time.monotonic())

    def processes(self) -> list[dict[str, Any]]:
        return self._stream.processes()

    def totals(self) -> dict[str, int]:
        streams = self._stream.streams
        return {
            "frames": streams.totals().frames,
            "labels": self._labels,
            "left out": streams.figures.dropped,
        }

    def news(self, now: float) -> list[tuple[str, Any]]:
        """What changes more often than the state."""
        if not self._moved or now - self._drawn < _DRAW_S:
            return []
        self._moved, self._drawn = False, now
        return [("skeletons", self._scene.skeletons(now))]

    def state(self, now: float) -> dict[str, Any]:
        streams, figures = self._stream.streams, self._stream.figures
        supply = self._stream.supply.figures
        alive = {} if self.over else streams.heard
        shown = self._scene.state(alive, streams.dropped, now)
        for change in self._scene.changes():
            log.debug("%s", change, extra=event("stream"))
        return {
            "batches": figures.batches,
            "restarts": figures.restarts,
            "failed": self._failed,
            "waiting": sum(streams.waiting.values()),
            "streams": shown,
            "sources": {printable(name): vars(about) for name, about in supply.items()},
        }


class _Recorded:
    """Samples of a data set and their records."""

    kind = "dataset"

    def __init__(self, pipeline: Pipeline, board: Board) -> None:
        self._pipeline, self._board = pipeline, board
        self._gallery = Gallery(pipeline.dataset.samples, pipeline.model.classes)
        self._changes = 0  # of which has been told
        self.over = False
        for record in pipeline.resumed:
            self._gallery.add(record, time.monotonic())

    def add(self, record: Record) -> None:
        """A sample has been scored."""
        now = time.monotonic()
        if isinstance(record, Prediction):
            self._board.add_latency(record.ms, now)
        self._gallery.add(record, now)

    def processes(self) -> list[dict[str, Any]]:
        return self._pipeline.processes()

    def totals(self) -> dict[str, int]:
        return {"samples": self._gallery.scored + self._gallery.failed}

    def news(self, now: float) -> list[tuple[str, Any]]:
        """What changes less often than the state."""
        if self._changes == self._gallery.changes:
            return []
        self._changes = self._gallery.changes
        return [("samples", self._gallery.shown())]

    def state(self, now: float) -> dict[str, Any]:
        figures, rate = self._pipeline.figures, self._board.rates().get("samples", 0.0)
        batches = {"batches": figures.batches, "restarts": figures.restarts}
        return {**batches, **self._gallery.state(rate)}


class _Listener(logging.Handler):
    """Takes what the engine logs to the board."""

    def __init__(self, board: Board) -> None:
        super().__init__(logging.DEBUG)
        self._board = board

    def emit(self, record: logging.LogRecord) -> None:
        about = event_fields(record)
        kind = about["event"]
        if kind in _SHOWN_ANYWAY or (kind == "log" and record.levelno < logging.INFO):
            return
        self._board.add_event(
            {
                "time": about["time"],
                "level": about["level"],
                "event": kind,
                "process": printable(about["process"]),
                "text": printable(record.getMessage()),
            }
        )
