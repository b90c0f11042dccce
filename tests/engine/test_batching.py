"""Runs of allowed sizes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.batching import split_rows


@given(st.integers(0, 500), st.sets(st.integers(1, 160), min_size=1))
def test_allowed_sizes_only(rows: int, sizes: set[int]) -> None:
    runs = split_rows(rows, sorted(sizes))
    assert set(runs) <= sizes
    assert 0 <= sum(runs) - rows < max(sizes)
    # No run of real rows is missing, none is all padding.
    assert sum(runs[:-1]) <= max(rows - 1, 0)


def test_smallest_that_fits() -> None:
    assert split_rows(60, [20, 80, 160]) == [80]
    assert split_rows(20, [20, 80, 160]) == [20]
    assert split_rows(340, [20, 80, 160]) == [160, 160, 20]
    assert split_rows(20, [1]) == [1] * 20
