"""Freshness: ages, shares and rates of streams that ask a simulated device for too much."""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.live.freshness import Freshness
from engine.live.streams import StreamLimits, Streams
from engine.live.windows import Grid
from engine.sources.pose_frames import PoseFrame
from tests.unit.live.test_windows import frame

HELP = "fewer streams"
STRIDE = 0.4


@dataclass
class Simulated:
    """What a device answered: for each stream the ages of its windows, and when."""

    ages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    news: list[tuple[float, str]] = field(default_factory=list)


def simulated(
    people: Sequence[tuple[int, float, float]],
    seconds: float,
    *,
    window_s: float,
    most: int = 8,
    max_age: float = 2.0,
    after: float = 5.0,
) -> Simulated:
    """Streams of so many people, from then to then, make a window each every stride; a device takes
    up to `most` at once and answers one in `window_s` seconds. Those of the first `after` seconds
    do not count."""
    rng = random.Random(0)
    found, freshness = Simulated(), Freshness(max_age)
    streams = _Windows(freshness)
    due = [(begin + rng.random() * STRIDE, number) for number, (_, begin, _) in enumerate(people)]
    heapq.heapify(due)
    device: list[tuple[str, float]] = []
    queued: list[tuple[str, float]] = []
    free_at, now = float("inf"), 0.0
    looks = iter(np.arange(0.2, seconds, 0.2))
    look = next(looks)
    while now < seconds:
        now = min(due[0][0] if due else seconds, free_at, look)
        if now == look:
            look = next(looks, seconds)
            if (news := freshness.news(STRIDE, HELP, now)) is not None:
                found.news.append((now, news))
        while due and due[0][0] <= now:
            at, number = heapq.heappop(due)
            streams.make(f"s{number}", people[number][0], now)
            if at + STRIDE < people[number][2]:
                heapq.heappush(due, (at + STRIDE, number))
        if free_at <= now:
            for name, arrived in device:
                freshness.answered(name, now)
                if now > after:
                    found.ages[name].append(now - arrived)
                    found.times[name].append(now)
            device, free_at = [], float("inf")
        while (taken := streams.next(now)) is not None:
            queued.append((taken[0].stream, taken[1]))
        if not device and queued:
            device, queued = queued[:most], queued[most:]
            free_at = now + window_s * len(device)
    return found


class _Windows:
    """`Streams` of which every frame is a window of everybody in it."""

    def __init__(self, freshness: Freshness) -> None:
        self._streams = Streams(
            lambda first: Grid(1, 1, least=1, length=1),
            lambda: lambda f: f,
            StreamLimits(idle=1e9),
            freshness=freshness,
        )
        self._count: Counter[str] = Counter()
        self.next = self._streams.next

    @property
    def dropped(self) -> dict[str, int]:
        return self._streams.dropped

    @property
    def left_out(self) -> int:
        return self._streams.figures.dropped

    @property
    def waiting(self) -> int:
        return sum(self._streams.waiting.values())

    def make(self, name: str, people: int, now: float) -> None:
        self._count[name] += 1
        self._streams.add(replace(_crowd(self._count[name], people), stream=name), now, now=now)


def _crowd(number: int, people: int) -> PoseFrame:
    one = frame(number, 1)
    return replace(one, people=tuple(replace(one.people[0], id=who) for who in range(people)))


def whole(count: int, seconds: float, people: int = 1) -> list[tuple[int, float, float]]:
    return [(people, 0.0, seconds)] * count


def p95(ages: Sequence[float]) -> float:
    return float(np.percentile(ages, 95))


@pytest.mark.parametrize(
    ("count", "window_s", "max_age"), [(30, 0.04, 2), (6, 0.2, 2), (90, 0.005, 0.5), (3, 0.7, 3)]
)
def test_overload(count: int, window_s: float, max_age: float) -> None:
    """Two to five times what the device can: young labels, as many as it can, in equal shares."""
    found = simulated(whole(count, 60), 60, window_s=window_s, max_age=max_age)
    ages = [age for of in found.ages.values() for age in of]
    assert p95(ages) <= max_age + 8 * window_s  # a batch
    assert len(ages) >= 0.95 * 55 / window_s
    share = len(ages) / count
    for of in found.ages.values():
        assert abs(len(of) - share) <= max(2, 0.2 * share)
    [(at, news)] = found.news
    assert at < 10
    assert news.startswith("the device cannot keep up: in ")
    assert f" of {count} streams a window every " in news


def test_nothing_is_left_out_while_the_device_keeps_up() -> None:
    found = simulated(whole(20, 60), 60, window_s=0.018, after=0)
    assert sum(map(len, found.ages.values())) >= 20 * 149 - 5
    assert found.news == []


def test_a_flood_costs_the_others_nothing() -> None:
    """Twelve streams that take two thirds of the device, and one of twenty people that comes."""
    alone, with_flood = (
        simulated([*whole(12, 60), *crowd], 60, window_s=0.022, after=0)
        for crowd in ((), [(20, 20.0, 60.0)])
    )
    for number in range(12):
        name = f"s{number}"
        assert len(with_flood.ages[name]) >= len(alone.ages[name]) - 1
        assert p95(with_flood.ages[name]) < p95(alone.ages[name]) + 0.25
    flood = [at for at in with_flood.times["s12"] if at > 25]
    assert len(flood) > 0.9 * 35 * (1 / 0.022 - 12 / STRIDE)
    [(at, news)] = with_flood.news
    assert 22 < at < 27
    assert "in 1 of 13 streams a window every" in news


def test_the_stride_shrinks_again_and_both_are_said_once() -> None:
    many = [*whole(10, 120), *[(1, 20.0, 60.0)] * 20]
    found = simulated(many, 120, window_s=0.035)
    few = [at for name in map("s{}".format, range(10)) for at in found.times[name]]
    before, during, later = (
        sum(begin < at <= begin + 10 for at in few) for begin in (10.0, 40.0, 70.0)
    )
    assert min(before, later) >= 245
    assert during < 0.5 * before
    (begun, behind), (over, again) = found.news
    assert 20 < begun < 27
    assert 60 < over < 75
    assert behind.startswith("the device cannot keep up: in 30 of 30 streams a window every ")
    assert behind.endswith("s in place of 0.4 s; what would help: fewer streams")
    assert again.startswith("the device keeps up again: ")


def test_windows_are_left_out_evenly() -> None:
    """Not in bursts: nobody waits for more than two of the longer strides."""
    found = simulated(whole(30, 60), 60, window_s=0.04, after=10)
    for times in found.times.values():
        assert max(np.diff(times)) < 1.5 * 30 * 0.04


def test_people_of_a_stream_take_turns() -> None:
    """More of them than windows may wait, and than are answered in a stride."""
    freshness = Freshness(2.0)
    streams, answered = _Windows(freshness), Counter[object]()
    for tick in range(400):
        now = tick * STRIDE
        streams.make("a", 20, now)
        for part in range(3):
            if (taken := streams.next(now)) is not None:
                answered[taken[0].who] += 1
                freshness.answered("a", now + (part + 1) * STRIDE / 3)
    assert len(answered) == 20
    assert max(answered.values()) - min(answered.values()) <= 0.2 * 60


def test_the_newest_window_first_where_it_is_late() -> None:
    streams = _Windows(Freshness(2.0))
    for at in (0.0, 0.4, 0.8):
        streams.make("a", 1, at)
    streams.make("b", 1, 0.0)
    assert streams.next(2.1)[0].last == 3
    assert streams.dropped == {"a": 2}
    streams = _Windows(Freshness(2.0, devices=9))
    for at in (0.0, 0.4):
        streams.make("a", 1, at)
    assert [w.last for w, _ in iter(lambda: streams.next(0.9), None)] == [1, 2]


def test_what_is_under_way_follows_the_device() -> None:
    """Half a second's worth of windows, and never less than one."""
    freshness = Freshness(2.0)
    assert freshness.most == 1
    for seconds, most in ((0.01, 50), (10.0, 1)):
        now = 1000 / seconds
        for _ in range(20):
            freshness.asked("a", now)
            now += seconds
            freshness.answered("a", now)
        assert abs(freshness.most - most) <= 1


def test_recorded_windows_are_never_left_out() -> None:
    freshness = Freshness(0.1)
    streams = Streams(
        lambda first: Grid(1, 1, least=1, length=1),
        lambda: lambda f: f,
        StreamLimits(waiting=1, total=1),
        freshness=freshness,
    )
    for number in range(50):
        streams.add(frame(number, 1), 0.0, live=False)
    found, now = 0, 0.0
    while (taken := streams.next(now)) is not None:
        found, now = found + 1, now + 5
        freshness.answered(taken[0].stream, now)
    assert found == 50


@given(st.data())
def test_whatever_comes(data: st.DataObject) -> None:
    """Every window is asked about, waits, or is left out; nobody's windows change their order."""
    freshness = Freshness(data.draw(st.floats(0.05, 10)))
    streams = _Windows(freshness)
    now, made, got, out = 0.0, 0, 0, []
    last: dict[tuple[str, object], int] = {}
    for _ in range(data.draw(st.integers(1, 60))):
        now += data.draw(st.sampled_from([0.0, 0.01, 0.3, 5.0]))
        what = data.draw(st.sampled_from(["make", "take", "answer", "news"]))
        if what == "make":
            people = data.draw(st.integers(1, 3))
            streams.make(data.draw(st.sampled_from("abc")), people, now)
            made += people
        elif what == "take" and (taken := streams.next(now)) is not None:
            window, got = taken[0], got + 1
            out.append(window.stream)
            assert last.get((window.stream, window.who), -1) < window.last
            last[window.stream, window.who] = window.last
            assert now - taken[1] <= freshness._max_age
        elif what == "answer" and out:
            freshness.answered(out.pop(), now)
        elif what == "news":
            freshness.news(STRIDE, HELP, now)
    assert made == got + streams.waiting + streams.left_out
