"""The run on a cluster: drives the engines on its nodes, and turns what they say into records.

One call of an engine is on its way at a time: it takes samples there and comes back with records.
Engines live as long as Ray can place them (``max_restarts=-1``), and no call is ever repeated by
Ray (``max_task_retries=0``): what becomes of the samples of one that died is decided by
`engine.runtime.cluster.shards`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from engine.base.errors import StallError, UsageError, WorkerError, printable
from engine.base.events import event
from engine.base.records import Cause, Facts, Failure, Record
from engine.base.version import __version__
from engine.runtime import loop
from engine.runtime.aggregator import Aggregator
from engine.runtime.cluster.actor import Engine, Refused, Report, Started
from engine.runtime.cluster.nodes import Place, connect, places
from engine.runtime.cluster.payloads import files_of, light, options_of
from engine.runtime.cluster.shards import Shards
from engine.runtime.limits import MAX_DEATHS, MAX_FAILED_STARTS
from engine.runtime.setup import Setup
from engine.runtime.watchdog import Watchdog, overdue
from engine.skeletons.samples import Sample

log = logging.getLogger("engine")

_TURN_S = 0.2  # longest wait, so that an interruption is noticed
_REPORTS_S = 0.5  # from one to the next, and there and back
_REST_S = 1.0  # before a start is tried again
_PLACE_S = 30.0  # after which it is told that there is none for an engine
_CLOSING_S = 10.0  # that engines get to end their processes


@dataclass(eq=False)
class _Link:
    """An engine as it is seen from here. `call`: what is on its way, since `since`; `started`: what
    it said of this life; `again`: when to try to start it."""

    name: str
    place: Place
    actor: Any
    call: Any = None
    since: float = 0.0
    started: Started | None = None
    again: float = 0.0
    rate: float = 0.0  # records/s of its last report
    waits: str = "starting"


class ClusterDriver:
    """As `engine.runtime.supervisor.Supervisor` is to one machine."""

    port = None

    def __init__(
        self,
        samples: Iterator[Sample],
        count: int,
        setup: Setup,
        aggregator: Aggregator,
        interruptions: Callable[[], int],
    ) -> None:
        assert setup.options.cluster is not None
        self._samples, self._setup, self._aggregator = samples, setup, aggregator
        self._untaken = count
        self._interruptions = interruptions
        self._shards, self._taken = Shards(), dict[int, Sample]()
        self._exhausted = self._closed = False
        options = setup.options
        self._patience = options.lease_timeout + options.stall_timeout + options.start_timeout
        self._watchdog = Watchdog(2 * self._patience, time.monotonic())
        self.watchers: list[Callable[[float], None]] = []  # told the time, several times a second
        self._seen: set[str] = set()  # engines that have been ready
        self._told = False  # that some wait for a place
        self.max_batch = 0  # samples, as engines say
        self._ray, self._ours = connect(setup.options.cluster)
        try:
            self._files = self._ray.put(files_of(setup.model))
            self._options = self._ray.put(options_of(setup))
            self._links = [
                _Link(f"engine-{number}", place, self._actor(place))
                for number, place in enumerate(places(self._ray, setup, setup.options.engines), 1)
            ]
        except BaseException:
            self._leave()
            raise

    def _actor(self, place: Place) -> Any:
        remote = self._ray.remote(Engine)
        return remote.options(max_restarts=-1, max_task_retries=0, **place.options()).remote()

    def start(self) -> Facts:
        """Start the engines and wait until one is ready; the others join as they are. Returns
        the facts of its device.

        Raises `UsageError` or `EngineError` where none can start.
        """
        begun = time.monotonic()
        patience = self._setup.options.start_timeout
        while not (ready := [link.started for link in self._links if link.started is not None]):
            if self._interruptions():
                raise KeyboardInterrupt
            for _ in self.step():
                pass
            if time.monotonic() - begun > patience:
                raise WorkerError(
                    f"no engine was ready within {patience:g} s (--start-timeout). Each asks Ray "
                    f"for {self._links[0].place}; it has {self._ray.available_resources()} left"
                )
        return ready[0].facts

    def records(self) -> Iterator[Record]:
        """As `engine.runtime.loop.records`."""
        return loop.records(self, self._interruptions, self._setup.options.grace)

    @property
    def finished(self) -> bool:
        """Whether every sample has its record."""
        return self._exhausted and not len(self._shards)

    @property
    def leases(self) -> int:
        """Samples that are with an engine."""
        return sum(self._shards.held(link.name) for link in self._links)

    def close(self, *, at_once: bool = False) -> None:
        """End the engines. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if not at_once:
            closing = [link.actor.close.remote() for link in self._links if link.started]
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSING_S)
        for link in self._links:
            self._ray.kill(link.actor)
        self._leave()

    def _leave(self) -> None:
        if self._ours:
            self._ray.shutdown()

    @property
    def engines(self) -> int:
        """How many have been ready, at least one."""
        return max(1, len(self._seen))

    def processes(self) -> list[dict[str, Any]]:
        """The engines, each with what is known of it."""
        now, unknown = time.monotonic(), {"killed": None, "age": 0.0, "rss": 0, "cpu": 0.0}
        return [
            {
                **unknown,
                "process": link.name,
                "pid": link.started.pid if link.started else 0,
                "host": link.started.host if link.started else "",
                "ready": link.started is not None,
                "silent": round(now - link.since, 3) if link.call is not None else 0.0,
                "state": link.waits,
            }
            for link in self._links
        ]

    def waits(self) -> str:
        """How many engines are ready, and what those are at."""
        ready = [link for link in self._links if link.started is not None]
        states = " and ".join(dict.fromkeys(link.waits for link in ready))
        return f"{len(ready)} of {len(self._links)} engines ready: {states or 'starting'}"

    def step(self, *, fresh: bool = True) -> Iterator[Record]:
        """As in `engine.runtime.loop.Steps`: give engines what they have room for, wait a
        little, and deal with what comes back."""
        now = time.monotonic()
        for watch in self.watchers:
            watch(now)
        for link in self._links:
            if link.call is None and now >= link.again:
                self._ask(link, now, fresh)
        calls = {link.call: link for link in self._links if link.call is not None}
        if not calls:
            time.sleep(_TURN_S)
            return
        self._ray.wait(list(calls), num_returns=1, timeout=_TURN_S)
        done, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)
        for call in done:
            yield from self._heard(calls[call])
        self._check_silence(time.monotonic())

    def _ask(self, link: _Link, now: float, fresh: bool) -> None:
        """Start an engine, or let it work, if it has or can have anything."""
        if link.started is None:
            link.call = link.actor.start.remote(
                __version__,
                self._options,
                self._files,
                self._setup.model.sha256,
                link.place.cores,
            )
        else:
            granted = self._granted(link) if fresh else []
            if not granted and not self._shards.held(link.name):
                return
            samples = [light(self._taken[index]) for index in granted]
            link.call = link.actor.work.remote(link.started.token, samples)
        link.since = now

    def _granted(self, link: _Link) -> list[int]:
        """Samples for an engine that is ready: what it does until its next report, and ahead."""
        assert link.started is not None
        room = link.started.ahead + int(_REPORTS_S * link.rate) - self._shards.held(link.name)
        # Not more than its share of what is left, so that all are done at about the same time.
        expected = len(self._seen) if self._told else len(self._links)
        room = min(room, math.ceil((self._untaken + self._shards.fresh) / max(1, expected)) or 1)
        while self._shards.fresh < room and not self._exhausted:
            sample = next(self._samples, None)
            if sample is None:
                self._exhausted = True
                break
            self._untaken -= 1
            self._taken[sample.index] = sample
            self._aggregator.take(sample)
            self._shards.add([sample.index])
        return self._shards.grant(link.name, room)

    def _heard(self, link: _Link) -> Iterator[Record]:
        """A call has come back."""
        call, link.call = link.call, None
        try:
            answer = self._ray.get(call)
        except Exception as error:  # Ray's tree has no root that all of what it raises shares
            yield from self._lost(link, error)
            return
        now = time.monotonic()
        self._watchdog.moved(now)
        if isinstance(answer, Refused):
            if not self.max_batch:  # nor has another one done better
                raise UsageError(answer.message)
            self._give_up(link, answer.message)
        elif isinstance(answer, Started):
            self._ready(link, answer)
        elif answer.stale:
            yield from self._lost(link, None)
        else:
            yield from self._reported(link, answer, now - link.since)

    def _ready(self, link: _Link, started: Started) -> None:
        link.started, link.waits = started, "ready"
        self._watchdog.ready(link.name)
        self.max_batch = max(self.max_batch, started.max_batch)
        self._seen.add(link.name)
        about = {"host": started.host, "pid": started.pid, "device": started.facts.device}
        words = ", ".join(f"{name} {value}" for name, value in about.items())
        log.debug("%s is ready: %s", link.name, words, extra=event("ready", link.name, **about))

    def _reported(self, link: _Link, report: Report, seconds: float) -> Iterator[Record]:
        link.rate = len(report.records) / max(1e-3, seconds)
        link.waits = report.waits or link.waits
        self._aggregator.figures.add(report.figures)
        for record in report.records:
            if self._shards.done(link.name, record.index):
                self._watchdog.recorded()
                yield self._recorded(record)

    def _recorded(self, record: Record) -> Record:
        """The record of a sample that has none yet, as this run knows the sample."""
        sample = self._taken.pop(record.index)
        self._aggregator.forget(record.index)
        return replace(record, id=sample.id, label=sample.label, who=sample.who)

    def _lost(self, link: _Link, error: Exception | None) -> Iterator[Failure]:
        """An engine is dead, or lost to us: others have its samples now; Ray starts it anew."""
        reason = "it was restarted" if error is None else _spelt(error)
        where = f" on {link.started.host}" if link.started else ""
        log.warning(
            "%s%s: %s; its %d samples go to others",
            link.name,
            where,
            reason,
            self._shards.held(link.name),
            extra=event("died", link.name, reason=reason),
        )
        self._aggregator.figures.restarts += 1
        if error is not None and not isinstance(error, self._ray.exceptions.RayActorError):
            # It lives, and cannot go on; another life perhaps can.
            self._ray.kill(link.actor, no_restart=False)
        self._watchdog.died(link.name, ready=link.started is not None)
        link.started, link.waits, link.rate = None, "starting", 0.0
        link.again = time.monotonic() + _REST_S
        for index in self._shards.lost(link.name):
            cause = Cause("infer", "EngineDied", f"its engine died {MAX_DEATHS} times on it")
            del self._taken[index]
            yield self._aggregator.failure(index, cause)
        if deaths := self._watchdog.in_vain(link.name):
            raise WorkerError(
                f"{link.name} died {deaths} times without a record between its deaths (at last: "
                f"{reason}); Ray's logs have their own words"
            )
        if self._watchdog.cannot_start(link.name):
            self._give_up(link, f"failed to start {MAX_FAILED_STARTS} times, at last {reason}")

    def _give_up(self, link: _Link, reason: str) -> None:
        """Go on without an engine. Raises `WorkerError` where none is left."""
        log.error(
            "%s: %s; going on without it",
            link.name,
            reason,
            extra=event("lost", link.name, reason=reason),
        )
        self._ray.kill(link.actor)
        self._links.remove(link)
        if not self._links:
            raise WorkerError(f"no engine is left; the last was {link.name}: {reason}")

    def _check_silence(self, now: float) -> None:
        """Kill engines that have work and say nothing for longer than what they have in them may;
        give up where nothing has come from any."""
        with_work = {
            link.name: link
            for link in self._links
            if link.started is not None and link.call is not None
        }
        waits = [(name, link.since, self._patience) for name, link in with_work.items()]
        for name in overdue(waits, now):
            log.warning(
                "%s has work and said nothing for %.0f s; killing it",
                name,
                self._patience,
                extra=event("silent", name),
            )
            with_work[name].since = now
            self._ray.kill(with_work[name].actor, no_restart=False)
        waiting = [link for link in self._links if link.name not in self._seen]
        if waiting and not self._told and now - waiting[0].since > _PLACE_S:
            self._told = True
            log.warning(
                "%d engines wait for a place: each asks Ray for %s",
                len(waiting),
                waiting[0].place,
                extra=event("waiting", engines=len(waiting)),
            )
        if self._watchdog.stalled(now):
            states = "\n  ".join(
                f"{link.name}: {link.waits}, {self._shards.held(link.name)} samples, a call is on "
                f"its way for {now - link.since:.0f} s"
                if link.call is not None
                else f"{link.name}: {link.waits}, nothing on its way"
                for link in self._links
            )
            raise StallError(
                f"nothing has come from the cluster for {self._watchdog.patience:.0f} s (twice "
                "--lease-timeout, --stall-timeout and --start-timeout together). The engines:\n  "
                + states
            )


def _spelt(error: Exception) -> str:
    """What was raised on a node, or what Ray says of a death, less the advice."""
    error = getattr(error, "cause", None) or error
    said = printable(error).strip().partition("\n")[0].partition(": ")[0]
    return f"{type(error).__name__}: {said[:200]}"
