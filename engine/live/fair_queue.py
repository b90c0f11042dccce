"""A fair queue: names take turns, and where there is too much the oldest make room.

Comes in: items by name, with when they arrived. Goes out: the same, one name after the other. A
name that floods loses its own oldest items; where all together are too many, the name that has most
does. Pure; not for several threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Line(Generic[T]):
    """What waits of a name: never nothing."""

    bounded: bool
    items: deque[tuple[T, float]] = field(default_factory=deque)


class FairQueue(Generic[T]):
    """At most `each` items of a name, and `total` of all names. Names that are not bounded lose
    nothing and count for nothing."""

    def __init__(self, *, each: int, total: int) -> None:
        self._each, self._total = each, total
        self._lines: dict[str, _Line[T]] = {}
        self._turns: deque[str] = deque()
        self._owed: set[str] = set()  # names that have a turn, and nothing that waits
        self._bounded = 0  # items of bounded names

    def put(
        self, name: str, item: T, arrived: float, *, bounded: bool = True, each: int = 0
    ) -> str | None:
        """Add an item. Returns the name that has lost its oldest by it, if one has. `bounded`
        counts from the first item that waits of a name; `each`: items that may wait of it, where
        that is more than usual."""
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line(bounded)
            if name in self._owed:
                self._owed.remove(name)
            else:
                self._turns.append(name)
        line.items.append((item, arrived))
        if not line.bounded:
            return None
        self._bounded += 1
        if len(line.items) > max(each, self._each):
            loser = name
        elif self._bounded > self._total:
            loser = max(
                (n for n, other in self._lines.items() if other.bounded), key=self._crowding
            )
        else:
            return None
        self.leave_out(loser)
        self.forget(loser)
        return loser

    def turn(self, free: Callable[[str], bool] = lambda name: True) -> str | None:
        """The name whose turn it is, of those that are `free`; None where there is none."""
        return next((name for name in self._turns if name in self._lines and free(name)), None)

    def take(self, name: str | None = None) -> tuple[str, T, float] | None:
        """The oldest item of a name, that whose turn it is unless another is given, and when it
        arrived; None where there is none. Its next turn is behind all others."""
        if name is None and (name := self.turn()) is None:
            return None
        self._turns.remove(name)
        item, arrived = self._pop(name)
        if name in self._lines:
            self._turns.append(name)
        return name, item, arrived

    def leave_out(self, name: str) -> None:
        """Lose the oldest item of a name, which keeps its turn for the next that comes."""
        self._pop(name)
        if name not in self._lines:
            self._owed.add(name)

    def forget(self, name: str) -> None:
        """A name of which nothing waits, and nothing is to come, has no turn any more."""
        if name in self._owed:
            self._owed.remove(name)
            self._turns.remove(name)

    def renew(self, name: str, same: Callable[[T], bool], item: T, arrived: float) -> int:
        """An item takes the place of the oldest that is the `same` of its name; all others that
        are make room. Returns how many; of none that is, nothing happens."""
        line = self._lines[name]
        places = [at for at, (other, _) in enumerate(line.items) if same(other)]
        lost = sum(line.items[at][0] is not item for at in places)
        if not lost:
            return 0
        line.items[places[0]] = item, arrived
        for at in reversed(places[1:]):
            del line.items[at]
        self._bounded -= line.bounded * (len(places) - 1)
        return lost

    def line(self, name: str) -> Sequence[tuple[T, float]]:
        """What waits of a name, with when it arrived, the oldest first."""
        return self._lines[name].items

    def count(self, name: str) -> int:
        """Items that wait of a name."""
        line = self._lines.get(name)
        return 0 if line is None else len(line.items)

    @property
    def names(self) -> int:
        """Names of which something waits."""
        return len(self._lines)

    def _pop(self, name: str) -> tuple[T, float]:
        line = self._lines[name]
        self._bounded -= line.bounded
        found = line.items.popleft()
        if not line.items:
            del self._lines[name]
        return found

    def _crowding(self, name: str) -> tuple[int, float]:
        """Which name has most; of those that have as many, the one whose oldest is oldest."""
        items = self._lines[name].items
        return len(items), -items[0][1]
