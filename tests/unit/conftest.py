"""Unit tests are pure: what starts a process, opens a socket or loads a runtime fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

PROCESSES = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"}
SOCKETS = {"socket.bind", "socket.connect"}
RUNTIMES = {"onnxruntime", "openvino", "ray", "torch", "triton"}
_watching = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    runtime = event == "import" and str(arguments[0]).partition(".")[0] in RUNTIMES
    if runtime or event in PROCESSES | SOCKETS:
        raise RuntimeError(f"a unit test does that: {event} {arguments[0]}")


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def _pure() -> Iterator[None]:
    global _watching
    _watching = True
    yield
    _watching = False
