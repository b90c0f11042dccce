"""Child processes: started with spawn, found dead by their sentinel, ended by pid."""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import multiprocess.process
import multiprocess.resource_tracker
from multiprocess.connection import wait

from engine.base.errors import WorkerError
from engine.base.events import event
from engine.base.signals import INTERRUPTIONS, deferred
from engine.base.subprocesses import KILL_GRACE_S
from engine.base.threads import not_started

_CODE_S = 0.2  # from a sentinel's word to the exit code
_LOOK_EVERY_S = 0.05  # at a child that is to end
NO_GUARD = 71  # exit code of a child that found itself starting children
# Libraries read these once, when they are loaded.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

log = logging.getLogger("engine")

_spawn = multiprocess.get_context("spawn")
# A program that forks copies the list of what multiprocess ends when the program does.
os.register_at_fork(after_in_child=multiprocess.process._children.clear)


@dataclass(eq=False)
class Child:
    """A process in a slot. `slot` is what it does (``worker-0``); `name` is unique, since a
    slot's process may be replaced (``worker-0.2`` is its second)."""

    slot: str
    incarnation: int
    process: Any
    started: float = field(default_factory=time.monotonic)
    ready: bool = False
    port: int | None = None  # where guests send clips to an executor
    killed: str = ""  # by us, and why
    died_by: float = float("inf")  # when a kill has taken effect, unless a driver prevents it

    @property
    def name(self) -> str:
        return f"{self.slot}.{self.incarnation}"

    @property
    def role(self) -> str:
        """``worker`` or ``executor``."""
        return self.slot.partition("-")[0]

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    @property
    def sentinel(self) -> int:
        """A file descriptor that becomes readable when the process has ended."""
        return int(self.process.sentinel)

    @property
    def alive(self) -> bool:
        # In a program that ignores SIGCHLD nobody hears how a child ended, but that it did.
        return bool(self.process.is_alive()) and not wait([self.sentinel], 0)

    def kill(self, reason: str) -> None:
        """End it now; its sentinel tells when it is over."""
        self.killed = reason
        self.died_by = time.monotonic() + KILL_GRACE_S
        self.process.kill()

    def forget(self) -> None:
        """Nothing more is asked of it."""
        if self.exit_code is None:
            # multiprocess would wait for it when this process ends, for ever
            multiprocess.process._children.discard(self.process)
        else:
            self.process.close()

    @property
    def exit_code(self) -> int | None:
        """None while it lives, and where the program ignores SIGCHLD. Its sentinel may tell a
        moment before the system has the code."""
        until = time.monotonic() + _CODE_S
        while (code := self.process.exitcode) is None and not self.alive:
            if time.monotonic() > until:
                break
            time.sleep(0.001)
        return None if code is None else int(code)


def refuse_inside_import() -> None:
    """Stop a child whose main module starts the engine while the child imports it.

    The parent turns the exit code into one message for the user.
    """
    if getattr(multiprocess.current_process(), "_inheriting", False):
        sys.exit(NO_GUARD)


@contextmanager
def standing_by(slot: str, threads: int, module: str) -> Iterator[None]:
    """Meanwhile a process stands by for a slot. It imports the module while its parent still finds
    out what it is to do; `start` gives it that. One that nobody has started by the end is ended."""
    refuse_inside_import()
    try:
        with deferred():
            atexit.register(_dismiss)  # an interruption may come at any place
            _standing_by[slot, threads, module] = _stand_by(slot, threads, module)
        yield
    finally:
        _dismiss()


def _dismiss() -> None:
    """End what still stands by."""
    with deferred():
        atexit.unregister(_dismiss)
        while _standing_by:
            (slot, _, _), unused = _standing_by.popitem()
            unused.orders.close()
            end([Child(slot, 1, unused.process)], 0.0)  # it holds nothing


class _StandingBy(NamedTuple):
    process: Any
    orders: Any  # where it is told what to do


_standing_by: dict[tuple[str, int, str], _StandingBy] = {}


def _stand_by(slot: str, threads: int, module: str) -> _StandingBy:
    orders, told = _spawn.Pipe(duplex=False)
    with orders:
        name = Child(slot, 1, None).name
        return _StandingBy(_spawned(name, threads, _await_orders, module, orders), told)


def start(
    slot: str, incarnation: int, threads: int, module: str, address: str, *settings: Any
) -> Child:
    """Start ``module.main(address, name, *settings)``. The module is imported there: what an
    executor needs is no business of its parent's. Raises `WorkerError`."""
    child = Child(slot, incarnation, None)
    orders = address, child.name, *settings
    found = _standing_by.pop((slot, threads, module), None) if incarnation == 1 else None
    if found is None:
        child.process = _spawned(child.name, threads, _main, module, *orders)
        return child
    child.process = found.process
    with found.orders, suppress(OSError):  # it is dead already: its sentinel tells
        found.orders.send(orders)
    return child


def _spawned(name: str, threads: int, target: Callable[..., None], *arguments: Any) -> Any:
    """Raises `WorkerError`."""
    process = _spawn.Process(target=target, args=arguments, name=name, daemon=True)
    try:
        with _thread_variables(threads), _importable_main(), _signals_blocked():
            process.start()
    except OSError as error:
        raise WorkerError(not_started(name, error)) from None
    return process


def _main(module: str, *arguments: Any) -> None:
    importlib.import_module(module).main(*arguments)


def _await_orders(module: str, orders: Any) -> None:
    main = importlib.import_module(module).main
    try:
        arguments = orders.recv()
    except EOFError:  # nothing is to be done after all
        return
    main(*arguments)


def end(children: list[Child], grace: float) -> None:
    """Wait for children to end by themselves, kill the rest; none is left afterwards that
    the system can end."""
    deadline = time.monotonic() + grace
    for child in children:
        _join(child, deadline)
    for child in children:
        if child.alive:
            child.kill("it did not end by itself")
        _join(child, time.monotonic() + KILL_GRACE_S)
        if child.alive:  # stuck in a driver; the system ends it when that returns
            log.error(
                "%s (pid %d) does not die",
                child.name,
                child.pid,
                extra=event("immortal", child.name, pid=child.pid),
            )
        child.forget()


def _join(child: Child, until: float) -> None:
    """Wait until it has ended, or it is too late. Its sentinel alone would not do: processes that
    it has started, and that outlive it, may hold that, too."""
    while child.alive and (left := until - time.monotonic()) > 0:
        child.process.join(min(left, _LOOK_EVERY_S))


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """The mask that a child is to inherit: what a terminal or a service manager sends to the
    whole group reaches the parent alone, which ends its children itself, even while their
    interpreters are still starting. The same for multiprocess's tracker, which outlives them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
    try:
        multiprocess.resource_tracker.ensure_running()  # unblocks some when it starts one
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _importable_main() -> Iterator[None]:
    """Hide a main module that is not in a file (``python - <script``): spawn makes children
    import it, and ours do not need it."""
    module = sys.modules["__main__"]
    file = getattr(module, "__file__", None)
    if file is None or os.path.exists(file):
        yield
        return
    del module.__file__
    try:
        yield
    finally:
        module.__file__ = file


@contextmanager
def _thread_variables(threads: int) -> Iterator[None]:
    """The thread counts that a child is to see, set while it is started."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
