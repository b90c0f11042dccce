"""Control groups and mounts of a test's own: what limits memory and processes also of root."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ROOT = Path("/sys/fs/cgroup")
LIMITS = {  # the file of each version
    "memory": ("memory.limit_in_bytes", "memory.max"),
    "pids": ("pids.max", "pids.max"),
}
_BALLOON = """
import mmap
open("/proc/self/oom_score_adj", "w").write("-1000")
held = mmap.mmap(-1, 1 << 30)
for place in range(0, 1 << 30, 4096):
    held[place] = 1
"""


class Group:
    """A control group of one kind, and its limit."""

    def __init__(self, folder: Path, limit: str) -> None:
        self._folder, self._limit = folder, limit

    def limit(self, value: int | str) -> None:
        (self._folder / self._limit).write_text(str(value))

    def take(self, pid: int) -> None:
        """A process, less what it has already."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def enter(self) -> None:
        """As ``preexec_fn``."""
        self.take(os.getpid())

    @property
    def current(self) -> int:
        return int((self._folder / "pids.current").read_text())

    def exhaust(self, victim: int) -> None:
        """Take memory until the kernel has killed the only other process of the group."""
        Path(f"/proc/{victim}/oom_score_adj").write_text("1000")
        line = [sys.executable, "-c", _BALLOON]
        with subprocess.Popen(line, preexec_fn=self.enter) as balloon:
            try:
                until = time.monotonic() + 30
                while psutil.pid_exists(victim) and (
                    psutil.Process(victim).status() != psutil.STATUS_ZOMBIE
                ):
                    assert time.monotonic() < until
                    time.sleep(0.01)
            finally:
                balloon.kill()


@contextmanager
def group(kind: str) -> Iterator[Group]:
    """A group of ``memory`` or ``pids``; skips where there can be none."""
    first, second = LIMITS[kind]
    for parent, limit in ((ROOT / kind, first), (ROOT, second)):
        folder = parent / f"posec3d-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / limit).is_file():
            break
        folder.rmdir()
    else:
        pytest.skip(f"no control group of {kind} can be made here (it takes root, and {ROOT})")
    try:
        yield Group(folder, limit)
    finally:
        _removed(folder)


def _removed(folder: Path) -> None:
    """A group can go when its processes have."""
    until = time.monotonic() + 20
    while True:
        try:
            folder.rmdir()
            return
        except OSError:
            assert time.monotonic() < until, (folder / "cgroup.procs").read_text()
            time.sleep(0.05)


def mounted(*options: str) -> Callable[[list[str], Path], list[str]]:
    """Makes a command run where a folder is mounted so, which nobody else sees; skips where that is
    not permitted."""
    unshare = ["unshare", "--mount", "sh", "-c"]
    try:
        tried = [*unshare, "mount -t tmpfs none /mnt"]
        subprocess.run(tried, capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("nothing can be mounted here (it takes root)")

    def run(command: list[str], folder: Path) -> list[str]:
        script = f'mount {" ".join(options)} none "$0" && exec "$@"'
        return [*unshare, script, str(folder), *command]

    return run
