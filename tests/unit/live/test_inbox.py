"""Frames that wait: bounds, whose frames are lost, and streams that send more than they say."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from engine.live.inbox import Inbox, RateLimiter
from engine.sources.pose_frames import PoseFrame


def item(stream: str, number: int) -> tuple[PoseFrame, float]:
    return PoseFrame(stream, number, 0.0, (1, 1), ()), 0.0


def taken(inbox: Inbox) -> list[tuple[str, int]]:
    found = []
    while (item := inbox.take()) is not None:
        found.append((item[0].stream, item[0].frame))
    return found


def test_a_flood_loses_its_own() -> None:
    inbox = Inbox(live=True, total=100, each=3)
    assert all(inbox.put(item("calm", n), 0) for n in range(3))
    assert [inbox.put(item("flood", n), 0) for n in range(5)] == [True] * 3 + [False] * 2
    assert taken(inbox) == [
        ("calm", 0),
        ("flood", 2),
        ("calm", 1),
        ("flood", 3),
        ("calm", 2),
        ("flood", 4),
    ]


def test_too_many_streams() -> None:
    inbox = Inbox(live=True, streams=2)
    assert [inbox.put(item(name, 0), 0) for name in "abc"] == [True, True, False]
    assert inbox.take() is not None
    assert inbox.put(item("c", 1), 0)


def test_a_recording_waits_and_keeps_its_order() -> None:
    inbox = Inbox(live=False, total=3)
    assert all(inbox.put(item(name, n), 0) for n, name in enumerate("aba"))
    assert not inbox.put(item("b", 3), 0.01)
    thread = threading.Thread(target=inbox.put, args=(item("b", 3), 10))
    thread.start()
    first = inbox.take()
    thread.join(10)
    assert first is not None
    assert taken(inbox) == [("b", 1), ("a", 2), ("b", 3)]


@given(st.lists(st.one_of(st.sampled_from("abcd"), st.none()), max_size=200))
def test_any_order(steps: list[str | None]) -> None:
    """What is put is taken in its stream's order, or was said to be lost."""
    inbox, put, got, lost = Inbox(live=True, total=6, each=4, streams=3), 0, [], 0
    for number, name in enumerate(steps):
        if name is not None:
            put += 1
            lost += not inbox.put(item(name, number), 0)
        elif (found := inbox.take()) is not None:
            got.append((found[0].stream, found[0].frame))
        assert len(inbox) <= 6
    got += taken(inbox)
    assert len(got) + lost == put
    for name in "abcd":
        numbers = [number for stream, number in got if stream == name]
        assert numbers == sorted(numbers)


def test_four_times_its_rate() -> None:
    limiter = RateLimiter(usual=30)
    at_once = [limiter.admits("flood", 10, 0.0) for _ in range(100)]
    assert at_once == [True] * 40 + [False] * 60
    assert limiter.admits("calm", 10, 0.0)
    assert [limiter.admits("flood", 10, 0.05) for _ in range(3)] == [True, True, False]
    assert sum(limiter.admits("silent", None, 0.0) for _ in range(1000)) == 120
    assert sum(limiter.admits("boaster", 1e9, 0.0) for _ in range(2000)) == 1000


@given(st.lists(st.floats(0.02, 1), max_size=50))
def test_who_keeps_to_the_rate_is_admitted(pauses: list[float]) -> None:
    limiter, now = RateLimiter(usual=30), 0.0
    for pause in pauses:
        now += pause
        assert limiter.admits("s", 50, now)
