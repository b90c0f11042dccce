"""What the promises' tests share: a larger data set, a backend that costs little, and stopwatches.

OpenVINO runs where its bits or its memory are what is tested (test_sameness, test_memory).
``python -m pytest tests/chaos`` runs a seed of each, with ``-m "full or not full"`` all of
them. Seeds are the parameters of the tests.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.base.records import Record
from tests.support.joints import on_the_path, options
from tests.support.joints_backend import PACE
from tests.support.leaks import import_openvino
from tests.support.runs import alone
from tests.support.samples import annotation

PROMISES = pytest.StashKey[list[tuple[str, str, float, float]]]()
TEN = 10  # a slow machine gets ten times what is promised


@pytest.fixture(autouse=True, scope="session")
def _reported() -> None:
    import_openvino()


@pytest.fixture(autouse=True, scope="session")
def _joints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with on_the_path(tmp_path_factory.mktemp("site-packages")):
        yield


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples take 10 ms each and keep no processor busy: `many` four seconds."""
    monkeypatch.setenv(PACE, "0.01")


@pytest.fixture
def promised(request: pytest.FixtureRequest) -> Callable[[str, float, float], None]:
    """``promised(what, took, limit)`` in seconds: fails at ten times the limit; the report at
    the end of the session has the figure."""

    def note(what: str, took: float, limit: float) -> None:
        notes = request.config.stash.setdefault(PROMISES, [])
        notes.append((request.node.name, what, took, limit))
        assert took <= TEN * limit, f"{what}: {took:.2f} s, promised within {limit:g} s"

    return note


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    notes = config.stash.get(PROMISES, [])
    if notes:
        terminalreporter.section("promised within, seconds")
    for test, what, took, limit in notes:
        terminalreporter.line(f"{took:7.3f} of {limit:<4g} {what}  ({test})")


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 samples, all of them usable."""
    path = tmp_path_factory.mktemp("data") / "many.pkl"
    path.write_bytes(pickle.dumps([annotation(5 + i % 60, seed=i) for i in range(400)]))
    return path


@pytest.fixture(scope="session")
def undisturbed(many: Path, tiny_model: Path) -> dict[str, Record]:
    """The records of `many`, without processes."""
    return alone(options(many, tiny_model, in_process=True))


@pytest.fixture(scope="session")
def expected(data: Path, tiny_model: Path) -> dict[str, Record]:
    """The records of `data`, without processes."""
    return alone(options(data, tiny_model, in_process=True))
