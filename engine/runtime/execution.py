"""Executions: a run as its user holds it, opened, iterated once, closed.

Comes in: a driver, which does the work. Goes out: what its records come to, one after the other.
The base of `engine.pipeline.Pipeline` and `engine.livestream.Stream`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from engine.base.descriptors import raise_limit
from engine.base.errors import UsageError
from engine.base.records import Facts, Figures, Record
from engine.runtime.aggregator import Aggregator

Item = TypeVar("Item", covariant=True)
Opened = TypeVar("Opened", bound="Execution[Any]")


class Driver(Protocol):
    """What does the work: processes, an engine on each node of a cluster, or this process."""

    watchers: list[Callable[[float], None]]

    @property
    def max_batch(self) -> int: ...

    @property
    def engines(self) -> int: ...

    @property
    def port(self) -> int | None: ...

    def start(self) -> Facts: ...

    def records(self) -> Iterator[Record]: ...

    def processes(self) -> list[dict[str, Any]]: ...

    def waits(self) -> str: ...

    def close(self, *, at_once: bool = False) -> None: ...


class Execution(ABC, Generic[Item]):
    """A run. Leaving its ``with`` block ends its processes.
    `facts` tell what the device really runs."""

    facts: Facts
    _does: ClassVar[str] = "run"  # in words

    def __init__(self) -> None:
        raise_limit()  # of descriptors: every child takes some
        self.interruptions = 0
        self._aggregator = Aggregator()
        self._iterated = self._closed = False
        self._pid = os.getpid()

    def _start(self, driver: Driver) -> None:
        """Start the driver, or end what has started of it."""
        self._driver = driver
        try:
            self.facts = driver.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close(at_once=error is not None or self.interruptions > 1)

    def close(self, *, at_once: bool = False) -> None:
        """End every process. Leaving the ``with`` block does it, too. In a process that was forked
        meanwhile it does nothing: what runs is its parent's."""
        if not self._ours:
            return
        self._closed = True
        self._driver.close(at_once=at_once)

    def __iter__(self) -> Iterator[Item]:
        if self._iterated:
            name = type(self).__name__
            raise UsageError(f"a {name} is iterated once; open another one to {self._does} again")
        self._iterated = True
        return self._items()

    @property
    def _ours(self) -> bool:
        """Whether this is the process that opened it, none that was forked from it."""
        return self._pid == os.getpid()

    @abstractmethod
    def _items(self) -> Iterator[Item]:
        """What the records come to."""

    def _records(self) -> Iterator[Record]:
        """The records of the driver, as long as it is not closed."""
        records = self._driver.records()
        while True:
            name = type(self).__name__
            if not self._ours:
                raise UsageError(
                    f"this {name} was opened in process {self._pid}, which forked this one; open "
                    "another one here, in a process that is spawned"
                )
            if self._closed:
                raise UsageError(f"this {name} is closed; iterate it inside its `with` block")
            record = next(records, None)
            if record is None:
                return
            yield record

    def interrupt(self) -> None:
        """End the iteration when what is on its way is done, or ``--grace`` is over; the second
        time, at once. May be called from a signal handler."""
        self.interruptions += 1

    @property
    def interrupted(self) -> bool:
        """Whether the iteration ends, or ended, by an interruption."""
        return self.interruptions > 0

    @property
    def figures(self) -> Figures:
        """Work, bytes and restarts so far."""
        return self._aggregator.figures

    @property
    def watchers(self) -> list[Callable[[float], None]]:
        """What is told the time several times a second, in this thread, while it iterates."""
        return self._driver.watchers

    def processes(self) -> list[dict[str, Any]]:
        """The children, as a snapshot has them; none in process."""
        return self._driver.processes()

    def waits(self) -> str:
        """Which stage waits for which at the moment, in words."""
        return self._driver.waits()
