"""Times of labels as a clock shows them."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.outputs.label_lines import clock


@pytest.mark.parametrize(
    ("t", "said"),
    [
        (0.0, "0:00.0"),
        (1.5666, "0:01.6"),
        (59.96, "1:00.0"),
        (61.25, "1:01.2"),
        (3599.99, "1:00:00.0"),
        (3725.04, "1:02:05.0"),
        (-3.0, "0:00.0"),
    ],
)
def test_of_a_recording(t: float, said: str) -> None:
    assert clock(t) == said


def test_the_time_of_day() -> None:
    then = datetime(2026, 11, 30, 21, 5, 9)
    assert clock(then.timestamp()) == "21:05:09"


@given(st.floats(0, 1e6))
def test_it_says_the_same_time(t: float) -> None:
    said = clock(t)
    assert re.fullmatch(r"(\d+:[0-5]\d|[0-5]?\d):[0-5]\d\.\d", said)
    seconds = 0.0
    for part in said.split(":"):
        seconds = 60 * seconds + float(part)
    assert abs(seconds - t) <= 0.0501
