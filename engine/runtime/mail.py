"""The mail: what children and guests say, and what follows from it.

Comes in: messages, through `engine.runtime.transport.sockets`. Goes out: records, and answers. What
concerns leases is passed on to `engine.runtime.scheduler`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict

from engine.base.errors import UsageError, WireError, printable
from engine.base.events import PARENT, event
from engine.base.records import Facts, Figures, Record
from engine.runtime.guests import Guests
from engine.runtime.pool import Pool
from engine.runtime.processes import Child
from engine.runtime.scheduler import Ledger
from engine.runtime.transport.messages import (
    Decoding,
    Dropped,
    ExecutorAddress,
    ExecutorReady,
    Failed,
    Fatal,
    FromChild,
    FromGuest,
    Join,
    Leave,
    Log,
    OfLease,
    Queued,
    Result,
    Running,
    Sent,
    Stop,
    WorkerReady,
)
from engine.runtime.transport.sockets import Router

log = logging.getLogger("engine")


class Mail:
    """Reads and answers. `workers`: how many of our own there are.

    `facts`: what executors say of their devices, by slot. `max_batch`: samples, as they say.
    `last_move`: when work last went on.
    """

    def __init__(
        self,
        router: Router,
        pool: Pool,
        guests: Guests,
        ledger: Ledger,
        figures: Figures,
        workers: int,
    ) -> None:
        self._router, self._pool, self._guests = router, pool, guests
        self._ledger, self._figures, self._workers = ledger, figures, workers
        self.facts: dict[str, Facts] = {}
        self.max_batch = 0
        self.last_move = time.monotonic()

    def read(self) -> Iterator[Record]:
        """Deal with what has come."""
        for name, message in self._router.receive():
            yield from self._heard(name, message)

    def part(self, guest: str, reason: str, *, blame: bool) -> list[Record]:
        """A guest is gone: take its leases back."""
        if self._guests.part(guest):
            log.warning("%s %s", guest, reason, extra=event("parted", guest, reason=reason))
        # should it still be there
        self._router.send(guest, Stop(f"the engine says that it {reason}"))
        self._router.forget(guest)
        return [*self._ledger.lost(guest, "worker", time.monotonic(), blame=blame)]

    def _heard(self, name: str | None, message: FromChild | FromGuest | WireError) -> list[Record]:
        # No generator: one that a dying interpreter ends could name no exception any more.
        try:
            if isinstance(message, WireError):
                raise message
            return self._handle(name, message)
        except WireError as error:
            self._dropped(str(error), name or PARENT)
            return []

    def _handle(self, name: str | None, message: FromChild | FromGuest) -> list[Record]:
        child = self._pool.get(name) if name is not None else None
        if child is not None:
            return self._about_child(child, message)
        if name is not None and self._router.is_guest(name):
            return self._about_guest(name, message)
        if name is None or not self._pool.knew(name):
            raise WireError("it is from nobody we know")
        return []

    def _about_lease(self, name: str, message: OfLease) -> list[Record]:
        self.last_move = time.monotonic()
        record = self._ledger.hear(name, message, self.last_move)
        return [record] if record is not None else []

    def _dropped(self, reason: str, process: str) -> None:
        """Count a message that is not one of ours; tell of it, but not of every one of a flood."""
        self._figures.dropped += 1
        count = self._figures.dropped
        if count < 10 or not count % 1000:
            log.warning(
                "%s dropped a message: %s (%d so far)",
                process,
                reason,
                count,
                extra=event("dropped", process, reason=reason, count=count),
            )

    def _about_child(self, child: Child, message: FromChild | FromGuest) -> list[Record]:
        match message:
            case WorkerReady() | ExecutorReady():
                self._ready(child, message)
            case Fatal(reason):
                if child.incarnation == 1:
                    raise UsageError(reason)
                # What the first of its slot could do must be for the device; it may come back.
                log.error("%s: %s", child.name, reason, extra=event("log", child.name))
            case Dropped(reason):
                self._dropped(reason, child.name)
            case Log(level, text):
                log.log(level, "%s: %s", child.name, text, extra=event("log", child.name))
            case Decoding() | Sent() | Queued() | Running() | Result() | Failed():
                return self._about_lease(child.name, message)
        return []

    def _about_guest(self, name: str, message: FromChild | FromGuest) -> list[Record]:
        now = time.monotonic()
        joined = self._guests.heard(name, now)
        match message:
            case Join():
                answer, host = self._guests.join(name, message), printable(message.host)[:100]
                log.warning(
                    "%s (%s): %s",
                    name,
                    host,
                    answer.kind,
                    extra=event("joining", name, host=host, answer=answer.kind),
                )
                self._router.send(name, answer)
            case WorkerReady():
                self._guests.ready(name, now)
                for one in self._pool.of_role("executor"):
                    self._announce(name, one)
            case Leave():
                return self.part(name, "left", blame=False)
            case Dropped(reason):
                self._dropped(printable(reason)[:300], name)
            case Decoding() | Sent() | Failed():
                if not joined:
                    raise WireError("it is from a guest that has not joined")
                return self._about_lease(name, message)
        return []

    def _ready(self, child: Child, message: WorkerReady | ExecutorReady) -> None:
        if isinstance(message, ExecutorReady) != (child.role == "executor"):
            raise WireError(f"{message.kind} from one of another role")
        self.last_move = time.monotonic()
        seconds = self.last_move - child.started
        facts = asdict(message.facts if isinstance(message, ExecutorReady) else message)
        log.debug(
            "%s is ready after %.1f s: %s",
            child.name,
            seconds,
            facts,
            extra=event("ready", child.name, seconds=seconds, facts=facts),
        )
        self._pool.ready(child)
        if isinstance(message, ExecutorReady):
            self.facts[child.slot], child.port = message.facts, message.port
            self.max_batch = message.max_batch
            # one batch runs, the next one fills
            self._ledger.table.ahead = 2 * self.max_batch + self._workers
            workers = [one.name for one in self._pool.of_role("worker")]
            for name in [*workers, *self._guests.names]:
                self._announce(name, child)
        else:
            for one in self._pool.of_role("executor"):
                self._announce(child.name, one)

    def _announce(self, worker: str, executor: Child) -> None:
        """Tell a worker where an executor takes clips."""
        endpoint = self._pool.endpoint(executor.name)
        address = ExecutorAddress(executor.slot, executor.name, endpoint, executor.port)
        self._router.send(worker, address)
