"""Runs of the pipeline and of the command, and comparison of their records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.options import Options
from engine.base.records import Failure, Prediction, Record
from engine.pipeline import Pipeline


def options(data: Path, model: Path, **more: Any) -> Options:
    return Options(dataset=str(data), model=str(model), **more)


def command(data: Path, model: Path, *more: object) -> list[str]:
    base = [sys.executable, "-m", "engine.run", "--dataset", data, "--model", model, *more]
    return [str(part) for part in base]


def check(records: list[Record], expected: dict[str, Record]) -> None:
    """One record each, and the same bits."""
    assert sorted(r.id for r in records) == sorted(expected)
    for record in records:
        other = expected[record.id]
        if isinstance(record, Failure):
            assert record == other
        else:
            assert isinstance(other, Prediction)
            assert (record.index, record.label) == (other.index, other.label)
            np.testing.assert_array_equal(record.logits, other.logits)
            np.testing.assert_array_equal(record.scores, other.scores)


def children(pipeline: Pipeline, role: str) -> list[int]:
    """Process ids."""
    runner: Any = pipeline._driver
    return [child.pid for child in runner._pool if child.role == role]


def alone(chosen: Options) -> dict[str, Record]:
    """The records of a run without processes, by id."""
    with Pipeline(chosen) as pipeline:
        return {record.id: record for record in pipeline}
