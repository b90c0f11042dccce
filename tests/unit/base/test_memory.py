"""Want of memory, whoever says it and however."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from engine.base import memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[CPU] Exception: Failed to allocate 1000 bytes of memory"),
        ImportError("libopenvino.so: failed to map segment from shared object"),
        ImportError("libx.so: cannot allocate memory in static TLS block"),
    ],
    ids=repr,
)
def test_it_is_known(error: BaseException) -> None:
    assert memory.ran_out(error)
    above = ValueError("of something else")
    above.__cause__ = error
    assert memory.ran_out(above)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),  # the device's, not ours
        RuntimeError("shape mismatch"),
        ValueError("out of memory"),  # which no library says so
    ],
    ids=repr,
)
def test_what_is_something_else(error: BaseException) -> None:
    assert not memory.ran_out(error)


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
