"""The supervisor: grants leases, watches children, ends what hangs.

Runs in the parent, with the aggregator. Comes in: what workers and executors, which are its
children, and guests (`engine.runtime.guests`) say. Goes out: records. Every decision on a lease is
`engine.runtime.scheduler`'s. Supervision in short:

* a child that dies is replaced (`engine.runtime.pool`), and its leases are granted again;
* a child that has work and says nothing for too long is killed, which is a death;
* where nothing moves in spite of that, the state of everything is printed and the run ends.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import zmq

from engine.base import signals
from engine.base.errors import StallError, UsageError, WireError, printable
from engine.base.events import PARENT, event
from engine.base.private import private_directory, remove_directory
from engine.base.records import Facts, Record
from engine.runtime import diagnostics, loop, processes
from engine.runtime.aggregator import Aggregator
from engine.runtime.guests import Guests
from engine.runtime.leases import Stage
from engine.runtime.pool import Pool
from engine.runtime.processes import Child
from engine.runtime.scheduler import Scheduler, Supply
from engine.runtime.settings import SupervisorSettings
from engine.runtime.transport import messages
from engine.runtime.transport.clip_messages import most_nbytes
from engine.runtime.transport.messages import FromChild, FromGuest, Hurry, OfLease, Stop
from engine.runtime.transport.sockets import GUESTS, Router
from engine.runtime.watchdog import Watchdog

T = TypeVar("T")

log = logging.getLogger("engine")

_TURN_MS = 200  # longest wait, so that an interruption is noticed, and so is silence


class Supervisor:
    """Children, guests, leases and records of one run. `max_batch`: samples that run as one batch
    at most."""

    engines = 1

    def __init__(
        self,
        supply: Supply,
        num_classes: int,
        aggregator: Aggregator,
        settings: SupervisorSettings,
        interruptions: Callable[[], int],
    ) -> None:
        processes.refuse_inside_import()
        self._figures, self._supply = aggregator.figures, supply
        self._settings, self._interruptions = settings, interruptions
        pool, budget = settings.pool, settings.max_memory
        device = pool.executors[0]
        self._scheduler = Scheduler(
            supply,
            num_classes,
            aggregator,
            pool.worker,
            device.secret,
            budget=budget,
            rule=device.rule,
        )
        self._table = self._scheduler.table
        self._guests = Guests(pool.worker)
        self._limits = settings.lease_timeout, settings.stall_timeout
        self._last_look = time.monotonic()
        self._next_search = self._last_look  # for silence
        self._watchdog = Watchdog(sum(self._limits) + pool.start_timeout, self._last_look)
        self._facts: dict[str, Facts] = {}  # of devices, by the slots of their executors
        self.max_batch = 0
        self._state = ""  # none before the first sample
        self.watchers: list[Callable[[float], None]] = []  # told the time, several times a second
        self._closed, self._pid = False, os.getpid()
        with signals.deferred():
            self._directory = private_directory()
            largest = pool.worker.recipe.views * num_classes * 4  # a result's logits
            self._router = Router(self._directory, largest)
            if settings.listening is not None:
                clips = most_nbytes(pool.worker.recipe), settings.max_memory
                self._router.listen(settings.listening, len(pool.executors), *clips)
            self._pool = Pool(pool, self._directory, self._router.address, self._watchdog)
            atexit.register(self.close)  # for a consumer that never closes us

    def launch(self) -> None:
        """Start the children, for who has something else to do before `start`."""
        self._pool.start()

    def start(self) -> Facts:
        """Start the children, unless that is done, and wait until all are READY. Returns the
        device's facts.

        Raises `UsageError` or `EngineError` where one cannot start.
        """
        if not any(self._pool):
            self.launch()
        self._router.await_ports()
        while not self._pool.complete:
            for _ in self._turn():
                pass
            if self._interruptions():
                raise KeyboardInterrupt
        facts = [one for _, one in sorted(self._facts.items())]  # they came with READY
        return replace(facts[0], device=", ".join(dict.fromkeys(one.device for one in facts)))

    def records(self) -> Iterator[Record]:
        """As `engine.runtime.loop.records`."""
        return loop.records(self, self._interruptions, self._settings.grace)

    def step(self, *, fresh: bool) -> Iterator[Record]:
        """As in `engine.runtime.loop.Steps`."""
        if fresh:
            yield from self._grant()
            if self.finished:
                return
        self._look_at_the_clock()
        self._state = self._table.waits()
        for record in self._turn():
            self._watchdog.recorded()
            yield record

    @property
    def finished(self) -> bool:
        """Whether every sample has its record and none will come any more."""
        return self._scheduler.finished

    @property
    def leases(self) -> int:
        """Samples on their way."""
        return len(self._table.leases)

    @property
    def port(self) -> int | None:
        """Where guests may connect."""
        return self._router.ports.get(GUESTS)

    @property
    def ready(self) -> int:
        """Children that are READY."""
        return sum(child.ready for child in self._pool)

    def processes(self) -> list[dict[str, Any]]:
        """The children: as in `engine.runtime.diagnostics`."""
        return diagnostics.processes(self._table, self._pool, time.monotonic())

    def waits(self) -> str:
        """Which stage waited for which until the last message came, in words."""
        return self._state

    def close(self, *, at_once: bool = False) -> None:
        """End the children and remove what they used. Safe to call twice, and in a process that
        was forked, whose they are not."""
        if self._closed or self._pid != os.getpid():
            return
        with signals.deferred():  # an impatient Ctrl-C must not leave half of it
            self._closed = True
            for name in [*(child.name for child in self._pool), *self._guests.names]:
                self._router.send(name, Stop())
            self._pool.close(at_once=at_once)
            self._router.close()
            remove_directory(self._directory)
            atexit.unregister(self.close)

    # The loop

    def _grant(self) -> Iterator[Record]:
        """Grant what fits. Samples that cannot be used become failures on the way."""
        workers = [child.name for child in self._pool.of_role("worker")]
        workers += self._guests.workers(time.monotonic())
        executors = [child.name for child in self._pool.of_role("executor")]
        while True:
            yield from self._scheduler.refill()
            granted = self._scheduler.grant(time.monotonic(), workers, executors)
            if granted is None:
                return
            self._router.send(*granted)

    def _turn(self) -> Iterator[Record]:
        """Wait a little for messages and deaths, and deal with them."""
        poller = zmq.Poller()
        for socket in self._router.sockets:
            poller.register(socket, zmq.POLLIN)
        for child in self._pool:
            poller.register(child.sentinel, zmq.POLLIN)
        if self._supply.fd is not None:
            poller.register(self._supply.fd, zmq.POLLIN)
        self._look_at_the_clock()
        poller.poll(_TURN_MS)
        self._supply.poll()
        now = self._look_at_the_clock()
        for watch in self.watchers:
            watch(now)
        yield from self._read()
        for child in [child for child in self._pool if not child.alive]:
            yield from self._read()  # what it said last counts
            yield from self._reap(child)
        now = self._look_at_the_clock()
        if now >= self._next_search:  # it takes a look at every lease, while limits are seconds
            self._next_search = now + _TURN_MS / 1e3
            yield from self._end_silence(now)
            self._hurry()

    def _hurry(self) -> None:
        """Let no batch wait for samples that cannot come: there are none, or those that there are
        wait for memory, or to run alone."""
        if self._supply.exhausted or self._table.waiting or self._interruptions():
            for executor in self._table.with_executors:
                self._router.send(executor, Hurry())

    def _look_at_the_clock(self) -> float:
        """Now. Far later than it should be: this process was stopped, or its consumer slept,
        and nobody could be heard meanwhile."""
        now = time.monotonic()
        gap, self._last_look = now - self._last_look, now
        if self._state:
            self._figures.states[self._state] = self._figures.states.get(self._state, 0.0) + gap
        if gap > 10 * _TURN_MS / 1e3:
            self._table.extend_deadlines(gap)
            self._pool.extend_deadlines(gap)
            self._watchdog.paused(gap)
        return now

    # Deaths, silence and stalls

    def _reap(self, child: Child) -> Iterator[Record]:
        """A child is dead: take its leases back and replace it, or give up."""
        stage = Stage.DECODING if child.role == "worker" else Stage.RUNNING
        for number in self._watched(lambda: self._pool.reap(child)):
            self._table.advance(number, stage, time.monotonic())
        convicted = self._scheduler.lost(child.name, child.role, time.monotonic())
        self._figures.restarts += 1
        if not child.ready:  # it had no time to do anything; the watchdog counts how often
            self._watchdog.moved(time.monotonic())
        if not self._interruptions():
            self._pool.replace(child)
        yield from convicted

    def _end_silence(self, now: float) -> Iterator[Record]:
        """Kill children that have work and say nothing; their sentinel does the rest. Guests
        are given up. Raises `StallError` where nothing has moved for longer than anybody may
        be silent."""
        for name in self._table.silent(now, *self._limits):
            child = self._pool.get(name)
            if child is None:
                self._dump(f"{name} has work and says nothing; giving it up", "silent", name)
                yield from self._part(name, "is gone", blame=True)
            elif not child.killed:
                limit = "lease" if child.role == "worker" else "stall"
                self._dump(
                    f"{name} has work and said nothing for longer than --{limit}-timeout; "
                    "killing it",
                    "silent",
                    name,
                )
                child.kill("silent")
        self._watched(lambda: self._pool.kill_late(now))
        if not len(self._table):  # a live source may have nothing to say
            self._watchdog.moved(now)
        if self._watchdog.stalled(now):
            error = StallError(
                f"nothing has moved for {self._watchdog.patience:.0f} s (--lease-timeout, "
                "--stall-timeout and --start-timeout together)"
            )
            self._dump(str(error), "stalled")
            raise error

    def _watched(self, action: Callable[[], T]) -> T:
        """What `action` returns. Where it finds a stall, say where everything is."""
        try:
            return action()
        except StallError as error:
            self._dump(str(error), "stalled")
            raise

    def _dump(self, what: str, kind: str, process: str = PARENT) -> None:
        """Say what has happened and where everything is."""
        now = time.monotonic()
        found = diagnostics.snapshot(self._table, self._pool, self._guests.names, now)
        diagnostics.dump(what, found, kind, process)

    # Messages

    def _read(self) -> Iterator[Record]:
        """Deal with what has come."""
        for name, message in self._router.receive():
            yield from self._heard(name, message)

    def _heard(self, name: str | None, message: FromChild | FromGuest | WireError) -> list[Record]:
        # No generator: one that a dying interpreter ends could name no exception any more.
        try:
            if isinstance(message, WireError):
                raise message
            child = self._pool.get(name) if name is not None else None
            if child is not None:
                return self._about_child(child, message)
            if name is not None and self._router.is_guest(name):
                return self._about_guest(name, message)
            if name is None or not self._pool.knew(name):
                raise WireError("it is from nobody we know")
        except WireError as error:
            self._dropped(str(error), name or PARENT)
        return []

    def _about_lease(self, name: str, message: OfLease) -> list[Record]:
        now = time.monotonic()
        self._watchdog.moved(now)
        record = self._scheduler.hear(name, message, now)
        return [record] if record is not None else []

    def _about_child(self, child: Child, message: FromChild | FromGuest) -> list[Record]:
        if isinstance(message, OfLease):
            return self._about_lease(child.name, message)
        match message:
            case messages.WorkerReady() | messages.ExecutorReady():
                self._ready(child, message)
            case messages.Fatal(reason):
                # What the first of its slot could do must be for the device, which may come back,
                # unless the model file was replaced.
                if child.incarnation == 1 or not self._settings.pool.executors[0].model.intact:
                    raise UsageError(reason)
                log.error("%s: %s", child.name, reason, extra=event("log", child.name))
            case messages.Dropped(reason):
                self._dropped(reason, child.name)
            case messages.Log(level, text):
                log.log(level, "%s: %s", child.name, text, extra=event("log", child.name))
        return []

    def _about_guest(self, name: str, message: FromChild | FromGuest) -> list[Record]:
        now = time.monotonic()
        if not self._guests.heard(name, now) and isinstance(message, OfLease):
            raise WireError("it is from a guest that has not joined")
        if isinstance(message, OfLease):
            return self._about_lease(name, message)
        match message:
            case messages.Join():
                self._router.send(name, self._guests.join(name, message))
            case messages.WorkerReady():
                self._guests.ready(name, now)
                self._introduce(workers=[name], executors=self._pool.of_role("executor"))
            case messages.Leave():
                return self._part(name, "left", blame=False)
            case messages.Dropped(reason):
                self._dropped(printable(reason)[:300], name)
        return []

    def _part(self, guest: str, reason: str, *, blame: bool) -> list[Record]:
        """A guest is gone: take its leases back."""
        self._guests.part(guest, reason)
        # should it still be there
        self._router.send(guest, Stop(f"the engine says that it {reason}"))
        self._router.forget(guest)
        return [*self._scheduler.lost(guest, "worker", time.monotonic(), blame=blame)]

    def _dropped(self, reason: str, process: str) -> None:
        """Count a message that is not one of ours; tell of it, but not of every one of a flood."""
        self._figures.dropped += 1
        count = self._figures.dropped
        if count < 10 or not count % 1000:
            about = event("dropped", process, reason=reason, count=count)
            log.warning("%s dropped a message: %s (%d so far)", process, reason, count, extra=about)

    def _ready(self, child: Child, message: messages.WorkerReady | messages.ExecutorReady) -> None:
        now = time.monotonic()
        self._pool.ready(child, message, now)
        child.port = self._router.ports.get(child.slot)
        self._watchdog.moved(now)
        if isinstance(message, messages.ExecutorReady):
            self._facts[child.slot] = message.facts
            self.max_batch = message.max_batch
            # one batch runs, the next one fills
            self._table.ahead = 2 * self.max_batch + self._settings.pool.workers
            workers = [one.name for one in self._pool.of_role("worker")]
            self._introduce([*workers, *self._guests.names], [child])
        else:
            self._introduce([child.name], self._pool.of_role("executor"))

    def _introduce(self, workers: list[str], executors: list[Child]) -> None:
        """Tell workers where executors take clips."""
        for worker in workers:
            for executor in executors:
                self._router.send(worker, self._pool.address_of(executor))
