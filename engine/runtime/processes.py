"""Child processes: started with spawn, found dead by their sentinel, ended by pid."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import multiprocess.process
import multiprocess.resource_tracker

from engine.base.errors import UsageError
from engine.base.events import event
from engine.base.signals import INTERRUPTIONS
from engine.base.subprocesses import KILL_GRACE_S

NO_GUARD = 71  # exit code of a child that found itself starting children
MAX_IPC_PATH = 107  # bytes of a Unix socket's path
# Libraries read these once, when they are loaded.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

log = logging.getLogger("engine")

_spawn = multiprocess.get_context("spawn")


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
        return bool(self.process.is_alive())

    def kill(self, reason: str) -> None:
        """End it now; its sentinel tells when it is over."""
        self.killed = reason
        self.died_by = time.monotonic() + KILL_GRACE_S
        self.process.kill()

    @property
    def exit_code(self) -> int | None:
        code: int | None = self.process.exitcode
        return code


def refuse_inside_import() -> None:
    """Stop a child whose main module starts the engine while the child imports it.

    The parent turns the exit code into one message for the user.
    """
    if getattr(multiprocess.current_process(), "_inheriting", False):
        sys.exit(NO_GUARD)


def start(
    slot: str, incarnation: int, threads: int, module: str, address: str, *settings: Any
) -> Child:
    """Start ``module.main(address, name, *settings)``. The module is imported there: what an
    executor needs is no business of its parent's."""
    child = Child(slot, incarnation, None)
    child.process = _spawn.Process(
        target=_main, args=(module, address, child.name, *settings), name=child.name, daemon=True
    )
    with _thread_variables(threads), _importable_main(), _signals_blocked():
        child.process.start()
    return child


def _main(module: str, *arguments: Any) -> None:
    importlib.import_module(module).main(*arguments)


def end(children: list[Child], grace: float) -> None:
    """Wait for children to end by themselves, kill the rest; none is left afterwards that
    the system can end."""
    deadline = time.monotonic() + grace
    for child in children:
        child.process.join(max(0.0, deadline - time.monotonic()))
    for child in children:
        if child.alive:
            child.kill("it did not end by itself")
        child.process.join(KILL_GRACE_S)
        if child.alive:  # stuck in a driver; the system ends it when that returns
            log.error(
                "%s (pid %d) does not die",
                child.name,
                child.pid,
                extra=event("immortal", child.name, pid=child.pid),
            )
            # multiprocess would wait for it when this process ends, for ever
            multiprocess.process._children.discard(child.process)
        else:
            child.process.close()


def private_directory() -> Path:
    """A new directory for sockets: of unguessable name, for this user only (0700)."""
    for base in (tempfile.gettempdir(), "/tmp"):
        path = Path(tempfile.mkdtemp(prefix="posec3d-", dir=base))
        if len(os.fsencode(path / "executor-00.0000.started")) <= MAX_IPC_PATH:
            return path
        shutil.rmtree(path)
    raise UsageError("the temporary directory's path is too long for sockets; set TMPDIR")


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
