"""The lease table as a state machine: no sockets, no processes, no clock of its own."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.runtime.leases import Lease, LeaseTable, Stage, Task
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
