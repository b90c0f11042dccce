"""The pool: the child processes of a run, one in each slot, replaced when they die."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from engine.base import host, memory, signals
from engine.base.errors import EngineError, StallError, UsageError, WireError, WorkerError
from engine.base.events import event
from engine.base.subprocesses import KILL_GRACE_S
from engine.runtime import processes
from engine.runtime.limits import MAX_FAILED_STARTS
from engine.runtime.processes import Child
from engine.runtime.settings import PoolSettings
from engine.runtime.transport.link import started_file
from engine.runtime.transport.messages import ExecutorAddress, ExecutorReady, WorkerReady
from engine.runtime.watchdog import Watchdog

log = logging.getLogger("engine")

_STOP_GRACE_S = 3.0


class Pool:
    """The children of a run. `directory` holds their sockets; `address` is the supervisor's."""

    def __init__(
        self, settings: PoolSettings, directory: Path, address: str, watchdog: Watchdog
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._address, self._watchdog = address, watchdog
        self._children: dict[str, Child] = {}
        self._incarnations: dict[str, int] = {}  # the newest in each slot
        self._kills = host.memory_kills()  # before ours

    def start(self) -> None:
        """Start a child in every slot."""
        for number in range(len(self._settings.executors)):
            self._spawn(f"executor-{number}", 1)
        for number in range(self._settings.workers):
            self._spawn(f"worker-{number}", 1)

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._children.values()))

    def get(self, name: str) -> Child | None:
        """The child of that name, None if it is no more."""
        return self._children.get(name)

    def knew(self, name: str) -> bool:
        """Whether there has been a child of that name: its last messages may come late."""
        slot, _, incarnation = name.rpartition(".")
        newest = self._incarnations.get(slot, 0)
        return incarnation.isdecimal() and 1 <= int(incarnation) <= newest

    def of_role(self, role: str) -> list[Child]:
        """The children of a role that are READY."""
        return [child for child in self if child.ready and child.role == role]

    @property
    def complete(self) -> bool:
        """Whether every child is READY."""
        return all(child.ready for child in self)

    def address_of(self, executor: Child) -> ExecutorAddress:
        """Where an executor takes clips."""
        endpoint = self._endpoint(executor.name)
        return ExecutorAddress(executor.slot, executor.name, endpoint, executor.port)

    def ready(self, child: Child, said: WorkerReady | ExecutorReady, now: float) -> None:
        """A child said that it is READY. Raises `WireError` where it is of another role."""
        if isinstance(said, ExecutorReady) != (child.role == "executor"):
            raise WireError(f"{said.kind} from one of another role")
        seconds = now - child.started
        facts = asdict(said.facts if isinstance(said, ExecutorReady) else said)
        about = event("ready", child.name, seconds=seconds, facts=facts)
        words = ", ".join(f"{name} {value}" for name, value in facts.items())
        log.debug("%s is ready after %.1f s: %s", child.name, seconds, words, extra=about)
        child.ready = True
        self._watchdog.ready(child.slot)

    def reap(self, child: Child) -> list[int]:
        """A child is dead: forget it. Returns the leases that it had started.

        Raises `UsageError`, `WorkerError` or `StallError` when it is no use to start another.
        """
        del self._children[child.name]
        code = child.exit_code
        child.forget()
        if code == processes.NO_GUARD:
            raise UsageError(
                "this script starts the engine while it is being imported. Put that under\n"
                '    if __name__ == "__main__":\n'
                "since worker processes import the script that started them"
            )
        if code == memory.EXIT_CODE and not child.ready:
            raise WorkerError(f"{child.slot} cannot start: {memory.in_words()}")
        self._watchdog.died(child.slot, ready=child.ready)
        if self._watchdog.cannot_start(child.slot):
            raise _giving_up(
                child,
                f"{child.slot} failed to start {MAX_FAILED_STARTS} times; the last time it "
                f"{self._ended(child, code)}. What it printed is above",
            )
        if deaths := self._watchdog.in_vain(child.slot):
            raise _giving_up(
                child,
                f"{child.slot} died {deaths} times without a record between its deaths; the last "
                f"time it {self._ended(child, code)}. What it printed is above",
            )
        started = self._started_by(child)
        for left in (started_file(self._directory, child.name), self._directory / child.name):
            left.unlink(missing_ok=True)  # a long run has many dead children
        log.warning(
            "%s died: it %s",
            child.name,
            self._ended(child, code),
            extra=event(
                "died",
                child.name,
                exit_code=code,
                killed=child.killed or None,
                ready=child.ready,
                started=started,
            ),
        )
        return started

    def replace(self, child: Child) -> None:
        """Start another child in the slot of one that is dead."""
        self._spawn(child.slot, child.incarnation + 1)

    def extend_deadlines(self, gap: float) -> None:
        """The machine was paused for `gap` seconds: nobody could get READY meanwhile."""
        for child in self:
            child.started += gap
            child.died_by += gap

    def kill_late(self, now: float) -> None:
        """Kill children that do not get READY in time. Raises `StallError` for one that cannot
        be killed: it holds its device, so that no other could replace it."""
        for child in self:
            age = now - child.started
            if not child.ready and not child.killed and age > self._settings.start_timeout:
                log.warning(
                    "%s was not ready after %.0f s (--start-timeout); killing it",
                    child.name,
                    age,
                    extra=event("late", child.name, age=age),
                )
                child.kill("not ready in time")
            if now > child.died_by:
                raise StallError(
                    f"{child.name} (pid {child.pid}) was killed {KILL_GRACE_S:.0f} s ago "
                    "and does not die: it hangs in the system, most likely in a device's driver"
                )

    def close(self, *, at_once: bool) -> None:
        """End every child: those that are READY get a moment, unless `at_once`."""
        for child in self:
            if at_once or not child.ready:
                child.kill("the run is over")
        processes.end(list(self), _STOP_GRACE_S)
        self._children.clear()

    def _spawn(self, slot: str, incarnation: int) -> None:
        self._incarnations[slot] = incarnation
        role, _, number = slot.partition("-")
        told: tuple[Any, ...]
        if role == "worker":
            threads, told = 1, (self._settings.worker,)
        else:
            settings = self._settings.executors[int(number)]
            threads, told = settings.threads, (self._endpoint(f"{slot}.{incarnation}"), settings)
        module = f"engine.runtime.{role}"
        with signals.deferred():  # a child started is a child known
            child = processes.start(slot, incarnation, threads, module, self._address, *told)
            self._children[child.name] = child
        log.debug("%s started", child.name, extra=event("started", child.name, pid=child.pid))

    def _ended(self, child: Child, code: int | None) -> str:
        """How a process ended."""
        if child.killed:
            return f"was {child.killed}"
        if code == memory.EXIT_CODE:
            return f"ended: {memory.in_words()}"
        if code is None or code >= 0:
            return "ended" if code is None else f"ended with exit code {code}"
        if -code == signal.SIGKILL:
            if host.memory_kills() > self._kills:
                return f"was killed by the system: {memory.in_words()}"
            return "was killed from outside, by the system if memory ran out (dmesg tells)"
        short = memory.address_space() is not None  # what many libraries end by where that is used
        perhaps = f", perhaps since {memory.in_words()}" if short else ""
        return f"was ended by {signal.Signals(-code).name}{perhaps}"

    def _endpoint(self, executor_name: str) -> str:
        return f"ipc://{self._directory}/{executor_name}"

    def _started_by(self, child: Child) -> list[int]:
        """The leases that a dead child had started, as it left word."""
        try:
            leases = orjson.loads(started_file(self._directory, child.name).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return []
        return [number for number in leases if type(number) is int]


def _giving_up(child: Child, message: str) -> EngineError:
    """What ends the run: a process of its own, or one that had to be killed for its silence."""
    return StallError(message) if child.killed else WorkerError(message)
