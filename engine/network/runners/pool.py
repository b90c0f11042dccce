"""The row pool: memory for rows that outlive their wave.

What is kept, and by whom, others say: windows of tracks (`engine.network.runners.cache`), stages of
a sample (`engine.network.runners.staged`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.network.backend import Array
from engine.network.contexts import PADDING
from engine.network.cuts import Part
from engine.network.increments import slot_id
from engine.network.runners.rows import Rows, layout, nbytes

Slots = Sequence[Rows]
"""For each level, where in `RowPool.arrays` what a slot holds is."""


class RowPool:
    """`lengths`: how many rows there are of each level in proportion. `room`: bytes. `arrays`: rows
    for each level of the network. What was free last is taken next: memory that is written for the
    first time costs more than what is written there."""

    def __init__(
        self, parts: Sequence[Part], lengths: Sequence[int], values: np.dtype[Any], room: int
    ) -> None:
        layouts = [layout(part, values) for part in parts]
        of_one = sum(
            nbytes({name: ((n, *shape[1:]), dtype) for name, (shape, dtype) in one.items()})
            for n, one in zip(lengths, layouts, strict=True)
        )
        counts = [room * n // of_one for n in lengths]
        self.arrays: list[dict[str, Array]] = [
            {name: np.empty((count, *shape[1:]), dtype) for name, (shape, dtype) in one.items()}
            for count, one in zip(counts, layouts, strict=True)
        ]
        self._free = [list(reversed(range(count))) for count in counts]

    def has(self, counts: Sequence[int]) -> bool:
        """Whether there are so many free rows of each level."""
        return all(n <= len(free) for n, free in zip(counts, self._free, strict=True))

    def take(self, level: int, count: int) -> list[int]:
        """Free rows of a level, of which there are so many."""
        free = self._free[level]
        return [free.pop() for _ in range(count)]

    def release(self, level: int, rows: Rows) -> None:
        """Rows are free again. The first of them are taken first: they are those that were written,
        where who had them did not need all."""
        self._free[level].extend(rows[::-1].tolist())

    def located(self, ids: NDArray[np.int32], slots: Slots, level: int) -> NDArray[np.int64]:
        """Ids of a half, those of slots as those of rows of `arrays`."""
        wide = ids.astype(np.int64)
        if not slots or not len(slots[level]):
            return wide
        rows = slots[level][np.maximum(slot_id(wide), 0)]
        return np.where(wide < PADDING, slot_id(rows), wide)

    def store(self, level: int, where: Rows, rows: Rows, of: dict[str, Array]) -> None:
        """Copy rows of a level's buffer."""
        places = where.tolist()
        for name, array in self.arrays[level].items():
            source = of[name]
            for place, row in zip(places, rows.tolist(), strict=True):
                array[place] = source[row]
