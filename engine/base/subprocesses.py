"""Processes of one module each, which end with the process that starts them at the latest.

Comes in: the name of a module, which is run as ``python -m MODULE PARENT …`` and begins with
`end_with`. Goes out: a process, and in the end how it ended. Decode workers and executors are
`engine.runtime.processes`'.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from engine.base.errors import WorkerError
from engine.base.signals import INTERRUPTIONS
from engine.base.threads import not_started

KILL_GRACE_S = 30.0  # a large process takes a moment to be cleared away
_PR_SET_PDEATHSIG = 1

Stream = int | IO[bytes] | None  # as `subprocess.Popen` takes them


def start(
    module: str,
    *arguments: str,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Run a module. What interrupts a run is blocked there: whoever starts the process decides
    when it is over, and a terminal's Ctrl-C is not for it. Raises `WorkerError`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)  # a child inherits the mask
    try:
        return subprocess.Popen(
            [sys.executable, "-m", module, str(os.getpid()), *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            env=environment(),
        )
    except OSError as error:
        raise WorkerError(not_started(module, error)) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def environment() -> dict[str, str]:
    """Variables of a Python process that imports what this one would."""
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def end_with(parent: int) -> None:
    """In the process: end when the parent does, or the thread of it that started this one. A
    thread that watched it could not run while a library holds the GIL."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was faster
        os._exit(0)


def reap(process: subprocess.Popen[bytes], patience: float) -> int | None:
    """The exit code of a process, which is killed where it does not end by itself within
    `patience` seconds; None where even that does not help: it hangs in a driver."""
    for more in (patience, KILL_GRACE_S):
        with suppress(subprocess.TimeoutExpired):
            return process.wait(more)
        process.kill()
    return None


def spell_exit(code: int) -> str:
    """How a process ended, in words."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
