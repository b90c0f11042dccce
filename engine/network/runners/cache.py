"""The row cache: rows that outlive their wave, for windows to come of the same tracks.

Which ones, `engine.network.increments` says; here is who makes room for whom.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.network.increments import Increment, Ring, lengths
from engine.network.runners.pool import RowPool
from engine.network.runners.rows import Rows

_OVER_S: Final = 20.0  # without a window
_NOWHERE: Final = -1


@dataclass(eq=False)
class CachedTrack:
    """Somebody who is drawn in one crop. `rows`: for each level, where what a slot of the ring
    holds is in the pool."""

    number: int
    ring: Ring
    crop: int
    used: float  # seconds
    rows: list[Rows]


class RowCache:
    """`length`: moments of a window. The least recently used track is evicted for room in the
    `pool`, and at once where it seems to be over."""

    def __init__(self, pool: RowPool, length: int, strides: Sequence[int]) -> None:
        self._pool, self._length, self._strides = pool, length, strides
        self._lengths = lengths(length, strides)
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
        while not self._pool.has([len(slots) for slots in wanted]):
            other = next((t for t in self._tracks.values() if t.number not in busy), None)
            if other is None:
                return False
            self.evict(other)
        for level, (rows, slots) in enumerate(zip(track.rows, wanted, strict=True)):
            rows[slots] = self._pool.take(level, len(slots))
        return True

    def evict(self, track: CachedTrack) -> None:
        """Keep nothing of a track any more."""
        del self._tracks[track.number]
        for level, rows in enumerate(track.rows):
            self._release(track, level, np.flatnonzero(rows != _NOWHERE))

    def _release(self, track: CachedTrack, level: int, slots: Rows) -> None:
        rows = track.rows[level]
        self._pool.release(level, rows[slots])
        rows[slots] = _NOWHERE
