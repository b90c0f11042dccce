"""Threads and processes: whether the system lets this process have more of them.

Libraries do not tell where it does not: libzmq aborts, OpenBLAS interrupts its own process,
OpenVINO waits for threads that never came. So the room is looked at before they are asked.
"""

from __future__ import annotations

import os
import threading
from typing import Final

from engine.base import memory
from engine.base.errors import EngineError

LIMITS: Final = "ulimit -u, or pids.max of the control group, which a container has, too"
_OWN: Final = 4  # libzmq's two, one that watches, and one to spare
_MOST: Final = 64  # that numpy's OpenBLAS is built for


def room(wanted: int) -> int:
    """How many threads can be started now, beside those that are: `wanted` at most."""
    over = threading.Event()
    started: list[threading.Thread] = []
    try:
        while len(started) < wanted:
            thread = threading.Thread(target=over.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:  # which is all that Python says
        pass
    finally:
        over.set()
        for thread in started:
            thread.join()
    return len(started)


def require(count: int = _OWN) -> None:
    """Raise `EngineError` where so many threads cannot be started."""
    if (there := room(count)) < count:
        raise EngineError(
            f"{there} more threads can be started here, and {count} are needed: {reason(count)}"
        )


def reason(wanted: int) -> str:
    """Why so many threads more cannot be started, in words."""
    if not memory.leaves_room_for(wanted):
        return memory.in_words()
    return f"the limit on processes is reached ({LIMITS})"


def start(thread: threading.Thread) -> None:
    """Start a thread. Raises `EngineError` where there can be none."""
    try:
        thread.start()
    except RuntimeError as error:
        raise EngineError(f"{thread.name}: {error}: {reason(1)}") from None


def require_for_numpy() -> None:
    """The same for a process that is going to import numpy, which starts one for each core."""
    given = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    wanted = int(given) if given.isdecimal() else len(os.sched_getaffinity(0))
    if (there := room(wanted := min(wanted, _MOST) + _OWN)) < wanted:
        raise EngineError(
            f"{there} more threads can be started here; numpy starts one for each core "
            f"(OPENBLAS_NUM_THREADS=1: one), and the engine {_OWN} of its own: {reason(wanted)}"
        )


def not_started(what: str, error: OSError) -> str:
    """Why there is no such process, in words."""
    return (
        f"{what} cannot be started: {error.strerror}. The limits are those on processes "
        f"({LIMITS}), on descriptors (ulimit -n), and memory"
    )
