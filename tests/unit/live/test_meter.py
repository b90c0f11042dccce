"""Streams that send more than they say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.live.meter import Meter


def test_four_times_its_rate() -> None:
    meter = Meter(usual=30)
    at_once = [meter.admits("flood", 10, 0.0) for _ in range(100)]
    assert at_once == [True] * 40 + [False] * 60
    assert meter.admits("calm", 10, 0.0)
    assert [meter.admits("flood", 10, 0.05) for _ in range(3)] == [True, True, False]
    assert sum(meter.admits("silent", None, 0.0) for _ in range(1000)) == 120
    assert sum(meter.admits("boaster", 1e9, 0.0) for _ in range(2000)) == 1000


@given(st.lists(st.floats(0.02, 1), max_size=50))
def test_who_keeps_to_the_rate_is_admitted(pauses: list[float]) -> None:
    meter, now = Meter(usual=30), 0.0
    for pause in pauses:
        now += pause
        assert meter.admits("s", 50, now)
