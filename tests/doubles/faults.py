"""What a test wants runs of a device to come to.

``DOUBLE_FAULTS`` names a folder, in which a file ``execute`` holds what the next runs come to, a
line each: ``ok``, ``fail CODE``, ``hang``, ``abort``, ``memory N`` (no memory for an input of N
bytes or more, from then on).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


def _path() -> Path | None:
    folder = os.environ.get("DOUBLE_FAULTS")
    return None if folder is None else Path(folder) / "execute"


def _lines() -> list[str]:
    path = _path()
    return path.read_text().splitlines() if path is not None and path.exists() else []


def no_memory(nbytes: int) -> bool:
    """Whether there is none for an input of so many bytes."""
    kind, _, value = (_lines() or ["ok"])[0].partition(" ")
    return kind == "memory" and nbytes >= int(value)


def next_run() -> int:
    """The code of ACL's that the next run ends with, 0 where it is well. It may not come back."""
    first, *rest = _lines() or ["ok"]
    kind, _, value = first.partition(" ")
    if (path := _path()) is None or kind == "memory":
        return 0
    path.write_text("\n".join(rest))
    if kind == "abort":
        os.abort()
    if kind == "hang":
        ctypes.PyDLL(None).pause()  # holds the GIL, as the modules do
    return int(value) if kind == "fail" else 0
