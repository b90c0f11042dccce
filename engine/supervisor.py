"""The supervisor: grants leases, watches children, turns logits into records.

Runs in the parent, with the aggregator. Workers and executors are its children; every
message of theirs passes through one socket here, every decision on a lease is
`engine.leases`'. Supervision in short:

* a child that dies is replaced (`engine.pool`), and its leases are granted again;
* a child that has work and says nothing for too long is killed, which is a death.
"""

from __future__ import annotations

import atexit
import logging
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import zmq

from engine import executor, processes, signals, wire, worker
from engine.aggregator import Aggregator, Record
from engine.backends import Facts
from engine.constants import VIEWS
from engine.errors import EngineError, SampleError, UsageError, WireError
from engine.leases import LeaseTable, Stage, Task
from engine.pool import Pool, PoolSettings
from engine.poses import PoseSequence
from engine.processes import Child
from engine.sampling import clip_plan
from engine.sources.dataset import Sample
from engine.wire import Message

log = logging.getLogger("engine")

_TURN_MS = 200  # longest wait, so that an interruption is noticed


@dataclass(frozen=True)
class SupervisorSettings:
    """Which children, and within which limits."""

    pool: PoolSettings
    max_memory: int  # bytes in flight
    lease_timeout: float  # seconds of a worker's silence
    stall_timeout: float  # seconds of an executor's silence


class Supervisor:
    """Children, leases and records of one run."""

    def __init__(
        self,
        samples: list[Sample],
        num_classes: int,
        aggregator: Aggregator,
        settings: SupervisorSettings,
        interrupted: Callable[[], bool],
    ) -> None:
        processes.refuse_inside_import()
        self._fresh = iter(samples)
        self._aggregator = aggregator
        self._figures = aggregator.figures
        self._num_classes = num_classes
        self._settings = settings
        self._interrupted = interrupted
        self._poses: dict[int, PoseSequence] = {}
        max_batch = settings.pool.executors[0].max_batch
        self._table = LeaseTable(
            budget=settings.max_memory,
            ahead=2 * max_batch + settings.pool.workers,  # one batch runs, the next one fills
            per_worker=2,
        )
        self._lost_records: deque[Record] = deque()  # of samples convicted
        self._last_look = time.monotonic()
        self._state = ""  # none before the first sample
        self.facts: Facts | None = None

        self._context = zmq.Context()
        self._control: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        wire.limit(self._control, VIEWS * num_classes * 4)  # a result's logits
        with signals.deferred():
            self._directory = processes.private_directory()
            address = f"ipc://{self._directory}/control"
            self._pool = Pool(settings.pool, self._directory, address)
            atexit.register(self.close)  # for a consumer that never closes us
        self._control.bind(address)

    def start(self) -> Facts:
        """Start the children and wait until all are READY. Returns the device's facts.

        Raises `UsageError` or `EngineError` where one cannot start.
        """
        self._pool.start()
        while not self._pool.complete:
            for _ in self._turn():
                pass
            if self._interrupted():
                raise KeyboardInterrupt
        assert self.facts is not None  # it came with the executor's READY
        return self.facts

    def records(self) -> Iterator[Record]:
        """One record for each sample, as they come; ends early when interrupted."""
        while not self._interrupted():
            yield from self._grant()
            if not (len(self._table) or self._lost_records):
                return
            self._look_at_the_clock()
            self._state = self._table.waits()
            yield from self._turn()

    def close(self) -> None:
        """End the children and remove what they used. Safe to call twice."""
        with signals.deferred():  # an impatient Ctrl-C must not leave half of it
            for child in self._pool:
                self._send(child, Message("stop"))
            self._pool.close()
            self._control.close()
            self._context.term()
            shutil.rmtree(self._directory, ignore_errors=True)
            atexit.unregister(self.close)

    def waits(self) -> str:
        """Which stage waited for which until the last message came, in words."""
        return self._state

    # Deaths

    def _bury(self, child: Child) -> None:
        """A child is dead: take its leases back and replace it, or give up."""
        is_worker = child.role == "worker"
        stage = Stage.DECODING if is_worker else Stage.RUNNING
        for number in self._pool.bury(child):
            self._table.advance(number, stage, time.monotonic())
        convicted = self._table.lost(child.name)
        self._figures.restarts += 1
        self._pool.replace(child)  # before a consumer may walk away
        for task in convicted:
            self._poses.pop(task.index)
            self._pool.thrives()
            message = f"its {child.role} process died {task.deaths} times on it"
            about = "decode" if is_worker else "infer", "ProcessDied", message
            self._lost_records.append(self._aggregator.failure(task.index, *about))

    def _kill_silent(self, now: float) -> None:
        """Kill children that have work and say nothing; their sentinel does the rest."""
        limits = self._settings.lease_timeout, self._settings.stall_timeout
        for name in self._table.silent(now, *limits):
            child = self._pool.get(name)
            if child is not None and not child.killed:
                stages = Counter(lease.stage.name for lease in self._table.leases)
                limit = "lease" if child.role == "worker" else "stall"
                log.warning(
                    "%s has work and said nothing for longer than --%s-timeout; killing it. "
                    "Leases: %s; waiting: %d", child.name, limit, dict(stages), self._table.waiting,
                )  # fmt: skip
                child.kill()

    # Leases

    def _grant(self) -> Iterator[Record]:
        """Grant what fits. Samples that cannot be used become failures on the way."""
        while True:
            while self._table.hungry and (sample := next(self._fresh, None)) is not None:
                try:
                    poses = sample.poses(self._num_classes)
                    if poses.nbytes > wire.MAX_POSES:
                        raise SampleError(
                            f"{poses.nbytes / 1e9:.1f} GB of poses; a message holds "
                            f"{wire.MAX_POSES / 1e9:.1f} GB"
                        )
                except SampleError as error:
                    yield self._aggregator.fail(sample.index, error.stage, error)
                    continue
                except Exception as error:
                    # Whatever else an annotation provokes concerns that sample only.
                    yield self._aggregator.fail(sample.index, "read", error)
                    continue
                self._poses[sample.index] = poses
                unique = len(clip_plan(poses.total_frames).unique)
                kind, persons = self._settings.pool.worker.wire, len(poses.keypoint)
                cost = wire.clips_nbytes(kind, unique, persons)
                # the sender's copy and the receiver's
                self._table.add(Task(sample.index, 2 * cost))
            workers = {child.name: child for child in self._pool.of_role("worker")}
            executors = [child.name for child in self._pool.of_role("executor")]
            lease = self._table.grant(time.monotonic(), workers, executors)
            if lease is None:
                return
            poses = self._poses[lease.task.index]
            message = worker.lease_message(lease.number, lease.executor, poses)
            self._send(workers[lease.worker], message)

    # Messages

    def _send(self, child: Child, message: Message) -> None:
        # A peer that is gone gets nothing; its death is noticed by its sentinel.
        self._control.send_multipart([child.name.encode(), *wire.encode(message)])

    def _turn(self) -> Iterator[Record]:
        """Wait a little for messages and deaths, and deal with them."""
        poller = zmq.Poller()
        poller.register(self._control, zmq.POLLIN)
        for child in self._pool:
            poller.register(child.sentinel, zmq.POLLIN)
        self._look_at_the_clock()
        poller.poll(_TURN_MS)
        self._look_at_the_clock()
        yield from self._receive()
        for child in [child for child in self._pool if not child.alive]:
            yield from self._receive()  # what it said last counts
            self._bury(child)
        while self._lost_records:
            yield self._lost_records.popleft()
        now = self._look_at_the_clock()
        self._kill_silent(now)
        self._pool.kill_late(now)

    def _look_at_the_clock(self) -> float:
        """Now. Far later than it should be: this process was stopped, or its consumer slept,
        and nobody could be heard meanwhile."""
        now = time.monotonic()
        gap, self._last_look = now - self._last_look, now
        if self._state:
            self._figures.states[self._state] = self._figures.states.get(self._state, 0.0) + gap
        if gap > 10 * _TURN_MS / 1e3:
            self._table.forgive(gap)
            self._pool.forgive(gap)
        return now

    def _receive(self) -> Iterator[Record]:
        while True:
            try:
                sender, message = wire.receive(self._control, routed=True)
                child = self._pool.get(sender.decode(errors="replace"))
                if child is None:
                    continue
                record = self._handle(child, message)
            except zmq.Again:
                return
            except (WireError, LookupError, TypeError, ValueError) as error:
                self._figures.dropped += 1
                log.warning("dropped a message: %s", error)
                continue
            if record is not None:
                yield record

    def _handle(self, child: Child, message: Message) -> Record | None:
        now, fields, kind = time.monotonic(), message.fields, message.kind
        table = self._table
        if kind == "ready":
            self._ready(child, message)
        elif kind == "decoding":
            table.advance(fields["lease"], Stage.DECODING, now)
        elif kind == "sent":
            self._figures.decode_s += fields["busy"]
            self._figures.bytes_sent += fields["bytes"]
            lease = table.advance(fields["lease"], Stage.SENT, now)
            if lease is not None:
                lease.decode_s = fields["busy"]
        elif kind == "queued":
            table.advance(fields["lease"], Stage.QUEUED, now)
        elif kind == "running":
            for number in fields["leases"]:
                table.advance(number, Stage.RUNNING, now)
        elif kind == "result":
            return self._result(message, now)
        elif kind == "failed":
            lease = table.complete(fields["lease"], now)
            if lease is not None:
                self._pool.thrives()
                self._poses.pop(lease.task.index)
                about = fields["stage"], fields["type"], fields["message"]
                return self._aggregator.failure(lease.task.index, *about)
        elif kind == "fatal":
            raise (UsageError if fields["usage"] else EngineError)(fields["message"])
        elif kind == "dropped":
            self._figures.dropped += 1
            log.warning("%s dropped a message: %s", child.name, fields["message"])
        else:
            raise WireError(f"a message of kind {kind!r:.20}")
        return None

    def _ready(self, child: Child, message: Message) -> None:
        log.debug("%s is ready: %s", child.name, message.fields)
        if child.role == "executor":
            self.facts = executor.facts_from(message.fields)
        self._pool.ready(child)
        if child.role == "executor":
            for one in self._pool.of_role("worker"):
                self._announce(one, child)
        else:
            for one in self._pool.of_role("executor"):
                self._announce(child, one)

    def _announce(self, worker_child: Child, executor_child: Child) -> None:
        """Tell a worker where an executor takes clips."""
        fields = {"slot": executor_child.slot, "name": executor_child.name,
                  "endpoint": self._pool.endpoint(executor_child.name)}  # fmt: skip
        self._send(worker_child, Message("executor", fields))

    # Records

    def _result(self, message: Message, now: float) -> Record | None:
        fields = message.fields
        logits = wire.check_array(
            message.arrays[0], "logits", np.float32, (VIEWS, self._num_classes)
        )
        busy, padded = float(fields["busy"]), int(fields["padded"])
        lease = self._table.complete(fields["lease"], now)
        if lease is None:  # done already, or leased again
            return None
        self._figures.peak_bytes = self._table.peak_bytes
        self._pool.thrives()
        self._poses.pop(lease.task.index)
        ms = {stage: 1e3 * s for stage, s in lease.seconds(busy, now).items()}
        return self._aggregator.score(lease.task.index, logits.copy(), padded, ms)
