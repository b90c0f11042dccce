"""Freshness: how much of a live run is asked of the device, so that labels are young.

Comes in: what streams make, what is asked and what is answered, and when. Goes out: whether one
more window may be under way, which windows are left out, and what there is to say about it.

A late label is wrong. So no more is under way than the device does in a fraction of the age allowed;
what waits too long is left out; and where streams make more windows than the device answers, each
gets the same share of it, its windows left out evenly, as if the stride were longer. A stream that
makes less than its share loses none. Pure, and the clock is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.base.choices import Who

_UNDER_WAY = 1 / 4  # of the age: a batch that runs, and one that fills
_WAITING = 1 / 8  # of the age: what may wait while streams have their shares
_LEAST = 1 / 4  # of the age that a window may always wait, however slow the device is
_MEMORY_S = 2.0  # of what is measured
_LOOK_S = 0.1  # between two looks at the shares
_PEOPLE = 1000  # of a stream whose turns are remembered
_BEHIND, _OVER = 0.05, 0.01  # of the windows, left out
_FEW = 0.5  # windows, of which nothing is said
_LASTS_S = 2.0  # before it is said


@dataclass
class Recent:
    """A sum in which what was added long ago counts little: half of it after 1.4 s."""

    amount: float = 0.0
    at: float = 0.0

    def add(self, amount: float, now: float) -> None:
        """Add to it."""
        self.amount, self.at = self.of(now) + amount, now

    def of(self, now: float) -> float:
        """What it is now."""
        return self.amount * math.exp(min(0.0, self.at - now) / _MEMORY_S)


@dataclass
class _Stream:
    made: Recent = field(default_factory=Recent)
    left_out: Recent = field(default_factory=Recent)
    turns: dict[Who, float] = field(default_factory=dict)  # by person; a whole one admits a window


class Freshness:
    """`max_age`: seconds from a window's last frame to its label; `devices`: that work at once."""

    def __init__(self, max_age: float, devices: int = 1) -> None:
        self._max_age, self._devices = max_age, devices
        self._streams: dict[str, _Stream] = {}
        self._under_way: dict[str, int] = {}
        self._count = 0  # of all streams
        self._since = 0.0  # when the device began, or last answered
        self._busy, self._answers = Recent(), Recent()
        self._seconds: float | None = None  # a window
        self._share: float | None = None  # windows/s of a stream; None: as many as it makes
        self._looked = -math.inf
        self._names, self._looks = Recent(), Recent()  # streams of which windows wait
        self._changing: float | None = None  # since when it has been the other way
        self._begun = 0.0
        self._lost = self._lost_before = 0
        self.behind: str | None = None
        """That the device cannot keep up, in words; None while it does."""

    # What is under way

    def asked(self, stream: str, now: float) -> None:
        """A window is on its way to the device."""
        if not self._count:
            self._since = now
        self._count += 1
        self._under_way[stream] = self._under_way.get(stream, 0) + 1

    def answered(self, stream: str, now: float) -> None:
        """It has come to its record."""
        self._count -= 1
        self._under_way[stream] -= 1
        if not self._under_way[stream]:
            del self._under_way[stream]
        self._busy.add(now - self._since, now)
        self._answers.add(1, now)
        self._since = now
        self._seconds = self._busy.amount / self._answers.amount

    @property
    def most(self) -> int:
        """Windows that may be under way."""
        if not self._seconds:
            return 2 * self._devices
        return max(2 * self._devices, int(_UNDER_WAY * self._max_age / self._seconds))

    @property
    def full(self) -> bool:
        """Whether nothing more may be under way."""
        return self._count >= self.most

    def crowds(self, stream: str) -> bool:
        """Whether a stream has its share of that: what others bring next does not wait for long."""
        each = max(2 * self._devices, math.ceil(self.most / max(1, len(self._streams))))
        return self._under_way.get(stream, 0) >= each

    # What waits

    def stale(self, age: float, *, followed: bool) -> bool:
        """Whether a window that arrived `age` seconds ago is left out: it could not be answered in
        time, or it is late and `followed` by a newer one of the same person."""
        ahead = (self._count + 1) * (self._seconds or 0.0)
        patience = max(self._max_age - ahead, _LEAST * self._max_age)
        return age > (patience / 2 if followed else patience)

    # What is made

    def made(self, stream: str, count: int, now: float) -> None:
        """A stream has made so many windows."""
        self._streams.setdefault(stream, _Stream()).made.add(count, now)

    def admits(self, stream: str, who: Who, own: int, names: int, now: float) -> bool:
        """Whether it may wait, where `own` windows of its stream do, and some of `names` streams.
        Of somebody whose stream makes twice its share every second window may."""
        self._names.add(names, now)
        self._looks.add(1, now)
        turns = self._streams[stream].turns
        share = 1 / self._growth(stream, own, now)
        turn = turns.pop(who) + share if who in turns else 1.0
        turns[who] = turn - (turn >= 1)
        if len(turns) > _PEOPLE:
            del turns[next(iter(turns))]
        return turn >= 1

    def _growth(self, stream: str, own: int, now: float) -> float:
        """How much longer a stream's stride is than asked for, at the least 1."""
        if now - self._looked >= _LOOK_S:
            self._looked = now
            self._share = self._shared(now)
        if self._share is None or self._seconds is None:
            return 1.0
        # More than its share while little waits, less while much does. How many streams wait is
        # taken as a mean: some would always come while many do.
        ahead = (own + 1) * self._names.amount / self._looks.amount
        waits = ahead * self._seconds / (_WAITING * self._max_age)
        share = self._share * max(0.1, 1.5 - waits / 2)
        return max(1.0, self._streams[stream].made.of(now) / _MEMORY_S / share)

    def _shared(self, now: float) -> float | None:
        """Windows/s of each stream such that they are together what the device answers."""
        if not self._seconds:
            return None
        made = [stream.made.of(now) / _MEMORY_S for stream in self._streams.values()]
        return level(made, 1 / self._seconds)

    def left_out(self, stream: str, now: float) -> None:
        """A window of a stream has been left out, for whatever reason."""
        self._lost += 1
        if (about := self._streams.get(stream)) is not None:
            about.left_out.add(1, now)

    def forget(self, stream: str) -> None:
        """A stream is over."""
        self._streams.pop(stream, None)

    # What there is to say

    def news(self, stride: float, help: str, now: float) -> str | None:
        """Look whether the device keeps up; what has changed, in words, if anything has. `stride`:
        seconds that were asked for; `help`: what would."""
        streams = [(s.made.of(now), s.left_out.of(now)) for s in self._streams.values()]
        made, lost = (sum(column) for column in zip(*streams, strict=True)) if streams else (0, 0)
        was, ratio = self.behind, lost / made if made > _FEW else 0.0
        affected = [(made, lost) for made, lost in streams if lost > _BEHIND * made]
        if was is not None and affected:
            self.behind = _in_words(affected, len(streams), stride, help)
        if (ratio <= _BEHIND) if was is None else (ratio >= _OVER):
            self._changing = None
            return None
        if self._changing is None:
            self._changing = now
            if was is None:
                self._begun, self._lost_before = now, self._lost
        if now - self._changing < _LASTS_S:
            return None
        self._changing = None
        if was is None:
            self.behind = _in_words(affected, len(streams), stride, help)
            return self.behind
        self.behind = None
        return (
            f"the device keeps up again: {self._lost - self._lost_before} windows were left out in "
            f"{now - self._begun:.0f} s"
        )


def _in_words(
    affected: Sequence[tuple[float, float]], streams: int, stride: float, help: str
) -> str:
    made, lost = (sum(column) for column in zip(*affected, strict=True))
    every = stride * made / max(made - lost, made / 100)
    return (
        f"the device cannot keep up: in {len(affected)} of {streams} streams a window every "
        f"{every:.1f} s in place of {stride:g} s; what would help: {help}"
    )


def level(made: Sequence[float], capacity: float) -> float | None:
    """The level to which what each makes is cut such that all of it together is the capacity;
    None where it is no more."""
    if sum(made) <= capacity:
        return None
    left = capacity
    for number, one in enumerate(ordered := sorted(made)):
        if one >= left / (len(ordered) - number):
            return left / (len(ordered) - number)
        left -= one
    return None  # by rounding alone
