"""The row cache: rows that outlive their wave, for windows to come of the same tracks.

Which ones, `engine.network.increments` says; here is where they are, and who makes room for whom.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.network.backend import Array
from engine.network.contexts import PADDING
from engine.network.cuts import Part
from engine.network.increments import Increment, Ring, lengths, slot_id
from engine.network.runners.rows import Rows, layout, nbytes

_OVER_S: Final = 20.0  # without a window
_NOWHERE: Final = -1


@dataclass(eq=False)
class CachedTrack:
    """Somebody who is drawn in one crop. `rows`: for each level, where what a slot of the ring
    holds is in `RowCache.arrays`."""

    number: int
    ring: Ring
    crop: int
    used: float  # seconds
    rows: list[Rows]


class RowCache:
    """`length`: moments of a window. `room`: bytes. `arrays`: rows for each level of the network.
    The least recently used track is evicted for room, and at once where it seems to be over: memory
    that is written for the first time costs more than what is written there."""

    def __init__(
        self,
        parts: Sequence[Part],
        length: int,
        strides: Sequence[int],
        values: np.dtype[Any],
        room: int,
    ) -> None:
        self._length, self._strides = length, strides
        self._lengths = lengths(length, strides)
        layouts = [layout(part, values) for part in parts]
        of_a_track = sum(
            nbytes({name: ((n, *shape[1:]), dtype) for name, (shape, dtype) in one.items()})
            for n, one in zip(self._lengths, layouts, strict=True)
        )
        counts = [room * n // of_a_track for n in self._lengths]
        self.arrays: list[dict[str, Array]] = [
            {name: np.empty((count, *shape[1:]), dtype) for name, (shape, dtype) in one.items()}
            for count, one in zip(counts, layouts, strict=True)
        ]
        # The one that became free last is taken next; what never was is not in memory yet.
        self._free = [list(reversed(range(count))) for count in counts]
        self._tracks: OrderedDict[int, CachedTrack] = OrderedDict()  # used longest ago first

    def track(self, number: int, crop: int, first: int, now: float) -> CachedTrack:
        """What is kept of a track that is drawn in that crop, and whose windows begin with moment
        `first` at the earliest."""
        track = self._tracks.get(number)
        if track is not None and track.crop != crop:
            self.evict(track)
            track = None
        if track is None:
            nowhere = [np.full(n, _NOWHERE) for n in self._lengths]
            track = self._tracks[number] = CachedTrack(
                number, Ring(self._length, self._strides), crop, now, nowhere
            )
        self._tracks.move_to_end(number)
        track.used = now
        for level, slots in enumerate(track.ring.expire(first)):
            self._release(track, level, slots)
        return track

    def allocate(self, track: CachedTrack, increment: Increment, busy: Collection[int]) -> bool:
        """Find places for what an increment adds. False where only `busy` ones could make room."""
        for old in [t for t in self._tracks.values() if track.used - t.used > _OVER_S]:
            if old.number not in busy:
                self.evict(old)
        wanted = [
            slots[rows[slots] == _NOWHERE]
            for rows, (_, slots) in zip(track.rows, increment.kept, strict=True)
        ]
        while any(len(s) > len(free) for s, free in zip(wanted, self._free, strict=True)):
            other = next((t for t in self._tracks.values() if t.number not in busy), None)
            if other is None:
                return False
            self.evict(other)
        for rows, slots, free in zip(track.rows, wanted, self._free, strict=True):
            rows[slots] = [free.pop() for _ in slots]
        return True

    def placed(self, ids: NDArray[Any], level: int, track: CachedTrack) -> NDArray[Any]:
        """Ids of slots of a track's ring as those of rows of `arrays`."""
        slots = np.maximum(slot_id(ids), 0)
        return np.where(ids < PADDING, slot_id(track.rows[level][slots]), ids)

    def store(
        self, level: int, track: CachedTrack, slots: Rows, rows: Rows, of: dict[str, Array]
    ) -> None:
        """Copy rows of a level's buffer to slots of a ring."""
        where = track.rows[level][slots].tolist()
        for name, array in self.arrays[level].items():
            source = of[name]
            for place, row in zip(where, rows.tolist(), strict=True):
                array[place] = source[row]

    def evict(self, track: CachedTrack) -> None:
        """Keep nothing of a track any more."""
        del self._tracks[track.number]
        for level, rows in enumerate(track.rows):
            self._release(track, level, np.flatnonzero(rows != _NOWHERE))

    def _release(self, track: CachedTrack, level: int, slots: Rows) -> None:
        rows = track.rows[level]
        self._free[level].extend(rows[slots].tolist())
        rows[slots] = _NOWHERE
