"""Want of memory is called so, whichever part of a run lacks it."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import groups
from tests.support.samples import annotation


@pytest.mark.parametrize("limit", [3 << 30, -1])
def test_the_limits_in_words(limit: int) -> None:
    found = printed(
        f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))\n"
        "from engine.base import memory; print(memory.in_words(), memory.leaves_room_for(9))"
    )
    assert found.startswith("there is not enough memory: this process may have ")
    assert (" and 3.2 GB of addresses (ulimit -v, prlimit --as)" in found) == (limit > 0)
    assert found.endswith(" True\n")


def test_no_room_for_threads() -> None:
    script = (
        "import resource\n"
        "from pathlib import Path\n"
        "from engine.base import memory\n"
        "size = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (20 << 20),) * 2)\n"
        "print(memory.leaves_room_for(1), memory.leaves_room_for(4))"
    )
    assert printed(script) == "True False\n"


def printed(script: str) -> str:
    """By a process of its own."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def limited(space: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A run that may have so many bytes of addresses."""
    command = ["prlimit", f"--as={space}", sys.executable, "-m", "engine.run", *arguments]
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def words(tiny_model: Path, tmp_path: Path) -> list[Any]:
    path = tmp_path / "one.pkl"
    path.write_bytes(pickle.dumps([annotation(20)]))
    return ["--dataset", path, "--model", tiny_model]


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="no prlimit here")
def test_few_addresses(words: list[Any]) -> None:
    """Too few to begin with: one message, after one that says so beforehand."""
    done = limited(str(200 << 20), *words)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first.startswith("this process may have 0.2 GB of addresses (ulimit -v, prlimit --as)")
    assert "engine.run: " in last
    assert "there is not enough memory: this process may have" in last
    assert "processes is reached" not in done.stderr


def test_a_group_without_memory(words: list[Any]) -> None:
    """Enough for the parent, not for the runtime: the system kills that, and it is said."""
    with groups.group("memory") as group:
        group.limit(110 << 20)
        command = [sys.executable, "-m", "engine.run", *map(str, words)]
        for _ in range(5):
            done = subprocess.run(
                command,
                preexec_fn=group.enter,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            if done.returncode != -9:  # whom it kills is the system's choice: the parent, too
                break
    assert done.returncode == 1, done.stderr
    assert (
        "executor-0.1 died: it was killed by the system: there is not enough memory" in done.stderr
    )
    assert "0.1 GB (the machine's, or its control group's)" in done.stderr.splitlines()[-1]
