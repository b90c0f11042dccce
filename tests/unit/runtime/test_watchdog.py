"""The watchdog as a state machine: silence, stalls, deaths, draining, on a clock of the test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from engine.base.records import Failure, Record
from engine.runtime.limits import MAX_DEATHS_WITHOUT_PROGRESS, MAX_FAILED_STARTS
from engine.runtime.loop import records
from engine.runtime.watchdog import Watchdog, overdue

seconds = st.floats(0, 100)


@given(st.lists(st.tuples(st.sampled_from("abc"), seconds, seconds)), seconds)
def test_who_is_overdue(waiting: list[tuple[str, float, float]], now: float) -> None:
    """Whoever is for one thing that it has, in the order of those things, once."""
    found = overdue(waiting, now)
    assert set(found) == {name for name, heard, limit in waiting if now - heard > limit}
    order = [name for name, heard, limit in waiting if now - heard > limit]
    assert found == sorted(set(order), key=order.index)


@given(st.lists(st.tuples(st.sampled_from(["moved", "paused", "look"]), seconds)), seconds)
def test_a_stall(events: list[tuple[str, float]], patience: float) -> None:
    """Nothing moves for longer than the patience, pauses of the machine apart."""
    dog, now, still = Watchdog(patience, 0.0), 0.0, 0.0
    for event, gap in events:
        now += gap
        if event == "moved":
            dog.moved(now)
            still = now
        elif event == "paused":
            dog.paused(gap)
            still += gap
        assert dog.stalled(now) == (now - still > patience)


@given(st.lists(st.sampled_from(["record", "ready", "dead", "failed start"])))
def test_deaths(events: list[str]) -> None:
    """In vain are those without a record between them; a slot cannot start after three in a row."""
    dog, deaths, failed = Watchdog(1.0, 0.0), 0, 0
    for event in events:
        if event == "record":
            dog.recorded()
            deaths = 0
        elif event == "ready":
            dog.ready("worker-0")
            failed = 0
        else:
            dog.died("worker-0", ready=event == "dead")
            deaths += 1
            failed += event != "dead"
        assert dog.in_vain("worker-0") == (deaths if deaths >= MAX_DEATHS_WITHOUT_PROGRESS else 0)
        assert not dog.in_vain("worker-1")
        assert dog.cannot_start("worker-0") == (failed >= MAX_FAILED_STARTS)
        assert not dog.cannot_start("worker-1")


@dataclass
class Line:
    """A run whose every step takes a second, grants a sample and has a record of the oldest once
    it has been on its way for `steps`."""

    samples: int
    steps: int
    now: float = 0.0
    out: list[float] = field(default_factory=list)
    granted: int = 0

    @property
    def finished(self) -> bool:
        return self.granted == self.samples and not self.out

    @property
    def leases(self) -> int:
        return len(self.out)

    def step(self, *, fresh: bool) -> Iterator[Record]:
        if fresh and self.granted < self.samples:
            self.granted += 1
            self.out.append(self.now)
        self.now += 1
        if self.out and self.now - self.out[0] >= self.steps:
            self.out.pop(0)
            yield Failure(0, "a", None, "read", "X", "m")


counts = st.integers(0, 20)


@given(counts, st.integers(1, 10), counts, counts, counts)
def test_draining(samples: int, steps: int, until: int, grace: int, again: int) -> None:
    """All records come; after an interruption those that are on their way, within the grace and
    before a second interruption."""
    line = Line(samples, steps)
    again += until

    def interruptions() -> int:
        return (line.now >= until) + (line.now >= again)

    found = list(records(line, interruptions, grace, lambda: line.now))
    granted = min(samples, until)
    assert line.granted == granted  # nothing fresh after the interruption
    assert len(found) + line.leases == granted
    if line.leases:  # the grace is over, or patience is
        begun = max(until, min(until, samples + steps))
        assert line.now == min(begun + grace, max(begun, again))
    if min(grace, again - until) >= steps:
        assert not line.leases


def test_a_run_that_is_not_interrupted_is_not_drained() -> None:
    line = Line(5, 3)
    assert len(list(records(line, lambda: 0, 0.0, lambda: line.now))) == 5
    assert line.finished
