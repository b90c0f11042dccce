"""Telemetry: the figures of a run as a page shows them, of the last moments only.

Comes in: events as they are logged, counters and processes once a second. Goes out: JSON types.
Pure, and the clock is an argument.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.base.records import STAGES
from engine.outputs.totals import END_TO_END, Latencies

_SPAN_S, _AT_LEAST = 30.0, 20  # whose latencies are shown, of at least so many records
_POINTS = 121  # of the series, one a second
_EVENTS = 200


class Telemetry:
    """`begun`: when the run began, on the clock of every `now`."""

    def __init__(self, begun: float) -> None:
        self._begun = begun
        self._totals: deque[tuple[float, dict[str, int]]] = deque(maxlen=_POINTS)
        self._cpu: dict[int, tuple[float, float]] = {}  # when it was looked at, and its seconds
        self._processes: list[dict[str, Any]] = []
        self._events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        self.events_seen = 0

    def add_event(self, event: dict[str, Any]) -> None:
        """Something happened. May be called from any thread."""
        self._events.append(event)
        self.events_seen += 1

    def observe(
        self, counters: dict[str, int], processes: Sequence[dict[str, Any]], now: float
    ) -> None:
        """Once a second: counters that only grow, and what the system says of processes (`pid`,
        `cpu` seconds so far)."""
        self._totals.append((now, counters))
        before, self._cpu = self._cpu, {}
        self._processes = []
        for process in processes:
            pid, seconds = process["pid"], process["cpu"]
            then, had = before.get(pid, (now, seconds))
            share = (seconds - had) / (now - then) if now > then else 0.0
            self._cpu[pid] = now, seconds
            self._processes.append({**process, "cpu": max(0.0, share)})

    def rates(self) -> dict[str, float]:
        """Of each counter, a second, over the last seconds."""
        points = list(self._totals)[-4:]
        if len(points) < 2:
            return {}
        (then, first), (now, last) = points[0], points[-1]
        seconds = max(now - then, 1e-3)
        return {name: (last[name] - first[name]) / seconds for name in last}

    def events(self) -> list[dict[str, Any]]:
        """The latest, oldest first."""
        return list(self._events)

    def state(self, latencies: Latencies, now: float) -> dict[str, Any]:
        """Everything but the events."""
        return {
            "seconds": round(now - self._begun, 1),
            "rates": {name: round(rate, 2) for name, rate in self.rates().items()},
            "totals": self._totals[-1][1] if self._totals else {},
            "series": self._series(now),
            "latency": _quantiles(latencies, now),
            "processes": self._processes,
        }

    def _series(self, now: float) -> dict[str, list[float]]:
        """Rates of each counter between two looks; `ago`: seconds, of the later one."""
        points = list(self._totals)
        pairs = list(itertools.pairwise(points))
        found = {"ago": [round(now - then, 1) for _, (then, _) in pairs]}
        for name in points[-1][1] if points else ():
            found[name] = [
                round((after[name] - before[name]) / max(then - earlier, 1e-3), 2)
                for (earlier, before), (then, after) in pairs
            ]
        return found


def _quantiles(latencies: Latencies, now: float) -> dict[str, list[float]]:
    """Medians and 95th percentiles of what came lately, by stage."""
    recent, found = latencies.since(now - _SPAN_S, _AT_LEAST), {}
    for stage in (*STAGES, END_TO_END):
        if values := [ms[stage] for ms in recent if stage in ms]:
            found[stage] = [round(float(q), 2) for q in np.percentile(values, (50, 95))]
    return found
