"""What a runtime prints on standard output: the only place where some give the reason of a failure.

ACL's texts have up to a score of lines. A message of ours is its first line, and what was printed
stands below it, indented; who has more to advise puts it into the first line.
"""

from __future__ import annotations

import ctypes
import os
import sys

from engine.base.errors import printable

_SHOWN = 1400  # characters: with a line of ours, what a message between processes has room for


class Printed:
    """What goes to standard output, kept in memory. The runtime's C++ writes there, too, so the
    descriptor itself is redirected."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("posec3d-printed")
        os.dup2(self._fd, 1)
        self._libc = ctypes.CDLL(None)

    def __call__(self) -> str:
        """All that was printed since the last call: what is looked for may be anywhere in it."""
        sys.stdout.flush()
        self._libc.fflush(None)
        size = os.lseek(self._fd, 0, os.SEEK_END)
        text = os.pread(self._fd, size, 0).decode(errors="replace")
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        return text.strip()


def with_printed(message: str, printed: str) -> str:
    """A message of one line, and what was printed below it; of a long text its two ends."""
    lines = [line.rstrip() for line in printed.splitlines()]
    below = "\n".join(f"    {printable(line)}" for line in lines if line)
    if (left := len(below) - _SHOWN) > 0:
        half = _SHOWN // 2
        below = f"{below[:half]}\n    [… {left} characters …]\n    {below[-half:].lstrip()}"
    return f"{message}\n  the runtime printed:\n{below}" if below else message


def advised(told: object, advice: str) -> str:
    """What an error says, with more of ours behind its first line."""
    ours, newline, theirs = str(told).partition("\n")
    return f"{ours}{advice}{newline}{theirs}"
