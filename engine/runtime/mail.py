"""The mail: what children and guests say, and what follows from it.

Comes in: messages, through `engine.runtime.transport.sockets`. Goes out: records, and answers. What
concerns leases is passed on to `engine.runtime.scheduler`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from engine.base.errors import UsageError, WireError, printable
from engine.base.events import PARENT, event
from engine.base.records import Facts, Figures, Record
from engine.runtime import executor
from engine.runtime.guests import Guests
from engine.runtime.pool import Pool
from engine.runtime.processes import Child
from engine.runtime.scheduler import OF_LEASES, OF_WORKERS, Ledger
from engine.runtime.transport.sockets import Exchange
from engine.runtime.transport.wire import Message

log = logging.getLogger("engine")


class Mail:
    """Reads and answers. `workers`: how many of our own there are.

    `facts`: what executors say of their devices, by slot. `max_batch`: samples, as they say.
    `last_move`: when work last went on.
    """

    def __init__(
        self,
        exchange: Exchange,
        pool: Pool,
        guests: Guests,
        ledger: Ledger,
        figures: Figures,
        workers: int,
    ) -> None:
        self._exchange, self._pool, self._guests = exchange, pool, guests
        self._ledger, self._figures, self._workers = ledger, figures, workers
        self.facts: dict[str, Facts] = {}
        self.max_batch = 0
        self.last_move = time.monotonic()

    def read(self) -> Iterator[Record]:
        """Deal with what has come."""
        for name, message in self._exchange.receive():
            yield from self._heard(name, message)

    def part(self, guest: str, reason: str, *, blame: bool) -> list[Record]:
        """A guest is gone: take its leases back."""
        if self._guests.part(guest):
            log.warning("%s %s", guest, reason, extra=event("parted", guest, reason=reason))
        # should it still be there
        self._exchange.send(guest, Message("stop", {"reason": f"the engine says that it {reason}"}))
        self._exchange.forget(guest)
        return [*self._ledger.lost(guest, "worker", time.monotonic(), blame=blame)]

    def _heard(self, name: str | None, message: Message | WireError) -> list[Record]:
        # No generator: one that a dying interpreter ends could name no exception any more.
        try:
            if isinstance(message, WireError):
                raise message
            return self._handle(name, message)
        except (WireError, LookupError, TypeError, ValueError) as error:
            self._dropped(str(error), name or PARENT)
            return []

    def _handle(self, name: str | None, message: Message) -> list[Record]:
        child = self._pool.get(name) if name is not None else None
        if child is not None and message.kind not in OF_LEASES:
            self._about_child(child, message)
        elif child is not None:
            return self._about_lease(child.name, message)
        elif name is not None and self._exchange.is_guest(name):
            joined = self._guests.heard(name, time.monotonic())
            if joined and message.kind in OF_WORKERS:
                return self._about_lease(name, message)
            return self._about_guest(name, message)
        elif name is None or not self._pool.knew(name):
            raise WireError("it is from nobody we know")
        return []

    def _about_lease(self, name: str, message: Message) -> list[Record]:
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

    def _about_child(self, child: Child, message: Message) -> None:
        fields, kind = message.fields, message.kind
        if kind == "ready":
            self._ready(child, fields)
        elif kind == "fatal":
            if child.incarnation == 1:
                raise UsageError(str(fields["message"]))
            # What the first of its slot could do must be for the device; it may come back.
            log.error("%s: %s", child.name, fields["message"], extra=event("log", child.name))
        elif kind == "dropped":
            self._dropped(str(fields["message"]), child.name)
        elif kind == "log":
            level, text = int(fields["level"]), str(fields["message"])
            log.log(level, "%s: %s", child.name, text, extra=event("log", child.name))
        else:
            raise WireError(f"a message of kind {kind!r:.20}")

    def _about_guest(self, name: str, message: Message) -> list[Record]:
        now, kind = time.monotonic(), message.kind
        if kind == "join":
            answer = self._guests.join(name, message.fields)
            host = printable(message.fields.get("host"))[:100]
            log.warning(
                "%s (%s): %s",
                name,
                host,
                answer.kind,
                extra=event("joining", name, host=host, answer=answer.kind),
            )
            self._exchange.send(name, answer)
        elif kind == "ready":
            self._guests.ready(name, now)
            for one in self._pool.of_role("executor"):
                self._announce(name, one)
        elif kind == "leave":
            return self.part(name, "left", blame=False)
        elif kind == "dropped":
            self._dropped(printable(message.fields["message"])[:300], name)
        elif kind != "alive":
            raise WireError(f"a message of kind {kind!r:.20} from a guest")
        return []

    def _ready(self, child: Child, fields: dict[str, Any]) -> None:
        self.last_move = time.monotonic()
        seconds, facts = self.last_move - child.started, fields["facts"]
        log.debug(
            "%s is ready after %.1f s: %s",
            child.name,
            seconds,
            facts,
            extra=event("ready", child.name, seconds=seconds, facts=facts),
        )
        self._pool.ready(child)
        if child.role == "executor":
            self.facts[child.slot], child.port = executor.facts_from(fields), fields["port"]
            self.max_batch = int(fields["max_batch"])
            # one batch runs, the next one fills
            self._ledger.table.ahead = 2 * self.max_batch + self._workers
            workers = [one.name for one in self._pool.of_role("worker")]
            for name in [*workers, *self._guests.names]:
                self._announce(name, child)
        else:
            for one in self._pool.of_role("executor"):
                self._announce(child.name, one)

    def _announce(self, worker_name: str, child: Child) -> None:
        """Tell a worker where an executor takes clips."""
        fields = {
            "slot": child.slot,
            "name": child.name,
            "endpoint": self._pool.endpoint(child.name),
            "port": child.port,
        }
        self._exchange.send(worker_name, Message("executor", fields))
