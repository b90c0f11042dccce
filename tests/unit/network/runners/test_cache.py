"""Where rows of tracks are: nobody's are taken while they may be read, and none is lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.network.contexts import PADDING
from engine.network.increments import lengths, slot_id
from engine.network.runners.cache import CachedTrack, RowCache
from engine.network.runners.pool import RowPool

STRIDES = (1, 1, 1, 1, 2, 1, 1, 1, 1, 1)
LEVELS = len(lengths(48, STRIDES))
FLOATS = {"this": np.dtype(np.float32)}
PARTS: Any = [SimpleNamespace(outputs={"this": (8, 1)}, output_types=FLOATS)] * LEVELS
OF_ONE = 4 * sum(lengths(48, STRIDES))  # bytes


class Windows:
    """What a runner does with it, less the network: what is stored is whose it is."""

    def __init__(self, tracks: int) -> None:
        room = tracks * OF_ONE
        self.pool = RowPool(PARTS, lengths(48, STRIDES), np.dtype(np.float32), room)
        self.cache = RowCache(self.pool, 48, STRIDES)
        self.stored: list[dict[int, Any]] = [{} for _ in range(LEVELS)]  # by row
        self.read = 0

    def add(self, number: int, crop: int, first: int, now: float, *busy: int) -> bool:
        track = self.cache.track(number, crop, first, now)
        increment = track.ring.increment(first, 8)
        if not self.cache.allocate(track, increment, {number, *busy}):
            return False
        tables = [*(level.sources for level in increment.contexts.levels), increment.contexts.clips]
        for level, (table, numbers) in enumerate(zip(tables, track.ring._held, strict=True)):
            ids = np.unique(table[table < PADDING]).astype(np.int64)
            rows = slot_id(self.pool.located(ids, track.rows, level))
            self.read += len(rows)
            for row, slot in zip(rows.tolist(), slot_id(ids).tolist(), strict=True):
                assert self.stored[level][row] == (number, crop, int(numbers[slot]))
        for level, ((_, slots), numbers) in enumerate(
            zip(increment.kept, increment.numbers, strict=True)
        ):
            for row, moment in zip(track.rows[level][slots].tolist(), numbers, strict=True):
                assert row >= 0
                self.stored[level][row] = number, crop, int(moment)
        track.ring.keep(increment)
        self.check(list(self.cache._tracks.values()))
        return True

    def check(self, tracks: list[CachedTrack]) -> None:
        """Every row is free, or one track's."""
        for level, free in enumerate(self.pool._free):
            taken = [row for t in tracks for row in t.rows[level].tolist() if row >= 0]
            assert sorted(free + taken) == list(range(len(self.pool.arrays[level]["this"])))


@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(st.integers(0, 4), st.booleans(), st.integers(-2, 8), st.floats(0, 15)),
        max_size=40,
    ),
)
def test_any_windows_of_any_tracks(room: int, told: list[tuple[int, bool, int, float]]) -> None:
    windows, now = Windows(room), 0.0
    at: dict[int, tuple[int, int]] = {}
    for number, moves, steps, seconds in told:
        crop, first = at.get(number, (0, 0))
        at[number] = crop + moves, max(0, first + 2 * steps)
        now += seconds
        assert windows.add(number, *at[number], now)


def test_who_makes_room() -> None:
    windows = Windows(2)
    for turn in range(6):
        for number in range(3):
            assert windows.add(number, 0, 8 * turn, now=float(turn))
    assert windows.read > 0
    assert len(windows.cache._tracks) == 3, "there is room for so many, who keep little"
    windows.add(9, 0, 0, now=10.0)
    assert 9 in windows.cache._tracks
    assert list(windows.cache._tracks)[-1] == 9
    windows.add(9, 0, 8, now=100.0)
    assert list(windows.cache._tracks) == [9], "the others are over"


def test_not_those_that_are_waited_for() -> None:
    windows = Windows(1)
    number = 0
    while windows.add(number, 0, 0, 0.0, *range(number)):
        number += 1
    assert number > 1
    assert list(windows.cache._tracks) == list(range(number + 1))
    assert windows.add(number, 0, 0, 0.0, *range(1, number))
    assert 0 not in windows.cache._tracks


@pytest.mark.parametrize("step", [8, 12])
def test_memory_is_used_again(step: int) -> None:
    """Somebody new takes the places of whoever is over."""
    windows = Windows(50)
    for number in range(30):
        for turn in range(8):
            windows.add(number, 0, step * turn, now=30.0 * number + turn)
    touched = [len(rows) for rows in windows.stored]
    assert all(rows <= 48 for rows in touched)
