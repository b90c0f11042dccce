"""Batching: which samples run together, and in runs of which sizes.

Pure: no sockets, no device, and the clock is an argument.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


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
