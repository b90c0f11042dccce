"""The supervisor: grants leases, watches children, ends what hangs.

Runs in the parent, with the aggregator. Workers and executors are its children, and guests may join
(`engine.runtime.guests`); what they say is `engine.runtime.mail`'s, every decision on a lease
`engine.runtime.leases`'. Supervision in short:

* a child that dies is replaced (`engine.runtime.pool`), and its leases are granted again;
* a child that has work and says nothing for too long is killed, which is a death;
* where nothing moves in spite of that, the state of everything is printed and the run ends.
"""

from __future__ import annotations

import atexit
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import zmq

from engine.base import signals
from engine.base.constants import VIEWS
from engine.base.errors import StallError, UsageError
from engine.base.events import PARENT, event
from engine.base.records import Facts, Record
from engine.runtime import diagnostics, processes
from engine.runtime.aggregator import Aggregator
from engine.runtime.guests import Guests
from engine.runtime.intake import Intake, Supply
from engine.runtime.leases import Stage
from engine.runtime.mail import Mail
from engine.runtime.pool import Pool
from engine.runtime.processes import Child
from engine.runtime.scheduler import Ledger
from engine.runtime.settings import SupervisorSettings
from engine.runtime.transport.messages import Stop
from engine.runtime.transport.sockets import Router

T = TypeVar("T")

log = logging.getLogger("engine")

_TURN_MS = 200  # longest wait, so that an interruption is noticed, and so is silence


class Supervisor:
    """Children, guests, leases and records of one run."""

    engines = 1

    def __init__(
        self,
        supply: Supply,
        num_classes: int,
        aggregator: Aggregator,
        settings: SupervisorSettings,
        interrupted: Callable[[], bool],
    ) -> None:
        processes.refuse_inside_import()
        self._figures, self._supply = aggregator.figures, supply
        self._settings, self._interrupted = settings, interrupted
        self._ledger = Ledger(
            Intake(supply, num_classes, settings.pool.worker, aggregator),
            aggregator,
            num_classes,
            settings.pool.executors[0].secret,
            budget=settings.max_memory,
            views=settings.pool.worker.views,
        )
        self._table = self._ledger.table
        self._guests = Guests(settings.pool.worker)
        self._last_look = time.monotonic()
        self._next_search = self._last_look  # for silence
        self._state = ""  # none before the first sample
        self.watchers: list[Callable[[float], None]] = []  # told the time, several times a second
        self._closed = False
        with signals.deferred():
            self._directory = processes.private_directory()
            largest = VIEWS * num_classes * 4  # a result's logits
            try:
                self._router = Router(self._directory, largest, settings.listening)
            except UsageError:
                shutil.rmtree(self._directory)
                raise
            self._pool = Pool(settings.pool, self._directory, self._router.address)
            self._mail = Mail(
                self._router,
                self._pool,
                self._guests,
                self._ledger,
                self._figures,
                settings.pool.workers,
            )
            atexit.register(self.close)  # for a consumer that never closes us

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
        facts = [one for _, one in sorted(self._mail.facts.items())]  # they came with READY
        return replace(facts[0], device=", ".join(dict.fromkeys(one.device for one in facts)))

    def records(self) -> Iterator[Record]:
        """One record for each sample, as they come. When interrupted, those of samples that
        are on their way still come, within the grace."""
        while not self._interrupted():
            yield from self._grant()
            if self._ledger.finished:
                return
            yield from self._step()
        yield from self._drain()

    def close(self, *, at_once: bool = False) -> None:
        """End the children and remove what they used. Safe to call twice."""
        if self._closed:
            return
        with signals.deferred():  # an impatient Ctrl-C must not leave half of it
            self._closed = True
            for name in [*(child.name for child in self._pool), *self._guests.names]:
                self._router.send(name, Stop())
            self._pool.close(at_once=at_once)
            self._router.close()
            shutil.rmtree(self._directory, ignore_errors=True)
            atexit.unregister(self.close)

    @property
    def max_batch(self) -> int:
        """Samples that run as one batch at most."""
        return self._mail.max_batch

    @property
    def port(self) -> int | None:
        """Where guests may connect."""
        return self._router.port

    @property
    def leases(self) -> int:
        """Samples on their way."""
        return len(self._table.leases)

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

    def _step(self) -> Iterator[Record]:
        self._look_at_the_clock()
        self._state = self._table.waits()
        for record in self._turn():
            self._pool.progressed()
            yield record

    def _drain(self) -> Iterator[Record]:
        """Finish what is on its way, while the grace lasts."""
        until, count = time.monotonic() + self._settings.grace, len(self._table.leases)
        log.warning(
            "interrupted: finishing %d samples that are on their way, for %g s at most "
            "(--grace); a second interruption ends at once",
            count,
            self._settings.grace,
            extra=event("draining", leases=count),
        )
        while self._table.leases and time.monotonic() < until:
            yield from self._step()

    # Deaths

    def _reap(self, child: Child) -> Iterator[Record]:
        """A child is dead: take its leases back and replace it, or give up."""
        stage = Stage.DECODING if child.role == "worker" else Stage.RUNNING
        for number in self._watched(lambda: self._pool.reap(child)):
            self._table.advance(number, stage, time.monotonic())
        convicted = self._ledger.lost(child.name, child.role, time.monotonic())
        self._figures.restarts += 1
        if not child.ready:  # it had no time to do anything; how often that may be, the pool says
            self._mail.last_move = time.monotonic()
        if not self._interrupted():
            self._pool.replace(child)
        yield from convicted

    def _end_silence(self, now: float) -> Iterator[Record]:
        """Kill children that have work and say nothing; their sentinel does the rest. Guests
        are given up. Raises `StallError` where nothing has moved for longer than anybody may
        be silent."""
        limits = self._settings.lease_timeout, self._settings.stall_timeout
        for name in self._table.silent(now, *limits):
            child = self._pool.get(name)
            if child is None:
                self._dump(f"{name} has work and says nothing; giving it up", "silent", name)
                yield from self._mail.part(name, "is gone", blame=True)
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
            self._mail.last_move = now
        patience = sum(limits) + self._settings.pool.start_timeout
        if now - self._mail.last_move > patience:
            error = StallError(
                f"nothing has moved for {patience:.0f} s (--lease-timeout, --stall-timeout and "
                "--start-timeout together)"
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
        found = diagnostics.snapshot(self._table, self._pool, self._guests.names, time.monotonic())
        spelt = "\n  ".join([f"{what}. The state of the run:", *diagnostics.lines(found)])
        log.warning("%s", spelt, extra=event(kind, process, **found))

    # Leases

    def _grant(self) -> Iterator[Record]:
        """Grant what fits. Samples that cannot be used become failures on the way."""
        workers = [child.name for child in self._pool.of_role("worker")]
        workers += self._guests.workers(time.monotonic())
        executors = [child.name for child in self._pool.of_role("executor")]
        while True:
            yield from self._ledger.refill()
            granted = self._ledger.grant(time.monotonic(), workers, executors)
            if granted is None:
                return
            self._router.send(*granted)

    # Messages

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
        yield from self._mail.read()
        for child in [child for child in self._pool if not child.alive]:
            yield from self._mail.read()  # what it said last counts
            yield from self._reap(child)
        now = self._look_at_the_clock()
        if now >= self._next_search:  # it takes a look at every lease, while limits are seconds
            self._next_search = now + _TURN_MS / 1e3
            yield from self._end_silence(now)

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
            self._mail.last_move += gap
        return now
