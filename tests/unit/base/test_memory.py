"""Want of memory, whoever says it and however."""

from __future__ import annotations

import errno

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
