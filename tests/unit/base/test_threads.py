"""Threads: what is asked for is looked at first."""

from __future__ import annotations

import threading

import pytest

from engine.base import threads
from engine.base.errors import EngineError


@pytest.fixture
def five_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system lets us have five threads more."""
    start, most = threading.Thread.start, threading.active_count() + 5

    def limited(thread: threading.Thread) -> None:
        if threading.active_count() >= most:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)


@pytest.mark.usefixtures("five_more")
def test_room() -> None:
    before = threading.active_count()
    assert [threads.room(wanted) for wanted in (0, 3, 5, 6, 60)] == [0, 3, 5, 5, 5]
    assert threading.active_count() == before
    threads.require(5)
    with pytest.raises(EngineError, match=r"5 more threads can be started here, and 6 are needed"):
        threads.require(6)


@pytest.mark.usefixtures("five_more")
def test_room_for_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    threads.require_for_numpy()
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with pytest.raises(EngineError, match="OPENBLAS_NUM_THREADS=1"):
        threads.require_for_numpy()
