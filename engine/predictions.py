"""Predictions: the records of a run as they come, or as a table.

Comes in: records. Goes out: the same, or a data frame of pandas, which has to be installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from engine.base.errors import UsageError
from engine.base.records import Failure, Record


class Predictions(Iterator[Record]):
    """An iterator of records."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records = records

    def __next__(self) -> Record:
        return next(self._records)

    def close(self) -> None:
        """End the run."""
        if hasattr(self._records, "close"):
            self._records.close()

    def to_frame(self) -> Any:
        """All records that are still to come, as a `pandas.DataFrame` in the order of the data set.

        Columns: ``id``, ``who``, ``label`` (the annotation's), ``best``, ``name``, ``score``,
        ``clips``, and ``error``, which says why a sample has none of these. What a record does not
        have is None or NaN. Raises `UsageError` without pandas.
        """
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise UsageError(f"to_frame: {error}; pip install pandas") from None
        records = sorted(self, key=lambda record: record.index)
        columns = ("id", "who", "label", "best", "name", "score", "clips", "error")
        rows = [_row(record) for record in records]
        index = pandas.Index([record.index for record in records], name="index", dtype="int64")
        return pandas.DataFrame(rows, index=index, columns=columns)


def _row(record: Record) -> tuple[Any, ...]:
    about = record.id, record.who, record.label
    if isinstance(record, Failure):
        return (*about, None, None, None, None, f"{record.stage}: {record.message}")
    return (*about, record.best, record.name, record.score, record.clips, None)
