"""The loop that drives a run, step by step, to its end or through its draining.

Comes in: a run that moves in steps. Goes out: its records. As pure and for the same runs as
`engine.runtime.watchdog`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from engine.base.events import event
from engine.base.records import Record

log = logging.getLogger("engine")


class Steps(Protocol):
    """A run that moves in steps. `finished`: whether every sample has its record; `leases`: how
    many are on their way."""

    @property
    def finished(self) -> bool: ...

    @property
    def leases(self) -> int: ...

    def step(self, *, fresh: bool) -> Iterator[Record]:
        """Grant what is `fresh`, wait a little, and give the records that have come."""


def records(
    run: Steps,
    interruptions: Callable[[], int],
    grace: float,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Record]:
    """The records of a run, as they come. When interrupted, those of samples that are on their way
    still come, within the grace and until a second interruption."""
    while not interruptions():
        if run.finished:
            return
        yield from run.step(fresh=True)
    until, count = clock() + grace, run.leases
    log.warning(
        "interrupted: finishing %d samples that are on their way, for %g s at most "
        "(--grace); a second interruption ends at once",
        count,
        grace,
        extra=event("draining", leases=count),
    )
    while run.leases and clock() < until and interruptions() < 2:
        yield from run.step(fresh=False)
