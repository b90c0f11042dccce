"""What is kept of a track: the same as computing its windows anew, and no more than is new."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.network.contexts import PADDING, of_plan
from engine.network.increments import Ring, lengths, slot_id

STRIDES = (1, 1, 1, 1, 2, 1, 1, 1, 1, 1)


class Symbols:
    """A network whose numbers are their own derivation."""

    def __init__(self, step: int | None) -> None:
        self.step = step
        self.ring = Ring(48, STRIDES)
        self.kept: list[dict[int, Any]] = [{} for _ in lengths(48, STRIDES)]
        self.computed = 0

    def anew(self, first: int) -> list[Any]:
        values: list[Any] = [first + n for n in range(48)]
        contexts = of_plan(np.arange(48, dtype=np.int32)[None], STRIDES)
        for number, level in enumerate(contexts.levels):
            values = [
                hash((number, *(None if s == PADDING else values[s] for s in sources)))
                for sources in level.sources.tolist()
            ]
        return [values[i] for i in contexts.clips[0]]

    def incremental(self, first: int) -> list[Any]:
        found = self.ring.increment(first, self.step)
        values: list[Any] = [first + int(n) for n in found.frames]
        self.computed = len(values)
        self._keep(0, values, found.kept[0])
        for number, level in enumerate(found.contexts.levels):
            below, kept = values, self.kept[number]
            values = [
                hash((number, *(self._value(s, below, kept) for s in sources)))
                for sources in level.sources.tolist()
            ]
            self._keep(number + 1, values, found.kept[number + 1])
        self.ring.keep(found)
        return [self._value(i, values, self.kept[-1]) for i in found.contexts.clips[0].tolist()]

    @staticmethod
    def _value(id: int, computed: list[Any], kept: dict[int, Any]) -> Any:
        if id == PADDING:
            return None
        return computed[id] if id >= 0 else kept[slot_id(id)]

    def _keep(self, level: int, values: list[Any], kept: Any) -> None:
        for row, slot in zip(*kept, strict=True):
            self.kept[level][int(slot)] = values[row]


@given(
    st.integers(0, 100),
    st.lists(st.integers(-30, 30), max_size=8),
    st.none() | st.integers(1, 30),
)
def test_any_steps_are_as_good_as_computing_anew(
    start: int, steps: list[int], said: int | None
) -> None:
    """Also other ones than were said."""
    symbols, first = Symbols(None if said is None else 2 * said), 2 * start
    for step in [0, *steps]:
        first += 2 * step
        assert symbols.incremental(first) == symbols.anew(first)


@pytest.mark.parametrize("step", [8, None])
def test_only_what_is_new_is_computed(step: int | None) -> None:
    symbols = Symbols(step)
    symbols.incremental(0)
    assert symbols.computed == 48
    for first in range(8, 100, 8):
        symbols.incremental(first)
        assert symbols.computed == 8
    found = symbols.ring.increment(104, step)
    rows = [len(level) for level in found.contexts.levels]
    # eight new ones, or four behind the stride, and one more at each end with every layer
    assert rows == [10, 12, 14, 16, 9, 11, 13, 15, 17, 19]
    kept = [len(rows) for rows, _ in found.kept]
    assert kept == ([4, 4, 4, 2, 3, 3, 3, 3, 3, 3, 4] if step else [8] * 5 + [4] * 6)


def test_what_the_next_layer_wants_of_which() -> None:
    """Before the stride even positions come first: they are only ever in the middle."""
    ring = Ring(48, STRIDES)
    level = ring.increment(0, None).contexts.levels[3]
    assert level.uses == (0, 24, 24)
    assert level.sources[:3].tolist()[1][1] == 2
    assert ring.increment(0, None).contexts.levels[4].uses == (24, 0, 0)
