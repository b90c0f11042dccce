"""Signals: how often a run is interrupted."""

from __future__ import annotations

import signal
import time

import pytest

from engine.base.errors import Interrupted
from engine.base.signals import interruptible


class Run:
    """What is to be interrupted."""

    interruptions = 0

    def interrupt(self) -> None:
        self.interruptions += 1


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_signals_of_one_moment_are_one(second: int) -> None:
    """``timeout`` sends one to a process and one to its group."""
    run = Run()
    with interruptible() as interruption:
        interruption.pipeline = run
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(second)
        assert run.interruptions == 1
        time.sleep(0.6)
        signal.raise_signal(second)
        assert run.interruptions == 2
        time.sleep(0.6)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)


def test_before_the_pipeline_is_ready_the_first_ends_it() -> None:
    """And the second of that moment does not cut short what follows."""
    with interruptible():
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
