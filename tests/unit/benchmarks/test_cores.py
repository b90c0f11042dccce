"""Which cores a run gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cores import doubled, in_order


@pytest.mark.parametrize(
    ("most", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_counts(most: int, counts: list[int]) -> None:
    assert doubled(most) == counts


def test_each_core_before_its_second_thread(tmp_path: Path) -> None:
    for cpu, siblings in enumerate(["0-1", "0-1", "2-3", "2-3"]):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings)
    assert in_order({3, 2, 1, 0}, tmp_path) == [0, 2, 1, 3]
    assert in_order({1, 2, 3}, tmp_path) == [1, 2, 3]
    assert in_order({5, 4}, tmp_path) == [4, 5]  # of which nothing is known
