"""The scheduler: samples in their order, who has them, and the records that they come to.

Comes in: samples, of a dataset or of live streams, and what workers and executors say of their
leases. Goes out: the messages that grant leases, and one record a sample. No sockets, no processes,
and the clock is an argument; who gets which lease is decided by `engine.runtime.leases`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from engine.base.errors import WireError
from engine.base.notes import Note
from engine.base.records import Cause, Failure, Record
from engine.network.clip_rules import ALL, ClipRule
from engine.runtime.aggregator import Aggregator
from engine.runtime.leases import Lease, LeaseTable, Stage, Task
from engine.runtime.transport.clip_messages import clips_nbytes, seal
from engine.runtime.transport.messages import (
    Decoding,
    Failed,
    Grant,
    OfLease,
    Queued,
    Result,
    Running,
    Sent,
    WorkerSettings,
)
from engine.runtime.transport.wire import check_array
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import Sample
from engine.skeletons.sampling import clip_plan


class Supply(Protocol):
    """Where samples come from. `exhausted`: whether none will come any more. `fd`: a descriptor
    that is readable when there is something to `poll` for; None where they are all there."""

    fd: int | None

    @property
    def exhausted(self) -> bool: ...

    def poll(self) -> None:
        """Look at what has come. Called often, whether a sample is wanted or not."""

    def next(self) -> Sample | None:
        """The next sample, if there is one at the moment."""


class Listed:
    """The samples of a dataset."""

    fd: int | None = None

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._fresh, self.exhausted = iter(samples), False

    def poll(self) -> None:
        pass

    def next(self) -> Sample | None:
        sample = next(self._fresh, None)
        self.exhausted = sample is None
        return sample


class Scheduler:
    """Samples from the supply to their records. `settings`: of the workers, by which samples are
    weighed; `secret`: what executors know a granted lease by
    (`engine.runtime.transport.clip_messages.seal`); `budget` as in `LeaseTable`; `rule`: how many
    clips of a sample are run."""

    def __init__(
        self,
        supply: Supply,
        num_classes: int,
        aggregator: Aggregator,
        settings: WorkerSettings,
        secret: bytes,
        *,
        budget: int,
        rule: ClipRule = ALL,
    ) -> None:
        self._supply, self._num_classes, self._aggregator = supply, num_classes, aggregator
        self._settings, self._secret = settings, secret
        self._stages = rule.stages(settings.recipe.views)
        self._poses: dict[int, PoseSequence] = {}  # of samples without a record
        self.table = LeaseTable(budget=budget, per_worker=2)

    @property
    def finished(self) -> bool:
        """Whether every sample has its record and none will come any more."""
        return self._supply.exhausted and not len(self.table)

    def refill(self) -> Iterator[Failure]:
        """Take samples in until a task waits. Those that cannot be used become failures."""
        while self.table.hungry and (sample := self._supply.next()) is not None:
            self._aggregator.take(sample)
            poses = sample.read(self._num_classes, self._settings.recipe)
            if isinstance(poses, Cause):
                yield self._aggregator.failure(sample.index, poses)
            else:
                self._poses[sample.index] = poses
                self.table.add(Task(sample.index, self._cost(poses)))

    def grant(
        self, now: float, workers: Sequence[str], executors: Sequence[str]
    ) -> tuple[str, Grant] | None:
        """The next lease, if one can be granted: (worker, the message that grants it)."""
        lease = self.table.grant(now, workers, executors)
        if lease is None:
            return None
        sealed = seal(self._secret, lease.number)
        poses = self._poses[lease.task.index]
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
                return self._aggregator.failure(self._complete(number, now)[0].task.index, cause)
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
            del self._poses[task.index]
            message = f"its {role} process died {task.deaths} times on it"
            stage = "decode" if role == "worker" else "infer"
            cause = Cause(stage, "ProcessDied", message)
            failures.append(self._aggregator.failure(task.index, cause))
        return failures

    def _cost(self, poses: PoseSequence) -> int:
        """Bytes in flight of a sample."""
        recipe = self._settings.recipe
        plan = clip_plan(poses.total_frames, recipe)
        persons = len(poses.keypoint)
        clips = clips_nbytes(self._settings.wire, len(plan.unique), persons, recipe)
        return 2 * (poses.nbytes + clips)  # the sender's and the receiver's

    def _complete(self, number: int, now: float) -> tuple[Lease, tuple[Note, ...]]:
        """A lease that has ended, and the notes of its poses."""
        lease = self.table.complete(number, now)
        assert lease is not None  # it is out
        return lease, self._poses.pop(lease.task.index).notes

    def _result(self, result: Result, now: float) -> Record:
        logits = check_array(result.logits, "logits", np.float32, (None, self._num_classes))
        if len(logits) not in self._stages:
            raise WireError(f"logits of {len(logits)} clips; {self._stages} are possible")
        lease, notes = self._complete(result.lease, now)
        self._aggregator.figures.peak_bytes = self.table.peak_bytes
        ms = {stage: 1e3 * s for stage, s in lease.seconds(result.busy, now).items()}
        return self._aggregator.score(lease.task.index, logits.copy(), result.padded, ms, notes)
