"""A cluster that exists in virtual time only, around the engine's own state machines.

`engine.runtime.leases.LeaseTable` decides who does what and `engine.runtime.batching.Batcher` what
runs together, as in a run; processes, networks and clocks are events here. Nodes have a worker and
an executor each; they die, restart, hang and are killed for it, poison samples kill whoever works
on them, and messages come late, after their senders' death as well. Everything follows from a seed.
Raises `AssertionError` where a promise is broken.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.runtime.batching import Batcher
from engine.runtime.leases import Lease, LeaseTable, Stage, Task
from engine.runtime.limits import MAX_DEATHS

_STEPS = 6  # of the driver with a lease: it grants it, and hears five times of it
_MAX_WAIT_S = 0.005  # of a batch
_LATE, _LATE_S = 0.01, 2.0  # share of messages that are late, and by how much at most
_SEARCH_S = 1.0  # between looks for silence


@dataclass(frozen=True)
class Work:
    """A kind of sample: seconds on a worker and on a device, and bytes in flight."""

    decode_s: float
    device_s: float
    cost: int


@dataclass(frozen=True)
class Conditions:
    """What a cluster is like. Sample i is ``works[i % len(works)]``."""

    nodes: int
    samples: int
    works: Sequence[Work]
    driver_s: float = 0.0  # of the one process that grants and hears, a sample
    delay_s: float = 0.5e-3  # of a message
    max_batch: int = 4
    budget: int = 1 << 40
    mtbf_s: float = math.inf  # of a node, mean time between failures
    restart_s: float = 10.0
    alone: float = 0.25  # share of failures in which the worker alone dies
    hangs: float = 0.05  # share of failures in which a process falls silent
    lease_timeout: float = 60.0
    stall_timeout: float = 300.0
    poison: int = 0  # samples
    seed: int = 0


@dataclass
class Outcome:
    """What came of it. `useful_s` and `wasted_s`: of all devices together."""

    seconds: float = 0.0
    scored: int = 0
    convicted: list[int] = field(default_factory=list)
    innocent: list[int] = field(default_factory=list)  # of the convicted
    deaths: dict[str, int] = field(default_factory=dict)  # by kind
    leases: int = 0
    suspects: int = 0  # times that a lease was run singly
    singly_s: float = 0.0  # with one of them out
    stale: int = 0  # messages of leases that were no more
    peak_bytes: int = 0
    useful_s: float = 0.0
    wasted_s: float = 0.0


class _Process:
    """A worker or an executor, one incarnation of it. `started`: leases in work."""

    def __init__(self, slot: str, incarnation: int) -> None:
        self.slot, self.incarnation = slot, incarnation
        self.name = f"{slot}.{incarnation}"
        self.alive, self.hung, self.busy = True, False, False
        self.started: list[Lease] = []
        self.leases: deque[Lease] = deque()  # of a worker

    @property
    def works(self) -> bool:
        return self.alive and not self.hung


class Cluster:
    """One run, from the first grant to the last record."""

    def __init__(self, conditions: Conditions) -> None:
        self._is, self._rng = conditions, random.Random(conditions.seed)
        self._table = LeaseTable(
            budget=conditions.budget, per_worker=2, ahead=2 * conditions.max_batch + 1
        )
        self._now, self._events_made, self._driver_free = 0.0, 0, 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._processes: dict[str, _Process] = {}
        self._batchers: dict[str, Batcher[Lease]] = {}
        self._workers: list[str] = []
        self._executors: list[str] = []
        self._fresh = iter(range(conditions.samples))
        self._poison = set(self._rng.sample(range(conditions.samples), conditions.poison))
        self._records: Counter[int] = Counter()
        self._blamed: Counter[int] = Counter()  # deaths of processes that had started it alone
        self._singly_since = 0.0
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """All of it."""
        for node in range(self._is.nodes):
            self._start(f"worker-{node}", 1)
            self._start(f"executor-{node}", 1)
        if self._is.mtbf_s < math.inf:
            self._later(self._to_failure(), self._fail)
        self._later(_SEARCH_S, self._search)
        while len(self._records) < self._is.samples:
            self._now, _, action, about = heapq.heappop(self._events)
            action(*about)
        return self._audited()

    def _audited(self) -> Outcome:
        """The outcome, after a look at what was promised."""
        found = self.outcome
        found.seconds, found.peak_bytes = self._now, self._table.peak_bytes
        assert set(self._records.values()) == {1}, "a second record of a sample"
        assert not len(self._table), "a sample with a record is not done"
        assert self._table.bytes_in_flight == 0, "bytes in flight of nobody"
        assert self._poison <= set(found.convicted), "poison that got away"
        found.innocent = [index for index in found.convicted if index not in self._poison]
        assert all(self._blamed[index] >= MAX_DEATHS for index in found.convicted)
        return found

    # Time

    def _later(self, seconds: float, action: Callable[..., None], *about: object) -> None:
        self._events_made += 1
        heapq.heappush(self._events, (self._now + seconds, self._events_made, action, about))

    def _travel(self) -> float:
        """Seconds of a message's way."""
        late = self._rng.random() < _LATE and self._is.mtbf_s < math.inf
        return self._is.delay_s + (self._rng.uniform(0, _LATE_S) if late else 0.0)

    def _say(self, what: Callable[[Lease], None], lease: Lease) -> None:
        """A holder tells the driver, which hears one message after the other."""
        self._later(self._travel(), self._arrived, what, lease)

    def _arrived(self, what: Callable[[Lease], None], lease: Lease) -> None:
        self._driver_free = max(self._now, self._driver_free) + self._is.driver_s / _STEPS
        self._later(self._driver_free - self._now, what, lease)

    # The driver

    def _grant(self) -> None:
        while True:
            while self._table.hungry and (index := next(self._fresh, None)) is not None:
                self._table.add(Task(index, self._work(index).cost))
            lease = self._table.grant(self._now, self._workers, self._executors)
            if lease is None:
                return
            self.outcome.leases += 1
            if lease.alone and lease.task.suspected is not None:
                self.outcome.suspects += 1
                self._singly_since = self._now
            flown, budget = self._table.bytes_in_flight, self._is.budget
            assert flown <= budget or flown == lease.task.cost, "over the budget"
            self._driver_free = max(self._now, self._driver_free) + self._is.driver_s / _STEPS
            wait = self._driver_free - self._now + self._is.delay_s
            self._later(wait, self._take, self._processes[lease.worker], lease)

    def _advance(self, stage: Stage) -> Callable[[Lease], None]:
        def hear(lease: Lease) -> None:
            if self._table.advance(lease.number, stage, self._now) is None:
                self.outcome.stale += 1
            elif stage is Stage.SENT:
                self._grant()

        return hear

    def _result(self, lease: Lease) -> None:
        device_s = self._work(lease.task.index).device_s
        if self._table.complete(lease.number, self._now) is None:
            self.outcome.stale += 1
            self.outcome.wasted_s += device_s
            return
        self._record(lease.task.index)
        self.outcome.scored += 1
        self.outcome.useful_s += device_s
        if lease.alone:
            self.outcome.singly_s += self._now - self._singly_since
        self._grant()

    def _record(self, index: int) -> None:
        self._records[index] += 1
        assert self._records[index] == 1, f"a second record of sample {index}"

    def _search(self) -> None:
        limits = self._is.lease_timeout, self._is.stall_timeout
        for name in self._table.silent(self._now, *limits):
            self._die(self._processes[name], "killed")
        self._later(_SEARCH_S, self._search)

    def _reap(self, process: _Process) -> None:
        """The driver hears of a death. The dead have left word of what they had started."""
        is_worker = process.slot.startswith("worker")
        stage = Stage.DECODING if is_worker else Stage.RUNNING
        for lease in process.started:
            self._table.advance(lease.number, stage, self._now)
        mine = [lease for lease in self._table.leases if lease.holder == process.name]
        started = [lease for lease in mine if lease.stage is stage]
        if len(started) == 1:
            self._blamed[started[0].task.index] += 1
        for task in self._table.lost(process.name, self._now):
            self._record(task.index)
            self.outcome.convicted.append(task.index)
        names = self._workers if is_worker else self._executors
        names.remove(process.name)
        self._later(self._is.restart_s, self._start, process.slot, process.incarnation + 1)
        self._grant()

    # Processes

    def _start(self, slot: str, incarnation: int) -> None:
        process = _Process(slot, incarnation)
        self._processes[process.name] = process
        if slot.startswith("worker"):
            self._workers.append(process.name)
        else:
            self._executors.append(process.name)
            self._batchers[process.name] = Batcher(self._is.max_batch, _MAX_WAIT_S)
        self._later(0.0, self._grant)

    def _die(self, process: _Process, kind: str) -> None:
        if process.alive:
            process.alive = False
            self.outcome.deaths[kind] = self.outcome.deaths.get(kind, 0) + 1
            self._batchers.pop(process.name, None)
            self._later(self._is.delay_s, self._reap, process)

    def _to_failure(self) -> float:
        return self._rng.expovariate(self._is.nodes / self._is.mtbf_s)

    def _fail(self) -> None:
        """Something happens to one of the nodes."""
        self._later(self._to_failure(), self._fail)
        node, kind = self._rng.randrange(self._is.nodes), self._rng.random()
        worker, executor = (self._newest(f"{role}-{node}") for role in ("worker", "executor"))
        if kind < self._is.hangs:
            self._rng.choice([worker, executor]).hung = True
        elif kind < self._is.hangs + self._is.alone:
            self._die(worker, "worker")
        else:
            self._die(worker, "node")
            self._die(executor, "node")

    def _newest(self, slot: str) -> _Process:
        incarnation = 1
        while f"{slot}.{incarnation + 1}" in self._processes:
            incarnation += 1
        return self._processes[f"{slot}.{incarnation}"]

    def _work(self, index: int) -> Work:
        return self._is.works[index % len(self._is.works)]

    def _is_poison(self, lease: Lease, *, to_worker: bool) -> bool:
        """Half of the poison kills workers, the other half executors."""
        return lease.task.index in self._poison and (lease.task.index % 2 == 0) == to_worker

    def _take(self, worker: _Process, lease: Lease) -> None:
        """A lease arrives at its worker."""
        if worker.works:
            worker.leases.append(lease)
            if not worker.busy:
                self._decode(worker)

    def _decode(self, worker: _Process) -> None:
        lease = worker.leases.popleft()
        worker.busy, worker.started = True, [lease]
        self._say(self._advance(Stage.DECODING), lease)
        seconds = self._work(lease.task.index).decode_s
        if self._is_poison(lease, to_worker=True):
            self._later(seconds / 2, self._die, worker, "poison")
        else:
            self._later(seconds, self._decoded, worker, lease)

    def _decoded(self, worker: _Process, lease: Lease) -> None:
        if not worker.works:
            return
        worker.busy, worker.started = False, []
        self._say(self._advance(Stage.SENT), lease)
        self._later(self._travel(), self._queue, self._processes[lease.executor], lease)
        if worker.leases:
            self._decode(worker)

    def _queue(self, executor: _Process, lease: Lease) -> None:
        """Clips arrive at their executor."""
        if executor.works:
            self._batchers[executor.name].add(lease, self._now)
            self._say(self._advance(Stage.QUEUED), lease)
            self._batch(executor)

    def _batch(self, executor: _Process) -> None:
        if executor.busy or not executor.works:
            return
        batcher = self._batchers[executor.name]
        executor.started = batcher.take(self._now)
        executor.busy = bool(executor.started)
        for lease in executor.started:
            self._say(self._advance(Stage.RUNNING), lease)
        if executor.busy:
            self._infer(executor)
        elif (due := batcher.due()) is not None:
            self._later(max(0.0, due - self._now), self._batch, executor)

    def _infer(self, executor: _Process) -> None:
        """The first sample of the batch that has no result."""
        lease = executor.started[0]
        seconds = self._work(lease.task.index).device_s
        if self._is_poison(lease, to_worker=False):
            self._later(seconds / 2, self._die, executor, "poison")
        else:
            self._later(seconds, self._inferred, executor)

    def _inferred(self, executor: _Process) -> None:
        if not executor.works:
            return
        self._say(self._result, executor.started.pop(0))
        if executor.started:
            self._infer(executor)
        else:
            executor.busy = False
            self._batch(executor)
