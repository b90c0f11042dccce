"""Freshness: how much of a live run is asked of the device, so that labels are young.

Comes in: what streams make, what is asked and what is answered, and when. Goes out: whether one
more window may be under way, which windows are left out, and what there is to say about it.

A late label is wrong. So no more is under way than the device does in a fraction of the age that is
allowed, a window that is late makes room for the newest of the same person, and one that is too old
is left out. Streams take turns: while the device cannot keep up, each has its windows less often,
evenly, as if the stride were longer; one that makes less than its share loses none. Pure, and the
clock is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

_UNDER_WAY = 1 / 4  # of the age: a batch that runs, and one that fills
_LEAST = 1 / 4  # of the age that a window may always wait, however slow the device is
_MEMORY_S = 2.0  # of what is measured
_BEHIND, _OVER = 0.05, 0.01  # of the windows, left out
_FEW = 1.0  # windows left out lately, of which nothing is said
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
            return self._devices
        return max(self._devices, int(_UNDER_WAY * self._max_age / self._seconds))

    @property
    def full(self) -> bool:
        """Whether nothing more may be under way."""
        return self._count >= self.most

    def crowds(self, stream: str) -> bool:
        """Whether a stream has its share of that: what others bring next does not wait for long."""
        each = max(self._devices, math.ceil(self.most / max(1, len(self._streams))))
        return self._under_way.get(stream, 0) >= each

    # What waits

    @property
    def patience(self) -> float:
        """Seconds that a window may wait and still be answered in time. One that has waited for
        half of it is late."""
        ahead = (self._count + 1) * (self._seconds or 0.0)
        return max(self._max_age - ahead, _LEAST * self._max_age)

    # What is made

    def made(self, stream: str, count: int, now: float) -> None:
        """A stream has made so many windows."""
        self._streams.setdefault(stream, _Stream()).made.add(count, now)

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
        was, ratio = self.behind, lost / made if made else 0.0
        affected = [(made, lost) for made, lost in streams if lost > _BEHIND * made]
        if was is not None and affected:
            self.behind = _in_words(affected, len(streams), stride, help)
        if (ratio <= _BEHIND or lost <= _FEW) if was is None else (ratio >= _OVER):
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
        f"{every:.1f} s in place of {stride:.2g} s; what would help: {help}"
    )
