"""Runs whose processes are killed at random, or do what a script of the test says."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.base.options import Options
from engine.base.records import Record
from engine.pipeline import Pipeline


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
            ready: Any = pipeline._driver
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


def disturbed(
    chosen: Options, roles: list[str], kills: int, seed: int, pause: tuple[float, float]
) -> tuple[list[Record], Pipeline]:
    """Records and pipeline of a run with that many kills."""
    with Pipeline(chosen) as pipeline, killing(pipeline, roles, kills, seed, pause) as times:
        records = list(pipeline)
    assert len(times) == kills, "the run was over before the kills"
    return records, pipeline


def in_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let `script` run at the start of every child (ours has started long ago)."""
    (tmp_path / "sitecustomize.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
