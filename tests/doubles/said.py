"""What the doubles print: texts in the form of ACL's own, on C's standard output.

One of ACL's begins with a code of the text, its cause and what to do, and then lists the calls that
failed, innermost first; ACL's number of an error stands in one of those lines, and another one's in
a line above it. ``DOUBLE_TRACE``: how many lines follow on the last number (3).
"""

from __future__ import annotations

import ctypes
import os

_MEMORY = (207001, 207018, 245000)
_libc = ctypes.CDLL(None)


def recent_error(*codes: int) -> str:
    """The text of an error of several calls, each with its number: 7 lines or more."""
    memory, trace = codes[0] in _MEMORY, int(os.environ.get("DOUBLE_TRACE", "3"))
    named = ("EL0004", "Failed to allocate memory.") if memory else ("EE9999", "Inner Error!")
    lines = [
        f"{named[0]}: [PID: 4711] 2025-12-18-10:11:12.131.415 {named[1]}",
        f"Possible Cause: {'the device has less memory than that' if memory else 'see below'}.",
        "Solution: look at what else runs on the device.",
        "TraceBack (most recent call last):",
        *(f"a call failed, runtime result = {code}.[FUNC:Report][FILE:log.cpp]" for code in codes),
        *(f"[Call][Step{n}]a step of it failed.[FUNC:Step][FILE:step.cc]" for n in range(trace)),
    ]
    return "\n        ".join(lines)


def say(text: str) -> None:
    """Print as C does: into a buffer that is not flushed when standard output is a file."""
    _libc.printf(b"%s\n", text.encode())
