"""Leases: which sample is with whom, and what follows when a holder dies.

Events in, decisions out: no sockets, no processes, and the clock is an argument. Driven
by `engine.runtime.scheduler`. A sample passes through the stages of `Stage`; it is leased
until its terminal record is written, and a lease is granted only when its bytes fit.

A death counts against a sample only if the holder had started that sample alone. Whoever
was started together with others is a suspect: requeued last, run singly from then on (behind
samples that go on coming it waits for a while only). Three deaths of its own convict a sample. A
random kill therefore makes a suspect at most, unless it hits the same lone sample three times.
"""

from __future__ import annotations

import enum
import heapq
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.runtime.limits import MAX_DEATHS
from engine.runtime.watchdog import overdue

_PATIENCE_S = 30.0  # of a suspect
_SLACK = 4  # outdated entries a name, before they are cleared away


class Stage(enum.IntEnum):
    """Where a leased sample is. The first two are the worker's, the others the executor's."""

    GRANTED = 0  # on its way to a worker
    DECODING = 1  # a worker has started it
    SENT = 2  # the worker has handed the clips to the transport
    QUEUED = 3  # the executor has received the clips
    RUNNING = 4  # the executor has started a batch with it


@dataclass
class Task:
    """A sample without a terminal record. `cost`: bytes that its clips occupy in flight."""

    index: int
    cost: int
    deaths: int = 0
    suspected: float | None = None  # since when it runs singly


@dataclass
class Lease:
    """One attempt at a task; `number` is unique, so that late results are recognised.

    While a lease `alone` is out, no other one is.
    """

    number: int
    task: Task
    worker: str
    executor: str
    alone: bool
    granted: float
    stage: Stage = Stage.GRANTED
    entered: dict[Stage, float] = field(default_factory=dict)
    decode_s: float = 0.0  # of work, as the worker reports it

    @property
    def holder(self) -> str:
        return self.worker if self.stage < Stage.SENT else self.executor

    def seconds(self, infer: float, now: float) -> dict[str, float]:
        """Seconds of work of the two stages (`infer` as the executor reports it), of waiting
        for a worker, on the way and for the device (until it turned to this sample, its batch's
        others included), and from the grant to `now`."""
        # Messages may have been read late, but nothing was later than what came after it.
        queued = min(self.entered.get(Stage.QUEUED, now), now - infer)
        sent = min(self.entered.get(Stage.SENT, now), queued)
        decoding = min(self.entered.get(Stage.DECODING, self.granted), sent - self.decode_s)
        return {
            "assign": max(0.0, decoding - self.granted),
            "decode": self.decode_s,
            "transport": queued - sent,
            "queue": now - infer - queued,
            "infer": infer,
            "total": now - self.granted,
        }


class Loads:
    """How many leases each worker or executor has, and who has the fewest. What a change costs does
    not depend on how many leases are out."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._names: list[str] = []  # that were chosen from last
        self._ranks: dict[str, int] = {}  # their places in it
        # (count, rank): one entry of each name is up to date, others are outdated
        self._heap: list[tuple[int, int]] = []

    def of(self, name: str) -> int:
        """The count of a name."""
        return self._counts.get(name, 0)

    def change(self, name: str, by: int) -> None:
        """So many more, or fewer."""
        count = self._counts.pop(name, 0) + by
        if count:
            self._counts[name] = count
        rank = self._ranks.get(name)
        if rank is None:
            return
        heapq.heappush(self._heap, (count, rank))
        if len(self._heap) > _SLACK * len(self._names):
            self._rank(self._names)

    def least(self, names: Sequence[str]) -> str | None:
        """Which of `names` has the fewest, the first of several; None of none. Cheap where they
        are those of the last time."""
        if names != self._names:
            self._rank(list(names))
        while self._heap:
            count, rank = self._heap[0]
            name = self._names[rank]
            if count == self.of(name):
                return name
            heapq.heappop(self._heap)
        return None

    def _rank(self, names: list[str]) -> None:
        self._names = names
        self._ranks = {name: rank for rank, name in enumerate(names)}
        self._heap = [(self.of(name), rank) for name, rank in self._ranks.items()]
        heapq.heapify(self._heap)


class LeaseTable:
    """All tasks of a run: waiting, leased or done.

    `budget` bounds the bytes in flight (a task larger than it runs alone), `ahead` the
    leases of one executor, `per_worker` those that one worker has not sent yet.
    """

    def __init__(self, *, budget: int, per_worker: int, ahead: int = 1) -> None:
        self._waiting: deque[Task] = deque()
        self._suspects: deque[Task] = deque()
        self._leases: dict[int, Lease] = {}
        # Counts of what is in `_leases`, so that a grant need not look at all of them.
        self._stages: Counter[Stage] = Counter()
        self._unsent, self._loads = Loads(), Loads()  # by worker; by executor
        self._heard: dict[str, float] = {}
        self._numbers = 0
        self.budget, self.ahead, self.per_worker = budget, ahead, per_worker
        self.bytes_in_flight = 0
        self.peak_bytes = 0

    def add(self, task: Task) -> None:
        """A new task, behind those that wait."""
        self._waiting.append(task)

    def __len__(self) -> int:
        """Tasks that are not done."""
        return len(self._waiting) + len(self._suspects) + len(self._leases)

    @property
    def leases(self) -> list[Lease]:
        """The leases out, oldest first."""
        return list(self._leases.values())

    @property
    def hungry(self) -> bool:
        """Whether no task waits but suspects: time to add the next one."""
        return not self._waiting

    @property
    def waiting(self) -> int:
        """Tasks without a lease."""
        return len(self._waiting) + len(self._suspects)

    @property
    def suspects(self) -> int:
        """Those of them that run singly."""
        return len(self._suspects)

    def silence(self, name: str, now: float) -> float:
        """Seconds since a holder was heard of; 0 for one that has had no work."""
        return now - self._heard.get(name, now)

    def waits(self) -> str:
        """Which stage waits for which, in words."""
        if not self._stages[Stage.QUEUED] + self._stages[Stage.RUNNING]:
            return "device waits for clips"
        if self._stages[Stage.GRANTED] + self._stages[Stage.DECODING]:
            return "all busy"
        return "workers wait for the device"

    def grant(self, now: float, workers: Sequence[str], executors: Sequence[str]) -> Lease | None:
        """Lease the next task to the least busy worker and executor, or None for now. Among
        those equally busy the first counts."""
        # only suspects are left, or one has waited for long behind those that go on coming
        alone = not self._waiting or self._impatient(now)
        queue = self._suspects if alone else self._waiting
        if not queue or (alone and self._leases):
            return None
        if len(self._leases) == 1 and next(iter(self._leases.values())).alone:
            return None
        task = queue[0]
        if self._leases and self.bytes_in_flight + task.cost > self.budget:
            return None
        worker, executor = self._unsent.least(workers), self._loads.least(executors)
        if worker is None or self._unsent.of(worker) >= self.per_worker:
            return None
        if executor is None or self._loads.of(executor) >= self.ahead:
            return None
        queue.popleft()
        self._numbers += 1
        lease = Lease(self._numbers, task, worker, executor, alone, now)
        self._leases[lease.number] = lease
        self._count(lease, 1)
        self.peak_bytes = max(self.peak_bytes, self.bytes_in_flight)
        self._heard[worker] = now  # its silence counts from here
        return lease

    def advance(self, number: int, stage: Stage, now: float) -> Lease | None:
        """A holder says that a lease has reached `stage`. None if the lease is no more."""
        lease = self._leases.get(number)
        if lease is None:
            return None
        if stage > lease.stage:
            if stage is Stage.SENT:
                self._heard[lease.executor] = now  # its silence counts from here
            if lease.stage < Stage.SENT <= stage:
                self._unsent.change(lease.worker, -1)
            self._stages[lease.stage] -= 1
            self._stages[stage] += 1
            lease.stage = stage
        lease.entered.setdefault(stage, now)
        self._heard[lease.worker if stage <= Stage.SENT else lease.executor] = now
        return lease

    def complete(self, number: int, now: float) -> Lease | None:
        """The terminal record of a lease is here. None for a lease that is no more:
        its sample has been leased again or is done, and the record must be dropped."""
        lease = self._leases.pop(number, None)
        if lease is not None:
            self._count(lease, -1)
            self._heard[lease.holder] = now
        return lease

    def is_with(self, number: int, name: str) -> bool:
        """Whether a lease is out to that worker or executor."""
        lease = self._leases.get(number)
        return lease is not None and name in (lease.worker, lease.executor)

    def _impatient(self, now: float) -> bool:
        since = self._suspects[0].suspected if self._suspects else None
        return since is not None and now - since > _PATIENCE_S

    def lost(self, name: str, now: float, *, blame: bool = True) -> list[Task]:
        """A worker or executor died: take its leases back. Returns the tasks convicted.
        `blame` is False for one that left and told us: no sample is to blame for that.

        A worker's leases are its own until the executor has received them, since what
        it had sent may have died with it.
        """
        gone = [
            lease
            for lease in self._leases.values()
            if lease.executor == name or (lease.worker == name and lease.stage < Stage.QUEUED)
        ]
        started = [
            lease
            for lease in gone
            if blame and lease.stage is (Stage.DECODING if lease.worker == name else Stage.RUNNING)
        ]
        convicted: list[Task] = []
        # Last first, so that the tasks return to the head of the queue in their order.
        for lease in reversed(gone):
            del self._leases[lease.number]
            self._count(lease, -1)
            task = lease.task
            if lease in started:
                task.suspected = now
                task.deaths += len(started) == 1
            if task.deaths >= MAX_DEATHS:
                convicted.append(task)
            elif task.suspected is not None:
                self._suspects.append(task)
            else:
                self._waiting.appendleft(task)
        self._heard.pop(name, None)
        return convicted

    @property
    def with_executors(self) -> set[str]:
        """The executors at which leases wait for a batch, where no lease is on its way to one."""
        stages = {lease.stage for lease in self._leases.values()}
        if stages & {Stage.GRANTED, Stage.DECODING, Stage.SENT}:
            return set()
        return {one.executor for one in self._leases.values() if one.stage == Stage.QUEUED}

    def extend_deadlines(self, gap: float) -> None:
        """Nobody was listening for `gap` seconds (a paused machine): no silence of theirs."""
        for name in self._heard:
            self._heard[name] += gap

    def silent(self, now: float, worker_limit: float, executor_limit: float) -> list[str]:
        """Holders with work that have said nothing for longer than allowed.

        What was sent and has not arrived may be stuck with either; the worker's time comes
        first, since its death takes such leases back, too.
        """
        limits = {
            Stage.GRANTED: worker_limit,
            Stage.DECODING: worker_limit,
            Stage.SENT: worker_limit + executor_limit,
            Stage.QUEUED: executor_limit,
            Stage.RUNNING: executor_limit,
        }
        return overdue(
            (
                (lease.holder, self._heard.get(lease.holder, lease.granted), limits[lease.stage])
                for lease in self._leases.values()
            ),
            now,
        )

    def _count(self, lease: Lease, by: int) -> None:
        """A lease is out, or no more."""
        self.bytes_in_flight += by * lease.task.cost
        self._stages[lease.stage] += by
        self._loads.change(lease.executor, by)
        if lease.stage < Stage.SENT:
            self._unsent.change(lease.worker, by)
