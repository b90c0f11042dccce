"""Prometheus: the figures of live streams, on ``--metrics HOST:PORT``.

Comes in: labels, and what a run has counted. Goes out: ``/metrics``, by prometheus_client's own
server in a thread, of one registry. Pages of other sites are kept out by the Host of a request.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable
from typing import Any

import prometheus_client as prometheus

from engine.base.addresses import host_and_port, is_here, is_loopback
from engine.base.errors import UsageError
from engine.base.listener import Listener
from engine.base.records import STAGES
from engine.live.labels import Label
from engine.outputs.output import LiveOutput
from engine.outputs.run_info import LiveRun

_EVERY_S = 0.5
_LATENCIES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)  # seconds


class PrometheusExporter(LiveOutput):
    """Serves from its making until it is closed. Raises `UsageError` for an address that others
    reach, or that is taken."""

    def __init__(self, address: str) -> None:
        refusal = (
            f"--metrics {address}: HOST:PORT of loopback is needed, as 127.0.0.1:9400; a proxy "
            "may forward it to others"
        )
        host, port = host_and_port(address, refusal)
        if not is_loopback(host):
            raise UsageError(refusal)
        self._updated = 0.0
        registry = prometheus.CollectorRegistry()
        about: dict[str, Any] = {"registry": registry, "namespace": "posec3d"}
        self._labels = prometheus.Counter("labels", "Windows with a label", ["name"], **about)
        self._latency = prometheus.Histogram(
            "latency_seconds",
            "From a window's last frame to its label",
            buckets=_LATENCIES,
            **about,
        )
        self._age = prometheus.Histogram(
            "age_seconds",
            "From the frame's own time, where that is a clock's, to its label",
            buckets=_LATENCIES,
            **about,
        )
        self._stages = prometheus.Histogram(
            "stage_seconds",
            "Work and waiting of a window, by stage",
            ["stage"],
            buckets=(0.001, 0.003, 0.01, 0.03, *_LATENCIES),
            **about,
        )
        gauges = {
            "streams": "Streams at the moment",
            "windows_waiting": "Windows that wait",
            "leases": "Windows on their way",
            "processes": "Processes that are ready",
            "behind": "1 while the device cannot keep up: --precision fastest, a longer --stride "
            "or fewer streams would help",
        }
        self._gauges = {
            name: prometheus.Gauge(name, text, **about) for name, text in gauges.items()
        }
        # Counted elsewhere, and only ever more: set, not added to.
        counters = {
            "frames": "Frames taken",
            "frames_late": "Frames that came late or twice",
            "frames_refused": "Frames of streams beyond the limit",
            "windows": "Windows made",
            "windows_dropped": "Windows left out",
            "windows_failed": "Windows without scores",
            "restarts": "Processes replaced",
        }
        self._counters = {
            name: prometheus.Counter(name, text, **about) for name, text in counters.items()
        }
        self._batches = prometheus.Counter(
            "batches", "Batches run, by the windows in them", ["windows"], **about
        )
        self._sources = prometheus.Counter(
            "messages", "Messages of a source", ["source", "fate"], **about
        )
        self._seen: dict[tuple[str, ...], float] = {}
        try:
            self._server, self._thread = prometheus.start_http_server(port, host, registry)
        except OSError as error:
            raise UsageError(f"--metrics {address}: {error.strerror}") from None
        figures: Any = self._server.get_app()
        self._server.set_app(lambda *request: _answer(figures, host, *request))
        self._server.socket.settimeout(0)  # its loop waits by itself
        self._server.socket = Listener(f"--metrics {address}", self._server.socket, 1)

    def begin(self, run: LiveRun) -> None:
        self._run = run
        self._update()

    def record(self, record: Label) -> None:
        self._latency.observe(record.latency_ms / 1e3)
        age = time.time() - record.t
        if 0 <= age < 3600:
            self._age.observe(age)
        for stage in STAGES:
            if stage in record.ms:
                self._stages.labels(stage).observe(record.ms[stage] / 1e3)

    def tick(self, now: float) -> None:
        if now - self._updated >= _EVERY_S:
            self._updated = now
            self._update()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _update(self) -> None:
        """Show what is counted elsewhere."""
        run = self._run
        windows, streams, waiting = run.streams.totals(), run.streams.figures, run.streams.waiting
        self._gauges["streams"].set(len(waiting))
        self._gauges["windows_waiting"].set(sum(waiting.values()))
        self._gauges["leases"].set(run.state.leases)
        self._gauges["processes"].set(run.state.ready)
        self._gauges["behind"].set(run.state.behind is not None)
        counted = {
            "frames": windows.frames,
            "frames_late": windows.late,
            "frames_refused": streams.refused,
            "windows": windows.windows,
            "windows_dropped": streams.dropped,
            "windows_failed": run.totals.failed,
            "restarts": run.state.figures.restarts,
        }
        for name, value in counted.items():
            self._raise(self._counters[name], (name,), value)
        for name, count in run.totals.names.items():
            self._raise(self._labels.labels(name), ("labels", name), count)
        for size, count in run.state.figures.batches.items():
            self._raise(self._batches.labels(size), ("batches", size), count)
        for source, figures in run.source_figures.items():
            for fate in ("taken", "refused", "lost"):
                child = self._sources.labels(source, fate)
                self._raise(child, (source, fate), getattr(figures, fate))

    def _raise(self, counter: Any, key: tuple[str, ...], value: float) -> None:
        counter.inc(value - self._seen.get(key, 0))
        self._seen[key] = value


def _answer(figures: Any, own: str, about: dict[str, Any], start: Any) -> Iterable[bytes]:
    """The answer to a request, as WSGI has both."""
    if is_here(about.get("HTTP_HOST", ""), own, elsewhere=True):
        answer: Iterable[bytes] = figures(about, start)
        return answer
    start("403 Forbidden", [("Content-Type", "text/plain")])
    return [
        b"this Host is not ours; localhost, addresses in numbers and %s are\n"
        % platform.node().encode()
    ]
