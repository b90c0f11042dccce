"""What is counted as it goes, against counting it all anew: loads, and the lease table on them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from copy import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.runtime.leases import Lease, LeaseTable, Stage, Task
from engine.runtime.limits import MAX_DEATHS
from engine.runtime.loads import Loads

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
