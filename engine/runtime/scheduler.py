"""The ledger: which samples are leased, and the records that leases come to.

Comes in: samples, and what workers and executors say of their leases. Goes out: the messages that
grant leases, and records. Decisions are `engine.runtime.leases`'; no sockets, no processes, and the
clock is an argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from engine.base.records import Cause, Failure, Record
from engine.runtime.aggregator import Aggregator
from engine.runtime.intake import Intake
from engine.runtime.leases import Lease, LeaseTable, Stage
from engine.runtime.transport.clip_messages import seal
from engine.runtime.transport.messages import (
    Decoding,
    Failed,
    Grant,
    OfLease,
    Queued,
    Result,
    Running,
    Sent,
)
from engine.runtime.transport.wire import check_array


class Ledger:
    """Samples on their way. `budget` as in `LeaseTable`; `secret` is what executors know a granted
    lease by (`engine.runtime.transport.clip_messages.seal`); `views`: clips of every sample."""

    def __init__(
        self,
        intake: Intake,
        aggregator: Aggregator,
        num_classes: int,
        secret: bytes,
        *,
        budget: int,
        views: int,
    ) -> None:
        self._intake, self._aggregator, self._num_classes = intake, aggregator, num_classes
        self._secret, self._views = secret, views
        self.table = LeaseTable(budget=budget, per_worker=2)

    @property
    def finished(self) -> bool:
        """Whether every sample has its record and none will come any more."""
        return self._intake.exhausted and not len(self.table)

    def refill(self) -> Iterator[Failure]:
        """Take samples in until a task waits. Those that cannot be used become failures."""
        while self.table.hungry and (fresh := self._intake.next()) is not None:
            if isinstance(fresh, Failure):
                yield fresh
            else:
                self.table.add(fresh)

    def grant(
        self, now: float, workers: Sequence[str], executors: Sequence[str]
    ) -> tuple[str, Grant] | None:
        """The next lease, if one can be granted: (worker, the message that grants it)."""
        lease = self.table.grant(now, workers, executors)
        if lease is None:
            return None
        poses = self._intake.poses(lease.task.index)
        sealed = seal(self._secret, lease.number)
        return lease.worker, Grant.of(lease.number, sealed, lease.executor, poses)

    def hear(self, name: str, said: OfLease, now: float) -> Record | None:
        """What a holder says of its leases; the record, if one has come to it. What concerns
        a lease that is no more, or is another's, is passed over.

        Raises `WireError` for logits of another shape.
        """
        table, figures = self.table, self._aggregator.figures
        if isinstance(said, Running):
            together = str(len(said.leases))
            figures.batches[together] = figures.batches.get(together, 0) + 1
            for number in said.leases:
                if table.is_with(number, name):
                    table.advance(number, Stage.RUNNING, now)
            return None
        if not table.is_with(said.lease, name):
            return None
        match said:
            case Result():
                return self._result(said, now)
            case Failed(number, cause):
                return self._aggregator.failure(self._complete(number, now).task.index, cause)
            case Decoding(number):
                table.advance(number, Stage.DECODING, now)
            case Queued(number):
                table.advance(number, Stage.QUEUED, now)
            case Sent(number, busy, nbytes):
                figures.decode_s += busy
                figures.bytes_sent += nbytes
                lease = table.advance(number, Stage.SENT, now)
                assert lease is not None  # it is out
                lease.decode_s = busy
        return None

    def lost(self, name: str, role: str, now: float, *, blame: bool = True) -> list[Failure]:
        """A holder is gone; its leases are granted again. Returns the convictions."""
        failures: list[Failure] = []
        for task in self.table.lost(name, now, blame=blame):
            self._intake.done(task.index)
            message = f"its {role} process died {task.deaths} times on it"
            stage = "decode" if role == "worker" else "infer"
            cause = Cause(stage, "ProcessDied", message)
            failures.append(self._aggregator.failure(task.index, cause))
        return failures

    def _complete(self, number: int, now: float) -> Lease:
        lease = self.table.complete(number, now)
        assert lease is not None  # it is out
        self._intake.done(lease.task.index)
        return lease

    def _result(self, result: Result, now: float) -> Record:
        shape = self._views, self._num_classes
        logits = check_array(result.logits, "logits", np.float32, shape)
        lease = self._complete(result.lease, now)
        self._aggregator.figures.peak_bytes = self.table.peak_bytes
        ms = {stage: 1e3 * s for stage, s in lease.seconds(result.busy, now).items()}
        return self._aggregator.score(lease.task.index, logits.copy(), result.padded, ms)
