"""Engines on the nodes of a cluster, in virtual time, around the engine's own `Shards`.

`engine.runtime.cluster.shards.Shards` decides which engine has what; how engines report is taken
from `engine.runtime.cluster.actor`, how the driver asks and hears from
`engine.runtime.cluster.driver`. Engines die, start anew, hang and are killed for it, poison kills
the engine that gets to it, and reports come late, after the deaths of their engines as well.
Everything follows from a seed. Raises `AssertionError` where a promise is broken.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.cluster import Work
from benchmarks.scaling import REPORT_EVERY_S, Driver
from engine.runtime.cluster.shards import Shards
from engine.runtime.limits import MAX_DEATHS

REST_S = 1.0  # of the driver, before it starts an engine anew
_AHEAD_S = 0.5  # for which samples are granted ahead
_LATE, _LATE_S = 0.01, 2.0  # share of reports that are late, and by how much at most
_SEARCH_S = 1.0  # between looks for silence


@dataclass(frozen=True)
class Conditions:
    """What a fleet is like; an engine has one device. Sample i is ``works[i % len(works)]``."""

    engines: int
    samples: int
    works: Sequence[Work]
    driver: Driver = Driver(0.0, 0.0, 0.0, 0.0)
    delay_s: float = 0.5e-3  # of a message, and until a death is known
    max_batch: int = 4
    mtbf_s: float = math.inf  # of an engine, mean time between failures
    restart_s: float = 10.0
    hangs: float = 0.0  # share of failures in which it falls silent
    patience_s: float = 600.0  # with the silent
    poison: int = 0  # samples
    seed: int = 0

    def ahead(self, rate: float) -> int:
        """Samples that an engine of that rate has, with one worker."""
        return 3 * self.max_batch + 1 + int(_AHEAD_S * rate)


@dataclass
class Outcome:
    """What came of it. `driver_s`: in which the driver was busy."""

    seconds: float = 0.0
    scored: int = 0
    convicted: list[int] = field(default_factory=list)
    innocent: list[int] = field(default_factory=list)  # of the convicted
    deaths: dict[str, int] = field(default_factory=dict)  # by kind
    suspects: int = 0  # samples granted as such
    reports: int = 0
    turns: int = 0
    stale: int = 0  # records of samples that were others' by then
    driver_s: float = 0.0
    late: int = 0  # reports


@dataclass(eq=False)
class _Life:
    """An engine from its start to its death. `held`: when the device is done with which sample, in
    order; `free`: when with all of them; `group`: what it has got since it last had nothing."""

    held: deque[tuple[float, int]] = field(default_factory=deque)
    free: float = 0.0
    alive: bool = True
    hung: bool = False
    group: list[int] = field(default_factory=list)

    @property
    def works(self) -> bool:
        return self.alive and not self.hung


@dataclass(eq=False)
class _Link:
    """An engine as the driver sees it. `asked`: something is on its way, since `since`."""

    name: str
    life: _Life = field(default_factory=_Life)
    ready: bool = False
    asked: bool = False
    since: float = 0.0
    again: float = 0.0
    rate: float = 0.0


class Fleet:
    """One run, from the first start to the last record."""

    def __init__(self, conditions: Conditions) -> None:
        self._is, self._rng = conditions, random.Random(conditions.seed)
        self._shards, self._fresh = Shards(), iter(range(conditions.samples))
        self._now, self._made, self._taken, self._turning = 0.0, 0, 0, False
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._links = [_Link(f"engine-{n}") for n in range(conditions.engines)]
        self._idle: list[_Link] = []  # that are not asked anything
        self._heard: deque[Callable[[], float]] = deque()  # seconds that it takes
        self._poison = set(self._rng.sample(range(conditions.samples), conditions.poison))
        self._records: Counter[int] = Counter()
        self._with: dict[int, str] = {}  # who has which sample
        self._blamed: Counter[int] = Counter()  # deaths of engines that had nothing else
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """All of it."""
        for link in self._links:
            self._begin(link, 0.0)
        if self._is.mtbf_s < math.inf:
            self._later(self._to_failure(), self._fail)
        if self._is.hangs:
            self._later(_SEARCH_S, self._search)
        while len(self._records) < self._is.samples:
            self._now, _, action, about = heapq.heappop(self._events)
            action(*about)
        return self._audited()

    def _audited(self) -> Outcome:
        """The outcome, after a look at what was promised."""
        found = self.outcome
        found.seconds = self._now
        assert set(self._records.values()) == {1}, "a second record of a sample"
        assert not len(self._shards), "a sample with a record is not done"
        assert not self._with, "a sample with a record is with an engine"
        assert self._poison <= set(found.convicted), "poison that got away"
        found.innocent = [index for index in found.convicted if index not in self._poison]
        assert all(self._blamed[index] >= MAX_DEATHS for index in found.convicted)
        assert found.scored + len(found.convicted) == self._is.samples
        return found

    def _later(self, seconds: float, action: Callable[..., None], *about: object) -> None:
        self._made += 1
        heapq.heappush(self._events, (self._now + seconds, self._made, action, about))

    # The driver: hears what has come, one after the other, then asks whoever waits for it

    def _hear(self, what: Callable[[], float]) -> None:
        self._heard.append(what)
        self._wake()

    def _wake(self) -> None:
        """A turn begins, unless one goes on."""
        if not self._turning:
            self._turning = True
            cost = self._is.driver
            self._busy(cost.turn_s + cost.look_s * len(self._links), len(self._heard))

    def _busy(self, seconds: float, left: int) -> None:
        self.outcome.driver_s += seconds
        self._later(seconds, self._turn, left)

    def _turn(self, left: int) -> None:
        """Deal with so many of what has come, then ask."""
        if left:
            self._busy(self._heard.popleft()(), left - 1)
            return
        self.outcome.turns += 1
        idle, self._idle = self._idle, []
        self._idle += [link for link in idle if self._now < link.again or not self._ask(link)]
        self._turning = False
        if self._heard:
            self._wake()

    def _ask(self, link: _Link) -> bool:
        """Start an engine, or let it work, if it has or can have anything."""
        if not link.ready:
            self._begin(link, self._is.restart_s)
            return True
        granted = self._granted(link)
        if not self._shards.held(link.name):
            return False
        link.asked, link.since = True, self._now
        self._later(self._is.delay_s, self._work, link.life, link, granted)
        return True

    def _granted(self, link: _Link) -> list[int]:
        held, suspects = self._shards.held(link.name), self._shards.suspects
        room = self._is.ahead(link.rate) - held
        while self._shards.fresh < room and (index := next(self._fresh, None)) is not None:
            self._shards.add([index])
            self._taken += 1
        granted = self._shards.grant(link.name, room)
        for index in granted:
            assert index not in self._with, "a sample is with two engines"
            assert not self._records[index], "a sample is run again after its record"
            self._with[index] = link.name
        if self._shards.suspects < suspects:
            assert not held, "suspects are not alone"
            self.outcome.suspects += len(granted)
        if granted:
            link.life.group = [*link.life.group, *granted] if held else granted
        return granted

    def _ready(self, link: _Link) -> float:
        link.ready, link.asked = True, False
        self._idle.append(link)
        return 0.0

    def _reported(self, link: _Link, life: _Life, found: list[int]) -> float:
        self.outcome.reports += 1
        for index in found:
            if self._shards.done(link.name, index):
                self._record(index)
                self.outcome.scored += 1
            else:
                self.outcome.stale += 1
        if life is link.life and link.ready:  # or its death has been heard of
            link.rate, link.asked = len(found) / max(1e-3, self._now - link.since), False
            self._idle.append(link)
        return self._is.driver.report_s + self._is.driver.record_s * len(found)

    def _record(self, index: int) -> None:
        self._records[index] += 1
        assert self._records[index] == 1, f"a second record of sample {index}"
        self._with.pop(index, None)

    def _lost(self, link: _Link) -> float:
        left = [index for index in link.life.group if self._with.get(index) == link.name]
        if len(link.life.group) == len(left) == 1:
            self._blamed[left[0]] += 1
        for index in left:
            del self._with[index]
        for index in self._shards.lost(link.name):
            self._record(index)
            self.outcome.convicted.append(index)
        assert len(self._shards) + len(self._records) == self._taken, "a sample is lost"
        if not link.asked:
            self._idle.remove(link)
        link.ready, link.asked, link.rate, link.again = False, False, 0.0, self._now + REST_S
        self._idle.append(link)
        self._later(REST_S, self._wake)
        return self._is.driver.report_s

    def _search(self) -> None:
        for link in self._links:
            if link.ready and link.asked and self._now - link.since > self._is.patience_s:
                self._die(link.life, link, "killed")
        self._later(_SEARCH_S, self._search)

    # Engines

    def _begin(self, link: _Link, seconds: float) -> None:
        link.life, link.asked = _Life(), True
        self._later(seconds, self._begun, link.life, link)

    def _begun(self, life: _Life, link: _Link) -> None:
        if life.works:
            self._hear(lambda: self._ready(link) if life.alive else 0.0)

    def _work(self, life: _Life, link: _Link, granted: list[int]) -> None:
        """Samples have arrived. The next report: a quarter of a second's records, or one."""
        for index in granted:
            seconds = self._is.works[index % len(self._is.works)].device_s
            life.free = max(life.free, self._now)
            if index in self._poison and life.free < math.inf:
                self._later(life.free + seconds / 2 - self._now, self._die, life, link, "poison")
                life.free = math.inf  # nothing behind it is ever done
            life.free += seconds
            life.held.append((life.free, index))
        found: list[int] = []
        at, until = self._now, self._now + REPORT_EVERY_S
        while life.held and (not found or at < until):
            done, index = life.held.popleft()
            at = max(at, done)
            found.append(index)
        if at < math.inf:
            self._later(at - self._now, self._report, life, link, found)

    def _report(self, life: _Life, link: _Link, found: list[int]) -> None:
        if life.works:
            late = self._rng.random() < _LATE and self._is.mtbf_s < math.inf
            way = self._is.delay_s + (self._rng.uniform(0, _LATE_S) if late else 0.0)
            self.outcome.late += late
            self._later(way, self._hear, lambda: self._reported(link, life, found))

    def _die(self, life: _Life, link: _Link, kind: str) -> None:
        if life.alive:
            life.alive = False
            self.outcome.deaths[kind] = self.outcome.deaths.get(kind, 0) + 1
            self._later(self._is.delay_s, self._hear, lambda: self._lost(link))

    def _to_failure(self) -> float:
        return self._rng.expovariate(self._is.engines / self._is.mtbf_s)

    def _fail(self) -> None:
        """Something happens to one of the engines."""
        self._later(self._to_failure(), self._fail)
        link, hangs = self._rng.choice(self._links), self._rng.random() < self._is.hangs
        if not hangs:
            self._die(link.life, link, "node")
        elif link.ready:
            link.life.hung = True
