"""Want of memory: how programs say it, each in its own way, and what the limits are.

Comes in: errors, and what the system says of this process. Goes out: one message for people.
"""

from __future__ import annotations

import errno
import re
import resource
from pathlib import Path
from typing import Final

EXIT_CODE: Final = 72
"""Of a child that ended for want of memory."""

_SAID: Final = re.compile(
    r"bad_alloc|bad allocation|out of memory|not enough memory|length_error|failed to map segment"
    r"|(cannot|can't|unable to|failed to|could not) allocate",
    re.IGNORECASE,
)
"""As C++ libraries and the dynamic linker say it."""
_USUAL: Final = 4 * 10**9  # bytes of addresses that a run has; memory it takes far less
_STACK: Final = 8 << 20  # bytes that the address space gives a thread, at the least


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no more memory."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    host_s = isinstance(error, (RuntimeError, ImportError)) and "CUDA" not in str(error)
    if host_s and _SAID.search(str(error)):
        return True
    causes = (error.__cause__, error.__context__)
    return any(ran_out(cause) for cause in causes if cause is not None)


def in_words() -> str:
    """That memory ran out, what limits it, and what needs less."""
    return (
        f"there is not enough memory: this process may have {limits()}. Less is needed with "
        "fewer --workers and --threads, a smaller --max-batch, --max-memory or --track-memory"
    )


def limits() -> str:
    """How much memory a process may have, and by what."""
    from engine.base import host  # on use: what it imports takes its time

    allowed = f"{host.memory_limit() / 1e9:.1f} GB (the machine's, or its control group's)"
    if (space := address_space()) is not None:
        allowed += f" and {space / 1e9:.1f} GB of addresses (ulimit -v, prlimit --as)"
    return allowed


def address_space() -> int | None:
    """Bytes of addresses that this process may use; None where nothing limits them."""
    least = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if least == resource.RLIM_INFINITY else least


def scarce() -> str | None:
    """What to say beforehand where addresses are few: libraries that lack some abort, hang, or
    blame a file."""
    space = address_space()
    if space is None or space >= _USUAL:
        return None
    return (
        f"this process may have {space / 1e9:.1f} GB of addresses (ulimit -v, prlimit --as), and "
        f"runtimes take {_USUAL / 1e9:.0f} or more: what fails or hangs may lack memory"
    )


def leaves_room_for(threads: int) -> bool:
    """Whether the address space has room for the stacks of so many threads more."""
    if (space := address_space()) is None:
        return True
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize() + threads * _STACK < space
