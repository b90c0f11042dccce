"""What tests of the pipeline share: samples, their records without processes, comparison."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.options import Options
from engine.base.records import Failure, Prediction, Record
from engine.pipeline import Pipeline
from tests.conftest import ROOT, annotation


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of all lengths, three of them unusable."""
    path = tmp_path_factory.mktemp("data") / "data.pkl"
    annotations: list[Any] = [annotation(5 + 6 * i, persons=1 + i % 2, seed=i) for i in range(24)]
    annotations[7]["keypoint"] = np.zeros((1, 20, 25, 2))
    annotations[12] = "junk"
    annotations[23]["label"] = 99
    path.write_bytes(pickle.dumps(annotations))
    return path


@pytest.fixture(scope="session")
def expected_of(data: Path, tiny_model: Path) -> Callable[[str], dict[str, Record]]:
    """The records of the same run without processes, by layout."""

    @cache
    def of(layout: str) -> dict[str, Record]:
        chosen = options(data, tiny_model, in_process=True, layout=layout)
        with Pipeline(chosen) as pipeline:
            return {record.id: record for record in pipeline}

    return of


@pytest.fixture(scope="session")
def expected(expected_of: Callable[[str], dict[str, Record]]) -> dict[str, Record]:
    return expected_of("auto")


def options(data: Path, model: Path, **more: Any) -> Options:
    return Options(dataset=str(data), model=str(model), **more)


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
    runner: Any = pipeline._runner
    return [child.pid for child in runner._pool if child.role == role]


def command(data: Path, model: Path, *more: object) -> list[str]:
    base = [sys.executable, "-m", "engine.run", "--dataset", data, "--model", model, *more]
    return [str(part) for part in base]


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the modules of an NPU's runtimes on the path."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "doubles"))


@pytest.fixture(params=["acl", "pyacl"])
def name(request: pytest.FixtureRequest, doubles: None) -> str:
    """A backend for NPUs."""
    return str(request.param)


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the next runs of the device come to: see the double."""
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setenv("DOUBLE_FAULTS", str(folder))
    return folder / "execute"
