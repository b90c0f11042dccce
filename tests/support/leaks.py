"""What a process might leave behind: children, shared memory, temporary files, sockets."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil


def descendants(root: int) -> set[int]:
    """Processes below `root`, less multiprocess's tracker and the browser, which live as
    long as the session does."""
    found: set[int] = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(root).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                command = " ".join(child.cmdline())
                dead = child.status() == psutil.STATUS_ZOMBIE
                if not dead and "resource_tracker" not in command and "chrom" not in command:
                    found.add(child.pid)
    return found


def open_sockets() -> set[str]:
    """Sockets, and what libzmq and epoll keep beside them, of this process."""
    links: set[str] = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.add(os.readlink(path))
    # Anonymous inodes share one name, so several of a kind look like one.
    return {link for link in links if link.startswith(("socket:", "anon_inode:"))}


def traces() -> dict[str, set[Any]]:
    """What there is of each kind now."""
    temporary = Path(tempfile.gettempdir())
    return {
        "processes": descendants(os.getpid()),
        # libfaketime's are those of whoever has his clock jump, perhaps beside this test
        "shared memory": {name for name in os.listdir("/dev/shm") if "faketime" not in name},
        "temporary files": {p.name for p in temporary.glob("posec3d-*")},
        "sockets": open_sockets(),
    }


def left_since(before: dict[str, set[Any]]) -> dict[str, set[Any]]:
    """What there is more than `before`, and stays; empty where nothing does. Libraries have
    threads of their own, which may hold something for a moment."""
    deadline = time.monotonic() + 2
    while True:
        left = {kind: found - before[kind] for kind, found in traces().items()}
        if not any(left.values()) or time.monotonic() > deadline:
            return {kind: found for kind, found in left.items() if found}
        time.sleep(0.05)


def import_openvino() -> None:
    """OpenVINO, when imported, starts a process that reports it to its maker: not our leak."""
    import openvino  # noqa: F401

    deadline = time.monotonic() + 10
    while descendants(os.getpid()) and time.monotonic() < deadline:
        time.sleep(0.05)
