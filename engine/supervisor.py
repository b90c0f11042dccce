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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import zmq

from engine import executor, processes, signals, wire, worker
from engine.aggregator import Aggregator, Record
from engine.backends import Facts
from engine.constants import VIEWS
from engine.errors import EngineError, SampleError, StallError, UsageError, WireError
from engine.events import PARENT, event
from engine.leases import LeaseTable, Stage, Task
from engine.pool import Pool, PoolSettings
from engine.poses import PoseSequence
from engine.processes import Child
from engine.sampling import clip_plan
from engine.snapshot import lines as snapshot_lines
from engine.snapshot import snapshot
from engine.sources.dataset import Sample
from engine.wire import Message

T = TypeVar("T")

log = logging.getLogger("engine")

_TURN_MS = 200  # longest wait, so that an interruption is noticed


@dataclass(frozen=True)
class SupervisorSettings:
    """Which children, and within which limits."""

    pool: PoolSettings
    max_memory: int  # bytes in flight
    lease_timeout: float  # seconds of a worker's silence
    stall_timeout: float  # seconds of an executor's silence
    grace: float  # seconds to finish what is on its way after an interruption


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
        self._last_look = self._last_move = time.monotonic()
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
        """One record for each sample, as they come. When interrupted, those of samples that
        are on their way still come, within the grace."""
        while not self._interrupted():
            yield from self._grant()
            if not len(self._table):
                return
            yield from self._step()
        yield from self._drain()

    def close(self, *, at_once: bool = False) -> None:
        """End the children and remove what they used. Safe to call twice."""
        with signals.deferred():  # an impatient Ctrl-C must not leave half of it
            for child in self._pool:
                self._send(child, Message("stop"))
            self._pool.close(at_once=at_once)
            self._control.close()
            self._context.term()
            shutil.rmtree(self._directory, ignore_errors=True)
            atexit.unregister(self.close)

    def waits(self) -> str:
        """Which stage waited for which until the last message came, in words."""
        return self._state

    def _step(self) -> Iterator[Record]:
        self._look_at_the_clock()
        self._state = self._table.waits()
        yield from self._turn()

    def _drain(self) -> Iterator[Record]:
        """Finish what is on its way, while the grace lasts."""
        until, count = time.monotonic() + self._settings.grace, len(self._table.leases)
        log.warning("interrupted: finishing %d samples that are on their way, for %g s at most "
                    "(--grace); a second signal ends at once",
                    count, self._settings.grace, extra=event("draining", leases=count))  # fmt: skip
        while self._table.leases and time.monotonic() < until:
            yield from self._step()

    # Deaths

    def _bury(self, child: Child) -> Iterator[Record]:
        """A child is dead: take its leases back and replace it, or give up."""
        is_worker = child.role == "worker"
        stage = Stage.DECODING if is_worker else Stage.RUNNING
        for number in self._watched(lambda: self._pool.bury(child)):
            self._table.advance(number, stage, time.monotonic())
        convicted = self._table.lost(child.name)
        self._figures.restarts += 1
        if not self._interrupted():
            self._pool.replace(child)
        for task in convicted:
            self._poses.pop(task.index)
            self._pool.thrives()
            message = f"its {child.role} process died {task.deaths} times on it"
            about = "decode" if is_worker else "infer", "ProcessDied", message
            yield self._aggregator.failure(task.index, *about)

    def _kill_silent(self, now: float) -> None:
        """Kill children that have work and say nothing; their sentinel does the rest. Raises
        `StallError` where everybody has been silent for longer than anybody may be."""
        limits = self._settings.lease_timeout, self._settings.stall_timeout
        for name in self._table.silent(now, *limits):
            child = self._pool.get(name)
            if child is not None and not child.killed:
                limit = "lease" if child.role == "worker" else "stall"
                self._dump(f"{name} has work and said nothing for longer than --{limit}-timeout; "
                           "killing it", "silent", name)  # fmt: skip
                child.kill("silent")
        patience = sum(limits) + self._settings.pool.start_timeout
        if now - self._last_move > patience:
            raise StallError(f"nothing has moved for {patience:.0f} s")

    def _dump(self, what: str, kind: str, process: str = PARENT) -> None:
        """Say what has happened and where everything is."""
        found = snapshot(self._table, self._pool, time.monotonic())
        spelt = "\n  ".join([f"{what}. The state of the run:", *snapshot_lines(found)])
        log.warning("%s", spelt, extra=event(kind, process, **found))

    def _watched(self, action: Callable[[], T]) -> T:
        """What `action` returns. Where it finds a stall, say where everything is."""
        try:
            return action()
        except StallError as error:
            self._dump(str(error), "stalled")
            raise

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
                cost = poses.nbytes + wire.clips_nbytes(kind, unique, persons)
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
            yield from self._bury(child)
        now = self._look_at_the_clock()
        self._watched(lambda: self._kill_silent(now))
        self._watched(lambda: self._pool.kill_late(now))

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
            self._last_move += gap
        return now

    def _receive(self) -> Iterator[Record]:
        for _ in range(wire.AT_ONCE):
            try:
                sender, message = wire.receive(self._control, routed=True)
                name = sender.decode(errors="replace")
                child = self._pool.get(name)
                if child is None:
                    if not self._pool.knew(name):
                        self._dropped("it is from nobody we know")
                    continue
                record = self._handle(child, message)
            except zmq.Again:
                return
            except (WireError, LookupError, TypeError, ValueError) as error:
                self._dropped(str(error))
                continue
            if record is not None:
                yield record

    def _dropped(self, reason: str, process: str = PARENT) -> None:
        """Count a message that is not one of ours; tell of it, but not of every one of a flood."""
        self._figures.dropped += 1
        count = self._figures.dropped
        if count < 10 or not count % 1000:
            log.warning("%s dropped a message: %s (%d so far)", process, reason, count,
                        extra=event("dropped", process, reason=reason, count=count))  # fmt: skip

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
            # What the first of a slot could do is a matter of the device, not of usage.
            usage = fields["usage"] and child.incarnation == 1
            raise (UsageError if usage else EngineError)(fields["message"])
        elif kind == "dropped":
            self._dropped(str(fields["message"]), child.name)
            return None
        elif kind == "log":
            level, text = int(fields["level"]), str(fields["message"])
            log.log(level, "%s: %s", child.name, text, extra=event("log", child.name))
        else:
            raise WireError(f"a message of kind {kind!r:.20}")
        self._last_move = now
        return None

    def _ready(self, child: Child, message: Message) -> None:
        seconds, facts = time.monotonic() - child.started, message.fields["facts"]
        log.debug("%s is ready after %.1f s: %s", child.name, seconds, facts,
                  extra=event("ready", child.name, seconds=seconds, facts=facts))  # fmt: skip
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
        self._last_move = now
        self._figures.peak_bytes = self._table.peak_bytes
        self._pool.thrives()
        self._poses.pop(lease.task.index)
        ms = {stage: 1e3 * s for stage, s in lease.seconds(busy, now).items()}
        return self._aggregator.score(lease.task.index, logits.copy(), padded, ms)
