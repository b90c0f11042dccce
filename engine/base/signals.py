"""Signals that end a run, held back while something must not be left half done."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from engine.base.errors import Interrupted

_SAME_S = 0.5  # in which signals are one
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded() -> dict[signal.Signals, Any]:
    """Those of `INTERRUPTIONS` that nobody told us to ignore (nohup, a shell), and their
    handlers."""
    handlers = {number: signal.getsignal(number) for number in INTERRUPTIONS}
    return {n: handler for n, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}


@contextmanager
def deferred() -> Iterator[None]:
    """Hold back what `INTERRUPTIONS` do in Python; what has come does it at the end.

    A mask would not do: another thread (numpy's, a runtime's) would take the signal, and
    Python runs the handler in its main thread all the same. Which is why other threads
    need nothing held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = heeded()
    arrived: list[int] = []
    deferring = False

    def note(number: int, frame: FrameType | None) -> None:
        if deferring:
            arrived.append(number)
            return
        # It came while handlers were exchanged.
        signal.signal(number, handlers[signal.Signals(number)])
        signal.raise_signal(number)

    try:
        for number in handlers:
            signal.signal(number, note)
        deferring = True
        yield
    finally:
        deferring = False
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for came in arrived:
            signal.raise_signal(came)


class Interruptible(Protocol):
    """What a first signal ends in good order, and a second one at once."""

    interruptions: int

    def interrupt(self) -> None: ...


class Interruption:
    """What a signal does: before the pipeline is ready it ends everything; then the first two
    are the pipeline's. Only a third raises: an exception at an arbitrary place may be lost there
    (in a destructor), with a message that says nothing to a user. What comes soon after another is
    the same one again: ``timeout`` sends two, to a process and to its group."""

    pipeline: Interruptible | None = None
    _last = -math.inf  # when one was heeded

    def __call__(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if now - self._last < _SAME_S:
            return
        self._last = now
        if self.pipeline is None:
            raise Interrupted
        if self.pipeline.interruptions > 1:
            raise KeyboardInterrupt
        self.pipeline.interrupt()


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Handle what interrupts a run."""
    handler = Interruption()
    before = heeded()
    for number in before:
        signal.signal(number, handler)
    try:
        yield handler
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
