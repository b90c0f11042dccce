"""Loads: how many leases each holder has, and who has the fewest.

Pure bookkeeping, of workers or of executors. What a change costs does not depend on how many leases
are out.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

_SLACK = 4  # outdated entries a name, before they are cleared away


class Loads:
    """Counts by name; a name of which nothing was counted has none."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._names: list[str] = []  # that were chosen from last
        self._ranks: dict[str, int] = {}  # their places in it
        # (count, rank): one entry of each name is up to date, others are outdated
        self._heap: list[tuple[int, int]] = []

    def of(self, name: str) -> int:
        """The count of a name."""
        return self._counts.get(name, 0)

    def change(self, name: str, by: int) -> None:
        """So many more, or fewer."""
        count = self._counts.pop(name, 0) + by
        if count:
            self._counts[name] = count
        rank = self._ranks.get(name)
        if rank is None:
            return
        heapq.heappush(self._heap, (count, rank))
        if len(self._heap) > _SLACK * len(self._names):
            self._rank(self._names)

    def least(self, names: Sequence[str]) -> str | None:
        """Which of `names` has the fewest, the first of several; None of none. Cheap where they
        are those of the last time."""
        if names != self._names:
            self._rank(list(names))
        while self._heap:
            count, rank = self._heap[0]
            name = self._names[rank]
            if count == self.of(name):
                return name
            heapq.heappop(self._heap)
        return None

    def _rank(self, names: list[str]) -> None:
        self._names = names
        self._ranks = {name: rank for rank, name in enumerate(names)}
        self._heap = [(self.of(name), rank) for name, rank in self._ranks.items()]
        heapq.heapify(self._heap)
