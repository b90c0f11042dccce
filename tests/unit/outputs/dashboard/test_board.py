"""Figures of the last moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.outputs.dashboard.board import Board


def process(pid: int, cpu: float) -> dict[str, Any]:
    return {"process": f"p{pid}", "pid": pid, "cpu": cpu}


def test_rates_are_of_the_last_seconds() -> None:
    board = Board(0.0)
    assert board.rates() == {}
    for second in range(10):
        board.observe({"frames": 30 * second if second < 5 else 120, "labels": second}, [], second)
    assert board.rates() == {"frames": 0.0, "labels": 1.0}
    state = board.state(10.0)
    assert state["series"]["frames"] == [30.0] * 4 + [0.0] * 5
    assert state["series"]["ago"] == [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    assert state["totals"] == {"frames": 120, "labels": 9}
    assert state["seconds"] == 10.0


def test_cores_of_processes() -> None:
    board = Board(0.0)
    board.observe({}, [process(1, 10.0), process(2, 5.0)], 0.0)
    board.observe({}, [process(1, 11.5), process(3, 7.0)], 2.0)
    shown = {one["pid"]: one["cpu"] for one in board.state(2.0)["processes"]}
    assert shown == {1: 0.75, 3: 0.0}, "a new one has had nothing yet"


def test_latency_is_of_the_last_half_minute() -> None:
    board = Board(0.0)
    for second in range(100):
        board.add_latency({"infer": 1000.0 if second < 60 else 10.0 + second % 2}, second)
    assert board.state(100.0)["latency"] == {"infer": [10.5, 11.0]}
    board.add_latency({"decode": 3.0}, 500.0)
    assert board.state(500.0)["latency"]["infer"] == pytest.approx([11.0, 11.0])


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.dictionaries(st.sampled_from("abc"), st.floats(0, 1e6)))
    ),
    st.integers(0, 400),
)
def test_bounded_whatever_comes(told: list[tuple[float, dict[str, float]]], events: int) -> None:
    board, now = Board(0.0), 0.0
    for number in range(events):
        board.add_event({"text": str(number)})
    for wait, ms in told * 20:
        now += wait
        board.add_latency(ms, now)
        board.observe({"frames": int(now)}, [process(1, now)], now)
    assert [e["text"] for e in board.events()] == [str(n) for n in range(events)][-200:]
    assert board.events_seen == events
    state = board.state(now)
    assert len(state["series"]["ago"]) <= 120
    assert np.isfinite(state["series"].get("frames", [])).all()
    assert len(orjson.dumps(state)) < 20_000
