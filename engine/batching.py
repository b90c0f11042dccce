"""Batching arithmetic: which runs of which sizes a number of clips takes.

Pure functions; called by the executor.
"""

from __future__ import annotations

from collections.abc import Sequence


def split_rows(rows: int, sizes: Sequence[int]) -> list[int]:
    """Sizes of the runs that hold `rows` clips; their sum may exceed `rows` (padding).

    `sizes` are ascending, and nothing else may run. As many of the largest as fill, then
    the smallest that takes the rest in one run.
    """
    largest = sizes[-1]
    runs = [largest] * (rows // largest)
    rest = rows % largest
    if rest:
        runs.append(next(size for size in sizes if size >= rest))
    return runs
