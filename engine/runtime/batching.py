"""Batching: which samples run together, and in runs of which sizes.

Pure: no sockets, no device, and the clock is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from math import gcd
from typing import Generic, TypeVar

Item = TypeVar("Item")


def split_rows(rows: int, sizes: Sequence[int]) -> list[int]:
    """Sizes of the runs that hold `rows` clips, descending; their sum may exceed `rows`.

    `sizes` are ascending, and nothing else may run. As little padding as can be, since a device
    computes filler like anything else; then as few runs as can be.
    """
    return list(_split(rows, tuple(sizes)))


@lru_cache(maxsize=4096)
def _split(rows: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    unit = gcd(*sizes)
    # the best split of each number of units: (units run, number of runs, the last run)
    best: list[tuple[int, int, int]] = [(0, 0, 0)]
    for units in range(1, -(-rows // unit) + 1):
        rests = ((best[max(0, units - size // unit)], size // unit) for size in sizes)
        best.append(min((total + size, runs + 1, size) for (total, runs, _), size in rests))
    runs, left = [], len(best) - 1
    while left > 0:
        runs.append(best[left][2] * unit)
        left -= best[left][2]
    return tuple(sorted(runs, reverse=True))


class Batcher(Generic[Item]):
    """A queue that gives out batches of at most `max_batch` items.

    A batch is due when it is full, or `max_wait` seconds after its first item arrived.
    """

    def __init__(self, max_batch: int, max_wait: float) -> None:
        self._max_batch, self._max_wait = max_batch, max_wait
        self._items: deque[tuple[Item, float]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def next_size(self) -> int:
        """Items that a batch taken now would have."""
        return min(len(self), self._max_batch)

    def add(self, item: Item, now: float) -> None:
        """Queue an item that arrived at `now`."""
        self._items.append((item, now))

    def due(self) -> float | None:
        """When the next batch is to be taken; not later than now if at once; None without items."""
        if not self._items:
            return None
        arrived = self._items[0][1]
        return arrived if len(self) >= self._max_batch else arrived + self._max_wait

    def take(self, now: float) -> list[Item]:
        """The batch that is due at `now`, in order of arrival; empty if none is."""
        due = self.due()
        if due is None or now < due:
            return []
        return [self._items.popleft()[0] for _ in range(self.next_size)]
