"""Batching: which samples run together, and in runs of which sizes.

Pure: no sockets, no device, and the clock is an argument.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Batcher(Generic[Item]):
    """A queue that gives out batches of at most `max_batch` items.

    A batch is due when it is full, or `max_wait` seconds after its first item arrived, or when
    there is no use to wait.
    """

    def __init__(self, max_batch: int, max_wait: float) -> None:
        self._max_batch, self._max_wait = max_batch, max_wait
        self._items: deque[tuple[Item, float]] = deque()
        self._hurried = 0  # of the first items

    def __len__(self) -> int:
        return len(self._items)

    @property
    def next_size(self) -> int:
        """Items that a batch taken now would have."""
        return min(len(self), self._max_batch)

    def add(self, item: Item, now: float) -> None:
        """Queue an item that arrived at `now`."""
        self._items.append((item, now))

    def hurry(self) -> None:
        """What is here is due at once: nothing comes that would run with it."""
        self._hurried = len(self)

    def due(self) -> float | None:
        """When the next batch is to be taken; not later than now if at once; None without items."""
        if not self._items:
            return None
        arrived, full = self._items[0][1], len(self) >= self._max_batch
        return arrived if full or self._hurried else arrived + self._max_wait

    def take(self, now: float) -> list[Item]:
        """The batch that is due at `now`, in order of arrival; empty if none is."""
        due = self.due()
        if due is None or now < due:
            return []
        batch = [self._items.popleft()[0] for _ in range(self.next_size)]
        self._hurried = max(0, self._hurried - len(batch))
        return batch
