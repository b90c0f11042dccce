"""Segments: the times that have a label, each once, and who did what meanwhile."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.live.labels import Key, Label
from engine.live.segments import Segment, Segments

CLASSES = "abc"


def of(
    t: float,
    label: int | None,
    *,
    start: float | None = None,
    score: float = 0.5,
    stream: str = "s",
    who: int = 1,
    error: str | None = None,
) -> Label:
    scores = np.full(3, score, np.float32)
    name = None if label is None else CLASSES[label]
    start = t - 1.5 if start is None else start
    about = stream, who, t, 0, 1, label, name, score, None if error else scores, 0.0
    return Label(*about, start=start, error=error)


def segments(*labels: Label) -> list[Segment]:
    book = Segments()
    return [segment for label in labels for segment in book.add(label)] + book.end()


def test_a_segment_lasts_while_the_label_stays() -> None:
    found = segments(
        of(1.5, 0, score=0.6), of(2, 0, score=0.8), of(2.5, 1), of(3, None), of(3.5, 1), of(4, 1)
    )
    assert [(s.name, s.start, s.end) for s in found] == [
        ("a", 0, 2),
        ("b", 2, 2.5),
        ("b", 3, 4),
    ]
    assert (found[0].stream, found[0].who, found[0].label) == ("s", 1, 0)
    assert found[0].score == pytest.approx(0.7)


def test_a_line_comes_when_the_segment_has_ended() -> None:
    book = Segments()
    assert book.add(of(1.5, 0)) == []
    [first] = book.add(of(2, 2))
    assert (first.name, first.end) == ("a", 1.5)
    assert book.settle(lambda stream, who, t: (stream, who, t) != ("s", 1, 2)) == []
    [second] = book.settle(lambda stream, who, t: True)
    assert (second.name, second.start, second.end) == ("c", 1.5, 2)
    assert book.end() == []


def test_what_no_window_spans_belongs_to_nobody() -> None:
    found = segments(of(1.5, 0), of(9, 0))
    assert [(s.start, s.end) for s in found] == [(0, 1.5), (7.5, 9)]
    found = segments(of(1.5, 0), of(2, None, error="the network"), of(2.5, 0))
    assert [(s.start, s.end) for s in found] == [(0, 1.5), (2, 2.5)]


def test_a_clock_that_steps_back_begins_anew() -> None:
    found = segments(of(100, 0), of(100.5, 0), of(1.5, 0), of(2, 0))
    assert [(s.start, s.end) for s in found] == [(98.5, 100.5), (0, 2)]


def test_a_clock_that_stands_still() -> None:
    found = segments(*(of(0, 0, start=0) for _ in range(5)), of(0, 1, start=0))
    assert [(s.name, s.start, s.end) for s in found] == [("a", 0, 0), ("b", 0, 0)]


steps = st.tuples(
    st.sampled_from([("s", 1), ("s", 2), ("t", 1)]),
    st.integers(1, 40),  # tenths of a second since the one before
    st.integers(1, 20),  # tenths that the window spans
    st.sampled_from([0, 1, 2, None]),
    st.booleans(),
)


@given(st.lists(steps, max_size=60))
def test_every_labelled_time_once(said: list[tuple[Key, int, int, int | None, bool]]) -> None:
    """In tenths of a second: what a label stands for, counted anew."""
    clock: dict[Key, int] = {}
    expected: dict[tuple[Key, int], int | None] = {}
    labels = []
    for key, step, span, label, failed in said:
        before, t = clock.get(key), clock.get(key, 0) + step
        start = t - span
        for tenth in range(start if before is None else max(start, before), t):
            expected[key, tenth] = None if failed else label
        clock[key] = t
        about = {"start": float(start), "stream": key[0], "who": key[1]}
        error = "failed" if failed else None
        labels.append(of(float(t), None if failed else label, error=error, **about))  # type: ignore[arg-type]
    book, found = Segments(), list[Segment]()
    for label in labels:
        found += book.add(label)
    found += book.end()
    covered: dict[tuple[Key, int], int | None] = {}
    for one in found:
        for tenth in range(round(one.start), round(one.end)):
            assert ((one.stream, one.who), tenth) not in covered, "twice"
            covered[(one.stream, one.who), tenth] = one.label
    assert covered == {at: label for at, label in expected.items() if label is not None}
    for key in clock:
        mine = [s for s in found if (s.stream, s.who) == key]
        for one, other in itertools.pairwise(mine):
            assert one.end <= other.start
            assert one.label != other.label or one.end < other.start, "one would do"
    assert sorted(found, key=str) == sorted(segments(*labels), key=str)
    own = [replace(label) for label in labels if label.stream == "t"]
    assert segments(*own) == [s for s in found if s.stream == "t"], "whatever others do"
