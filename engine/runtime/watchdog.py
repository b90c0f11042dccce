"""The watchdog: whether a run goes on or is given up.

Pure: no sockets, no processes, no Ray, and the clock is an argument. The same for a run on one
machine (`engine.runtime.supervisor`) and for one on a cluster (`engine.runtime.cluster.driver`):

* silence: who has work and has said nothing for longer than allowed (`overdue`);
* stalls: nothing has moved anywhere for longer than `Watchdog.patience`;
* deaths: of one slot, before it was READY or without a record of anybody between them. However
  many die in one instant, each has died once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from engine.runtime.limits import MAX_DEATHS_WITHOUT_PROGRESS, MAX_FAILED_STARTS


def overdue(waiting: Iterable[tuple[str, float, float]], now: float) -> list[str]:
    """Of (name, when it was heard last, seconds that it may be silent): who is silent for longer,
    each once."""
    return list(dict.fromkeys(name for name, heard, limit in waiting if now - heard > limit))


class Watchdog:
    """`patience`: seconds within which something has to move."""

    def __init__(self, patience: float, now: float) -> None:
        self.patience = patience
        self._last_move = now
        self._deaths: Counter[str] = Counter()  # without a record between them, by slot
        self._failed_starts: Counter[str] = Counter()  # in a row, by slot

    def moved(self, now: float) -> None:
        """Work went on."""
        self._last_move = now

    def paused(self, gap: float) -> None:
        """Nobody was listening for `gap` seconds: that nothing moved means nothing."""
        self._last_move += gap

    def stalled(self, now: float) -> bool:
        """Whether nothing has moved for longer than anybody may take."""
        return now - self._last_move > self.patience

    def recorded(self) -> None:
        """There is a record: the deaths so far were not in vain."""
        self._deaths.clear()

    def ready(self, slot: str) -> None:
        """A process or an engine has started."""
        self._failed_starts[slot] = 0

    def died(self, slot: str, *, ready: bool) -> None:
        """One is dead, before or after it was READY."""
        self._deaths[slot] += 1
        self._failed_starts[slot] += not ready

    def cannot_start(self, slot: str) -> bool:
        """Whether it has failed to start too often."""
        return self._failed_starts[slot] >= MAX_FAILED_STARTS

    def in_vain(self, slot: str) -> int:
        """How often it has died without a record between its deaths, if that is too often to go
        on, else 0."""
        deaths = self._deaths[slot]
        return deaths if deaths >= MAX_DEATHS_WITHOUT_PROGRESS else 0
