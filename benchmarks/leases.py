"""How fast the lease table and the shards are: ``python -m benchmarks.leases``.

The state machines alone: no sockets, no processes, no other work. Each lease is granted, goes
through all stages and comes to its record, while many others are out; each sample of the shards is
granted to an engine, and done. Prints leases/s and samples/s (medians of interleaved rounds) by
nodes, of which each has a worker and an executor, or an engine, and by how many are out; and what
the looks cost that are taken at the whole table now and then. Exits with 1 where a rate is below
``--floor``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measurement import interleave, publish, table
from engine.runtime.cluster.shards import Shards
from engine.runtime.leases import Lease, LeaseTable, Stage, Task

_NODES = (1, 10, 100, 1000)
_PER_NODE = (4, 32)  # leases out
_LOOKS = 20


@dataclass(frozen=True)
class Case:
    """So many nodes, and so many leases out on each of them."""

    nodes: int
    per_node: int

    @property
    def name(self) -> str:
        return f"{self.nodes} nodes, {self.nodes * self.per_node} leases out"


class Mill:
    """A lease table that is kept full, and goes round as fast as it can."""

    def __init__(self, case: Case) -> None:
        self._table = LeaseTable(budget=1 << 60, per_worker=2, ahead=case.per_node)
        self._workers = [f"worker-{n}.1" for n in range(case.nodes)]
        self._executors = [f"executor-{n}.1" for n in range(case.nodes)]
        self._decoding: deque[Lease] = deque()
        self._queued: deque[Lease] = deque()
        self._out = case.nodes * case.per_node
        self._now = 0.0
        self._tasks = 0
        self._fill()

    def turn(self) -> int:
        """Ten leases come to their records, and as many new ones are granted."""
        for _ in range(10):
            lease = self._queued.popleft()
            self._table.advance(lease.number, Stage.RUNNING, self._now)
            self._table.complete(lease.number, self._now)
            self._fill()
        return 10

    def look(self) -> dict[str, float]:
        """Milliseconds of what is asked of the whole table, and of the death of one executor."""
        limits = 1e9, 1e9
        found = {
            "silent": _ms(lambda: self._table.silent(self._now, *limits)),
            "waits": _ms(self._table.waits),
        }
        start = time.process_time()
        self._table.lost(self._executors[0], self._now)
        return {**found, "lost": 1e3 * (time.process_time() - start)}

    def _fill(self) -> None:
        while len(self._decoding) + len(self._queued) < self._out:
            self._now += 1e-4
            self._tasks += 1
            self._table.add(Task(self._tasks, 1))
            lease = self._table.grant(self._now, self._workers, self._executors)
            assert lease is not None  # there is room
            self._decoding.append(lease)
            self._table.advance(lease.number, Stage.DECODING, self._now)
            if len(self._decoding) > len(self._workers):
                sent = self._decoding.popleft()
                self._table.advance(sent.number, Stage.SENT, self._now)
                self._table.advance(sent.number, Stage.QUEUED, self._now)
                self._queued.append(sent)


class Shared:
    """Shards that are kept full, likewise: engines report in turn, and are granted as many."""

    def __init__(self, case: Case) -> None:
        self._shards, self._next, self._each = Shards(), 0, case.per_node
        self._held: deque[tuple[str, list[int]]] = deque()
        for n in range(case.nodes):
            self._grant(f"engine-{n}")

    def turn(self) -> int:
        """The next engine's samples are done, and as many new ones are granted to it."""
        name, indices = self._held.popleft()
        for index in indices:
            self._shards.done(name, index)
        self._grant(name)
        return len(indices)

    def look(self) -> dict[str, float]:
        """Milliseconds of what is asked of all of it, and of the death of one engine."""
        waiting = _ms(lambda: len(self._shards))
        start = time.process_time()
        self._shards.lost(self._held[0][0])
        return {"len": waiting, "lost": 1e3 * (time.process_time() - start)}

    def _grant(self, name: str) -> None:
        self._shards.add(range(self._next, self._next + self._each))
        self._next += self._each
        self._held.append((name, self._shards.grant(name, self._each)))


def _ms(action: Callable[[], object]) -> float:
    times = []
    for _ in range(_LOOKS):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return 1e3 * statistics.median(times)


def _rate(mill: Mill | Shared, seconds: float) -> Callable[[], float]:
    """A measurement of leases/s or samples/s; CPU time, so that other programs do not count."""

    def measure() -> float:
        count, start = 0, time.process_time()
        while (passed := time.process_time() - start) < seconds:
            count += mill.turn()
        return count / passed

    return measure


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leases", description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=_NODES, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU time of a measurement")
    parser.add_argument("--floor", type=float, default=20_000, help="a second, of every case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args()
    cases = [Case(nodes, per_node) for nodes in args.nodes for per_node in _PER_NODE]
    mills: dict[str, Mill | Shared] = {case.name: Mill(case) for case in cases}
    mills |= {
        f"shards, {case.nodes} engines, {case.nodes * case.per_node} samples out": Shared(case)
        for case in cases
    }
    contestants = {name: _rate(mill, args.seconds) for name, mill in mills.items()}
    rates = interleave(contestants, args.rounds)
    looks = {name: mill.look() for name, mill in mills.items()}
    print(table(rates, "leases/s, of shards samples/s"))
    for name, found in looks.items():
        print(f"{name}: " + ", ".join(f"{what} {ms:.3f} ms" for what, ms in found.items()))
    publish(args.json, {"rates": rates, "looks_ms": looks, "floor": args.floor})
    least = min(statistics.median(found) for found in rates.values())
    print(f"least median {least:.0f} a second, floor {args.floor:.0f}")
    sys.exit(least < args.floor)


if __name__ == "__main__":
    main()
