"""Batches and runs of allowed sizes, with a clock of the test's own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.network.backend import split_rows
from engine.runtime.batching import Batcher


@given(st.integers(0, 500), st.sets(st.integers(1, 160), min_size=1))
def test_allowed_sizes_only(rows: int, sizes: set[int]) -> None:
    runs = split_rows(rows, sorted(sizes))
    assert set(runs) <= sizes
    assert runs == sorted(runs, reverse=True)
    assert 0 <= sum(runs) - rows < min(sizes)  # less padding than one run can have
    # No run of real rows is missing, none is all padding.
    assert sum(runs[:-1]) <= max(rows - 1, 0)


@given(st.integers(0, 40), st.sets(st.integers(1, 12), min_size=1, max_size=3))
def test_least_padding_then_fewest_runs(rows: int, sizes: set[int]) -> None:
    reached = {0: 0}  # sums of runs, and of how few
    for _ in range(rows):
        for total, runs in list(reached.items()):
            for size in sizes:
                if total < rows:
                    reached[total + size] = min(runs + 1, reached.get(total + size, rows + 1))
    least = min(total for total in reached if total >= rows)
    found = split_rows(rows, sorted(sizes))
    assert (sum(found), len(found)) == (least, reached[least])


def test_gears_of_a_device() -> None:
    gears = [20, 40, 80, 160]
    assert split_rows(100, gears) == [80, 20]
    assert split_rows(340, gears) == [160, 160, 20]
    assert split_rows(60, [80, 160]) == [80]
    assert split_rows(20, [1]) == [1] * 20


def test_at_once() -> None:
    batcher: Batcher[str] = Batcher(max_batch=3, max_wait=0)
    assert batcher.due() is None
    assert batcher.take(0) == []
    batcher.add("a", 5)
    assert batcher.due() == 5
    assert batcher.take(5) == ["a"]
    for item in "bcde":  # what came while the device was busy
        batcher.add(item, 6)
    assert batcher.take(7) == ["b", "c", "d"]
    assert batcher.take(7) == ["e"]


def test_waits_from_the_first_item() -> None:
    batcher: Batcher[str] = Batcher(max_batch=3, max_wait=1)
    batcher.add("a", 10)
    batcher.add("b", 10.9)
    assert batcher.due() == 11
    assert batcher.take(10.95) == []
    assert batcher.take(11) == ["a", "b"]
    for item in "cde":
        batcher.add(item, 20)
    assert batcher.due() == 20  # full: no waiting
    assert batcher.take(20) == ["c", "d", "e"]


@given(
    st.lists(st.floats(0, 5), max_size=30),
    st.integers(1, 4),
    st.floats(0, 3),
)
def test_everything_once_in_order_and_in_time(
    gaps: list[float], max_batch: int, max_wait: float
) -> None:
    """A device that is always free takes each batch when it is due."""
    batcher: Batcher[int] = Batcher(max_batch, max_wait)
    now, taken, arrived = 0.0, [], {}

    def take_due(until: float) -> None:
        while (due := batcher.due()) is not None and due <= until:
            batch = batcher.take(due)
            assert 1 <= len(batch) <= max_batch
            assert len(batch) == max_batch or due - arrived[batch[0]] <= max_wait + 1e-9
            taken.extend(batch)

    for item, gap in enumerate(gaps):
        take_due(now + gap)
        now += gap
        arrived[item] = now
        batcher.add(item, now)
    take_due(now + max_wait)
    assert taken == list(range(len(gaps)))


def test_what_need_not_wait() -> None:
    batcher = Batcher[str](max_batch=2, max_wait=10.0)
    for item in "abc":
        batcher.add(item, 0.0)
    batcher.hurry()
    batcher.add("d", 1.0)
    assert batcher.take(1.0) == ["a", "b"]
    assert batcher.take(1.0) == ["c", "d"]
    batcher.add("e", 2.0)
    assert batcher.take(2.0) == []
    assert batcher.take(12.0) == ["e"]
