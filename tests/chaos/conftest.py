"""What the promises' tests share: a larger data set, kills at random times, and stopwatches.

``python -m pytest tests/chaos -m "full or not full"`` runs all of it; the quick part is in
every run. Seeds are the parameters of the tests.
"""

from __future__ import annotations

import os
import pickle
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.base.options import Options
from engine.base.records import Record
from engine.pipeline import Pipeline
from tests.conftest import annotation
from tests.integration.conftest import (  # noqa: F401  # fixtures
    check,
    children,
    data,
    expected,
    expected_of,
    options,
)

PROMISES = pytest.StashKey[list[tuple[str, str, float, float]]]()
TEN = 10  # a slow machine gets ten times what is promised


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
    """400 samples, eight seconds of work; all of them usable."""
    path = tmp_path_factory.mktemp("data") / "many.pkl"
    path.write_bytes(pickle.dumps([annotation(5 + i % 60, seed=i) for i in range(400)]))
    return path


@pytest.fixture(scope="session")
def undisturbed(many: Path, tiny_model: Path) -> dict[str, Record]:
    """The records of `many`, without processes."""
    with Pipeline(options(many, tiny_model, in_process=True)) as pipeline:
        return {record.id: record for record in pipeline}


@contextmanager
def killing(
    pipeline: Pipeline, roles: list[str], count: int, seed: int, pause: tuple[float, float]
) -> Iterator[list[float]]:
    """Meanwhile SIGKILL children at random, `count` times, so many seconds apart. Gives the
    times of the kills."""
    rng = random.Random(seed)
    kills: list[float] = []
    over = threading.Event()

    def run() -> None:
        while len(kills) < count and not over.wait(rng.uniform(*pause)):
            ready: Any = pipeline._runner
            pids = [c.pid for c in ready._pool if c.ready and not c.killed and c.role in roles]
            if pids:
                os.kill(rng.choice(pids), signal.SIGKILL)
                kills.append(time.monotonic())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield kills
    finally:
        over.set()
        thread.join()


def disturbed(chosen: Options, roles: list[str], kills: int, seed: int, pause: Any) -> Any:
    """Records and pipeline of a run with that many kills."""
    with Pipeline(chosen) as pipeline, killing(pipeline, roles, kills, seed, pause) as times:
        records = list(pipeline)
    assert len(times) == kills, "the run was over before the kills"
    return records, pipeline


def in_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let `script` run at the start of every child (ours has started long ago)."""
    (tmp_path / "sitecustomize.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
