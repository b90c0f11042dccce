"""Want of memory, whoever says it and however."""

from __future__ import annotations

import errno
import resource
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
    try:
        try:
            raise error
        except BaseException as cause:
            raise ValueError("of something else") from cause
    except ValueError as above:
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


def test_the_limits_in_words() -> None:
    script = "from engine.base import memory; print(memory.in_words(), memory.leaves_room_for(99))"
    for limit, said, room in (
        (3 << 30, "and 3.2 GB of addresses (ulimit -v", True),
        (None, "", True),
    ):

        def limited(limit: int | None = limit) -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        done = subprocess.run(
            [sys.executable, "-c", script],
            preexec_fn=limited,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith("there is not enough memory: this process may have ")
        assert said in done.stdout
        assert ("of addresses" in done.stdout) == bool(said)
        assert done.stdout.rstrip().endswith(str(room))


def test_no_room_for_threads() -> None:
    script = (
        "import resource\n"
        "from pathlib import Path\n"
        "from engine.base import memory\n"
        "size = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (20 << 20),) * 2)\n"
        "print(memory.leaves_room_for(1), memory.leaves_room_for(4))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True False\n"
