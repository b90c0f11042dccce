"""The lease table as a state machine: no sockets, no processes, no clock of its own."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Sequence
from copy import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.runtime.leases import Lease, LeaseTable, Loads, Stage, Task
from engine.runtime.limits import MAX_DEATHS

WORKERS, EXECUTORS = ["w0", "w1"], ["e0"]


def table(count: int, cost: int = 1, budget: int = 100, ahead: int = 10) -> LeaseTable:
    made = LeaseTable(budget=budget, ahead=ahead, per_worker=2)
    for index in range(count):
        made.add(Task(index, cost))
    return made


def grant(t: LeaseTable, now: float = 0.0, workers: list[str] = WORKERS) -> Lease:
    lease = t.grant(now, workers, EXECUTORS)
    assert lease is not None
    return lease


def run_to(t: LeaseTable, lease: Lease, stage: Stage, now: float = 0.0) -> Lease:
    for step in Stage:
        if Stage.GRANTED < step <= stage:
            t.advance(lease.number, step, now)
    return lease


def test_in_order_to_the_least_busy() -> None:
    t = table(5)
    leases = [grant(t) for _ in range(4)]
    assert [lease.task.index for lease in leases] == [0, 1, 2, 3]
    assert [lease.worker for lease in leases] == ["w0", "w1", "w0", "w1"]
    assert t.grant(0, WORKERS, EXECUTORS) is None  # both hold two
    run_to(t, leases[1], Stage.SENT)
    assert grant(t).worker == "w1"
    assert t.grant(0, WORKERS, EXECUTORS) is None  # nothing waits
    assert t.hungry


def test_nobody_to_lease_to() -> None:
    t = table(1)
    assert t.grant(0, [], EXECUTORS) is None
    assert t.grant(0, WORKERS, []) is None
    assert t.waiting == 1


def test_bytes_and_credit() -> None:
    t = table(4, cost=40, budget=100)
    first, second = grant(t), grant(t)
    assert t.grant(0, WORKERS, EXECUTORS) is None
    assert t.bytes_in_flight == 80
    t.complete(first.number, 0)
    third = grant(t)
    for lease in (second, third):
        t.complete(lease.number, 0)
    assert (t.bytes_in_flight, t.peak_bytes) == (0, 80)
    big = table(2, cost=500, budget=100)
    lone = grant(big)  # larger than the budget: alone
    assert big.grant(0, WORKERS, EXECUTORS) is None
    big.complete(lone.number, 0)
    assert grant(big).task.index == 1
    few = table(9, ahead=3)
    for _ in range(3):
        run_to(few, grant(few), Stage.SENT)
    assert few.grant(0, WORKERS, EXECUTORS) is None


def test_second_record_is_dropped() -> None:
    t = table(1)
    lease = grant(t)
    assert t.complete(lease.number, 0) is lease
    assert t.complete(lease.number, 0) is None
    assert t.advance(lease.number, Stage.RUNNING, 0) is None
    assert len(t) == 0


def test_worker_death_returns_what_had_not_arrived() -> None:
    t = table(6)
    leases = [grant(t, workers=["w0"])]
    run_to(t, leases[0], Stage.QUEUED)
    leases.append(run_to(t, grant(t, workers=["w0"]), Stage.SENT))
    leases.append(run_to(t, grant(t, workers=["w0"]), Stage.DECODING))
    leases.append(grant(t, workers=["w0"]))
    other = grant(t, workers=["w1"])
    assert t.lost("w0", 0) == []
    assert {lease.number for lease in t.leases} == {leases[0].number, other.number}
    # The sample that was being decoded is a suspect and comes last.
    again = [grant(t, workers=["w2", "w3"]).task.index for _ in range(3)]
    assert again == [1, 3, 5]
    assert t.waiting == 1
    assert t.complete(leases[1].number, 0) is None  # its late result is dropped


def test_a_suspect_runs_singly() -> None:
    t = table(2)
    run_to(t, grant(t), Stage.DECODING)
    t.lost("w0", 0)
    innocent = grant(t)
    assert (innocent.task.index, innocent.alone) == (1, False)
    assert t.grant(0, WORKERS, EXECUTORS) is None  # not while another is under way
    t.complete(innocent.number, 0)
    suspect = grant(t)
    assert (suspect.task.index, suspect.alone) == (0, True)
    t.add(Task(2, 1))
    assert t.grant(0, WORKERS, EXECUTORS) is None  # nor another beside it
    t.complete(suspect.number, 0)
    assert grant(t).task.index == 2


def test_three_deaths_of_its_own_convict() -> None:
    t = table(1)
    for death in range(1, MAX_DEATHS + 1):
        run_to(t, grant(t), Stage.DECODING)
        convicted = t.lost("w0", 0)
        assert [c.index for c in convicted] == ([0] if death == MAX_DEATHS else [])
    assert len(t) == 0
    assert t.bytes_in_flight == 0


def test_a_batch_shares_no_guilt() -> None:
    t = table(3)
    for _ in range(2):
        run_to(t, grant(t), Stage.RUNNING)
    waiting = run_to(t, grant(t), Stage.QUEUED)
    for _ in range(10):
        assert t.lost("e0", 0) == []
        first = grant(t)
        if first.task.index == waiting.task.index:
            t.complete(first.number, 0)
            break
    a = run_to(t, grant(t), Stage.RUNNING)
    assert a.alone
    assert a.task.deaths == 0  # it had died together with another
    assert t.lost("e0", 0) == []
    assert a.task.deaths == 1


def test_a_death_before_the_start_counts_for_nothing() -> None:
    t = table(1)
    for _ in range(10):
        grant(t)
        assert t.lost("w0", 0) == []
    assert not grant(t).alone


def test_silence() -> None:
    t = table(3)
    lease = grant(t, now=0)
    assert t.silent(9, 10, 100) == []
    assert t.silent(11, 10, 100) == ["w0"]
    run_to(t, lease, Stage.SENT, now=20)
    assert t.silent(100, 10, 100) == []
    assert t.silent(121, 10, 100) == []  # it may be stuck in the worker, whose time comes first
    assert t.silent(131, 10, 100) == ["e0"]
    t.advance(lease.number, Stage.RUNNING, 121)
    assert t.silent(200, 10, 100) == []
    t.complete(lease.number, 201)
    assert t.silent(1e9, 10, 100) == []  # without work, silence is no fault
    run_to(t, grant(t, now=1e9), Stage.SENT, now=1e9)
    assert t.silent(1e9 + 50, 10, 100) == []  # nor is the silence before the work


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4))
def test_exactly_one_record_each(seed: int, count: int, cost: int) -> None:
    """Random events: duplicated, late and lost messages, deaths of anyone at any time."""
    rng = random.Random(seed)
    t = table(count, cost=cost, budget=5, ahead=4)
    names = {"w0": "w0", "w1": "w1", "e0": "e0"}
    records: list[int] = []
    past: list[int] = []
    deaths = 0
    for turn in range(20_000):
        if not len(t):
            break
        workers, executors = [names["w0"], names["w1"]], [names["e0"]]
        lease = t.grant(turn, workers, executors)
        if lease is not None:
            past.append(lease.number)
        event = rng.random()
        if event < 0.04 and deaths < 40:
            deaths += 1
            slot = rng.choice(list(names))
            records += [task.index for task in t.lost(names[slot], 0)]
            names[slot] = f"{slot}.{deaths}"
        elif event < 0.2 and past:  # a message of an old lease
            old = rng.choice(past)
            alive = {lease.number for lease in t.leases}
            if old not in alive:
                assert t.complete(old, turn) is None
        elif t.leases:
            lease = rng.choice(t.leases)
            if lease.stage is Stage.RUNNING:
                assert t.complete(lease.number, turn) is lease
                records.append(lease.task.index)
            else:
                t.advance(lease.number, Stage(lease.stage + 1), turn)
        assert t.bytes_in_flight == sum(lease.task.cost for lease in t.leases)
        assert t.bytes_in_flight <= 5 or len(t.leases) == 1
    assert sorted(records) == list(range(count))
    assert t.bytes_in_flight == 0


@pytest.mark.parametrize("stage", list(Stage))
def test_stages_only_advance(stage: Stage) -> None:
    t = table(1)
    lease = run_to(t, grant(t), stage)
    t.advance(lease.number, Stage.GRANTED, 5)
    assert lease.stage is stage


def test_who_waits_and_for_how_long() -> None:
    t = table(2)
    assert t.waits() == "device waits for clips"
    first = grant(t, now=1)
    assert t.waits() == "device waits for clips"
    for stage, now in ((Stage.DECODING, 2), (Stage.SENT, 3), (Stage.QUEUED, 5), (Stage.RUNNING, 9)):
        t.advance(first.number, stage, now)
    assert t.waits() == "workers wait for the device"
    grant(t)
    assert t.waits() == "all busy"
    first.decode_s = 0.5
    assert first.seconds(infer=4, now=14) == {
        "assign": 1,
        "decode": 0.5,
        "transport": 2,
        "queue": 5,
        "infer": 4,
        "total": 13,
    }


def test_messages_that_are_read_late_count_no_time_twice() -> None:
    t = table(1)
    lease = grant(t, now=1)
    for stage in (Stage.DECODING, Stage.SENT, Stage.QUEUED, Stage.RUNNING):
        t.advance(lease.number, stage, 14)  # nobody listened until then
    lease.decode_s = 0.5
    assert lease.seconds(infer=4, now=14) == {
        "assign": 8.5,
        "decode": 0.5,
        "transport": 0,
        "queue": 0,
        "infer": 4,
        "total": 13,
    }


def test_a_suspect_does_not_wait_for_ever_behind_fresh_samples() -> None:
    """As with a live source, of which there is always one more."""
    t = table(3)
    first = t.grant(0, ["w0"], ["e0"])
    second = t.grant(0, ["w0"], ["e0"])
    assert first is not None
    assert second is not None
    for lease in (first, second):
        t.advance(lease.number, Stage.DECODING, 0)
    t.lost("w0", 0)
    fresh = t.grant(29, ["w1"], ["e0"])
    assert fresh is not None
    assert fresh.task.index == 2
    t.add(Task(3, 1))
    assert t.grant(31, ["w1"], ["e0"]) is None  # until what is out is done
    t.complete(fresh.number, 32)
    suspect = t.grant(32, ["w1"], ["e0"])
    assert suspect is not None
    assert suspect.alone
    assert suspect.task.index in (0, 1)


# What is counted as it goes, against counting it all anew

NAMES = [f"n{n}" for n in range(5)]


@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.booleans(), st.permutations(NAMES), st.integers(0, 5))
    )
)
def test_the_least_of_those_that_are_there(changes: list[tuple[str, bool, list[str], int]]) -> None:
    loads, counts = Loads(), Counter[str]()
    for name, more, there, many in changes:
        by = 1 if more or not counts[name] else -1
        loads.change(name, by)
        counts[name] += by
        assert loads.of(name) == counts[name]
        for names in (NAMES, there[:many], NAMES[:many]):
            expected = min(names, key=lambda n: counts[n], default=None)
            assert loads.least(names) == expected


def test_what_is_outdated_does_not_pile_up() -> None:
    loads = Loads()
    assert loads.least(["a", "b"]) == "a"
    for _ in range(1000):
        loads.change("a", 1)
        loads.change("a", -1)
    assert len(loads._heap) <= 8


class PlainTable:
    """The rules of `LeaseTable` and nothing else: it looks at every lease and every holder."""

    def __init__(self, budget: int, per_worker: int, ahead: int) -> None:
        self.waiting: deque[Task] = deque()
        self.suspects: deque[Task] = deque()
        self.leases: dict[int, Lease] = {}
        self.heard: dict[str, float] = {}
        self.numbers = 0
        self.budget, self.per_worker, self.ahead = budget, per_worker, ahead

    def add(self, task: Task) -> None:
        self.waiting.append(task)

    @property
    def bytes_in_flight(self) -> int:
        return sum(lease.task.cost for lease in self.leases.values())

    def waits(self) -> str:
        stages = {lease.stage for lease in self.leases.values()}
        if not stages & {Stage.QUEUED, Stage.RUNNING}:
            return "device waits for clips"
        return "all busy" if min(stages) < Stage.SENT else "workers wait for the device"

    def grant(self, now: float, workers: Sequence[str], executors: Sequence[str]) -> Lease | None:
        suspected = self.suspects[0].suspected if self.suspects else None
        alone = not self.waiting or (suspected is not None and now - suspected > 30)
        queue = self.suspects if alone else self.waiting
        out = self.leases.values()
        if not queue or (alone and out) or any(lease.alone for lease in out):
            return None
        if out and self.bytes_in_flight + queue[0].cost > self.budget:
            return None
        unsent = Counter(lease.worker for lease in out if lease.stage < Stage.SENT)
        loads = Counter(lease.executor for lease in out)
        worker = min(workers, key=lambda name: unsent[name], default=None)
        executor = min(executors, key=lambda name: loads[name], default=None)
        if worker is None or unsent[worker] >= self.per_worker:
            return None
        if executor is None or loads[executor] >= self.ahead:
            return None
        self.numbers += 1
        lease = Lease(self.numbers, queue.popleft(), worker, executor, alone, now)
        self.leases[lease.number] = lease
        self.heard[worker] = now
        return lease

    def advance(self, number: int, stage: Stage, now: float) -> Lease | None:
        lease = self.leases.get(number)
        if lease is not None:
            if stage > lease.stage:
                lease.stage = stage
                if stage is Stage.SENT:
                    self.heard[lease.executor] = now
            lease.entered.setdefault(stage, now)
            self.heard[lease.worker if stage <= Stage.SENT else lease.executor] = now
        return lease

    def complete(self, number: int, now: float) -> Lease | None:
        lease = self.leases.pop(number, None)
        if lease is not None:
            self.heard[lease.holder] = now
        return lease

    def lost(self, name: str, now: float, *, blame: bool) -> list[Task]:
        gone = [
            lease
            for lease in self.leases.values()
            if lease.executor == name or (lease.worker == name and lease.stage < Stage.QUEUED)
        ]
        started = [
            lease.number
            for lease in gone
            if blame and lease.stage is (Stage.DECODING if lease.worker == name else Stage.RUNNING)
        ]
        convicted = []
        for lease in reversed(gone):
            del self.leases[lease.number]
            if lease.number in started:
                lease.task.suspected = now
                lease.task.deaths += len(started) == 1
            if lease.task.deaths >= MAX_DEATHS:
                convicted.append(lease.task)
            elif lease.task.suspected is not None:
                self.suspects.append(lease.task)
            else:
                self.waiting.appendleft(lease.task)
        self.heard.pop(name, None)
        return convicted

    def silent(self, now: float, worker_limit: float, executor_limit: float) -> list[str]:
        limits = {
            Stage.GRANTED: worker_limit,
            Stage.DECODING: worker_limit,
            Stage.SENT: worker_limit + executor_limit,
            Stage.QUEUED: executor_limit,
            Stage.RUNNING: executor_limit,
        }
        return list(
            dict.fromkeys(
                lease.holder
                for lease in self.leases.values()
                if now - self.heard.get(lease.holder, lease.granted) > limits[lease.stage]
            )
        )


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))
def test_as_if_it_looked_at_everything(data: Any, nodes: int, per_worker: int, ahead: int) -> None:
    """Whatever happens, the table does what the plain one does."""
    table = LeaseTable(budget=12, per_worker=per_worker, ahead=ahead)
    plain = PlainTable(12, per_worker, ahead)
    workers, executors = [f"w{n}" for n in range(nodes)], [f"e{n}" for n in range(nodes)]
    now, tasks, deaths = 0.0, 0, 0
    events = ["add", "grant", "grant", "advance", "advance", "complete", "lost", "away"]
    for event in data.draw(st.lists(st.sampled_from(events), min_size=1, max_size=120)):
        now += data.draw(st.sampled_from([0.1, 1, 40]))
        number = data.draw(st.integers(1, max(1, plain.numbers)))
        if event == "add":
            task = Task(tasks, data.draw(st.integers(1, 15)))
            tasks += 1
            table.add(task)
            plain.add(copy(task))
        elif event == "grant":
            assert table.grant(now, workers, executors) == plain.grant(now, workers, executors)
        elif event == "advance":
            stage = data.draw(st.sampled_from(Stage))
            assert table.advance(number, stage, now) == plain.advance(number, stage, now)
        elif event == "complete":
            assert table.complete(number, now) == plain.complete(number, now)
        elif event == "away":  # a guest that is silent for a while, or comes back
            name = data.draw(st.sampled_from([f"w{n}" for n in range(nodes)]))
            workers.remove(name) if name in workers else workers.append(name)
        else:
            names = data.draw(st.sampled_from([workers, executors]))
            if names:
                place, blame = data.draw(st.integers(0, len(names) - 1)), data.draw(st.booleans())
                assert table.lost(names[place], now, blame=blame) == plain.lost(
                    names[place], now, blame=blame
                )
                deaths += 1
                names[place] = f"{names[place][:2]}.{deaths}"
        assert table.leases == list(plain.leases.values())
        assert table.bytes_in_flight == plain.bytes_in_flight
        assert table.waiting == len(plain.waiting) + len(plain.suspects)
        assert table.waits() == plain.waits()
        assert table.silent(now, 2, 5) == plain.silent(now, 2, 5)
