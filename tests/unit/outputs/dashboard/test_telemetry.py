"""Figures of the last moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.outputs.dashboard.telemetry import Telemetry
from engine.outputs.totals import Latencies


def process(pid: int, cpu: float) -> dict[str, Any]:
    return {"process": f"p{pid}", "pid": pid, "cpu": cpu}


def test_rates_are_of_the_last_seconds() -> None:
    telemetry = Telemetry(0.0)
    assert telemetry.rates() == {}
    for second in range(10):
        telemetry.observe(
            {"frames": 30 * second if second < 5 else 120, "labels": second}, [], second
        )
    assert telemetry.rates() == {"frames": 0.0, "labels": 1.0}
    state = telemetry.state(Latencies(), 10.0)
    assert state["series"]["frames"] == [30.0] * 4 + [0.0] * 5
    assert state["series"]["ago"] == [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    assert state["totals"] == {"frames": 120, "labels": 9}
    assert state["seconds"] == 10.0


def test_cores_of_processes() -> None:
    telemetry = Telemetry(0.0)
    telemetry.observe({}, [process(1, 10.0), process(2, 5.0)], 0.0)
    telemetry.observe({}, [process(1, 11.5), process(3, 7.0)], 2.0)
    shown = {one["pid"]: one["cpu"] for one in telemetry.state(Latencies(), 2.0)["processes"]}
    assert shown == {1: 0.75, 3: 0.0}, "a new one has had nothing yet"


def test_latency_is_of_the_last_half_minute() -> None:
    telemetry, latencies = Telemetry(0.0), Latencies()
    for second in range(100):
        latencies.add({"infer": 1000.0 if second < 60 else 10.0 + second % 2}, second)
    assert telemetry.state(latencies, 100.0)["latency"] == {"infer": [10.5, 11.0]}
    latencies.add({"decode": 3.0}, 500.0)
    assert telemetry.state(latencies, 500.0)["latency"]["infer"] == pytest.approx([11.0, 11.0])


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.dictionaries(st.sampled_from("abc"), st.floats(0, 1e6)))
    ),
    st.integers(0, 400),
)
def test_bounded_whatever_comes(told: list[tuple[float, dict[str, float]]], events: int) -> None:
    telemetry, latencies, now = Telemetry(0.0), Latencies(), 0.0
    for number in range(events):
        telemetry.add_event({"text": str(number)})
    for wait, ms in told * 20:
        now += wait
        latencies.add(ms, now)
        telemetry.observe({"frames": int(now)}, [process(1, now)], now)
    assert [e["text"] for e in telemetry.events()] == [str(n) for n in range(events)][-200:]
    assert telemetry.events_seen == events
    state = telemetry.state(latencies, now)
    assert len(state["series"]["ago"]) <= 120
    assert np.isfinite(state["series"].get("frames", [])).all()
    assert len(orjson.dumps(state)) < 20_000
