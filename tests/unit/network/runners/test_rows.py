"""How rows of one level are taken for the next: which, and which are copied."""

from __future__ import annotations

import numpy as np
import pytest

from engine.network.contexts import PADDING
from engine.network.cuts import ACTIVATION, NEXT, PREVIOUS, SHORTCUT, THIS
from engine.network.increments import slot_id
from engine.network.runners.rows import Taken

RUN = 4
FOLLOWING = np.arange(RUN)[:, None] + np.array([[3, 4, 5]])


def arrays(names: tuple[str, ...], rows: int) -> dict[str, np.ndarray]:
    """Of a byte a row, that says which array and row it is."""
    return {
        name: (np.arange(rows) + 50 * number).astype(np.uint8)[:, None]
        for number, name in enumerate(names)
    }


@pytest.mark.parametrize("handed", [(ACTIVATION,), (PREVIOUS, THIS, NEXT, SHORTCUT)])
def test_every_tap_from_its_row(handed: tuple[str, ...]) -> None:
    """Of arrays of their own, or all of one; out of order, with padding and with kept rows."""
    below, kept = arrays(handed, 20), arrays(handed, 6)
    below[handed[0]][-1] = 0
    inputs = (PREVIOUS, THIS, NEXT, SHORTCUT)[: 3 if handed == (ACTIVATION,) else 4]
    table = np.array(
        [[2, 7, 9], [PADDING, 0, 1], [slot_id(3), 5, slot_id(0)], [4, 4, 4], [5, 5, 5]]
    )
    taken = Taken(below, table, kept)
    for first, last in ((0, 4), (1, 5), (3, 5)):
        out = {name: np.full((RUN, 1), 99, np.uint8) for name in inputs}
        found = taken.read(first, last, out)
        assert [*found] == [*inputs]
        for name in inputs:
            source = name if name in below else ACTIVATION
            rows = table[first:last, {PREVIOUS: 0, THIS: 1, NEXT: 2, SHORTCUT: 1}[name]]
            expected = [
                below[source][row] if row >= PADDING else kept[source][slot_id(row)] for row in rows
            ]
            np.testing.assert_array_equal(found[name][: last - first], expected)


def test_rows_that_follow_each_other_stay_where_they_are() -> None:
    below = arrays((ACTIVATION,), 20)
    out = {name: np.zeros((RUN, 1), np.uint8) for name in (PREVIOUS, THIS, NEXT)}
    broken = np.concatenate([FOLLOWING, FOLLOWING])
    for first, stays in ((0, True), (2, False), (4, True)):
        found = Taken(below, broken, {}).read(first, first + RUN, out)
        for array in found.values():
            assert np.shares_memory(array, below[ACTIVATION]) == stays
    at_the_end = FOLLOWING + 20 - RUN - 4
    found = Taken(below, at_the_end, {}).read(0, RUN - 1, out)
    assert np.shares_memory(found[THIS], below[ACTIVATION])
    assert not np.shares_memory(found[NEXT], below[ACTIVATION]), "it would run over the end"
