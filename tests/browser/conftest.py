"""A browser whose pages are a test's own, and runs with a dashboard."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.chromium import chromium_with, own_page

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

Begin = Callable[..., AbstractContextManager["Running"]]


@dataclass
class Running:
    """A run: its process, where its page is, and what it has said since."""

    process: subprocess.Popen[str]
    url: str = ""
    said: queue.Queue[str] = field(default_factory=queue.Queue)

    @property
    def port(self) -> int:
        return int(self.url.partition("?")[0].rstrip("/").rpartition(":")[2])


@pytest.fixture
def run(tiny_model: Any) -> Begin:
    """Starts a run with `more` arguments and a page on a free port; interrupts it at the end."""

    @contextlib.contextmanager
    def begin(*more: object, address: str = "127.0.0.1:0") -> Iterator[Running]:
        command = [
            sys.executable,
            "-m",
            "engine.run",
            "--model",
            tiny_model,
            "--dashboard",
            address,
            *more,
        ]
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running = Running(process)
        thread = threading.Thread(target=_listen, args=(process, running.said))
        thread.start()
        try:
            while not running.url:
                line = running.said.get(timeout=60)
                if line.startswith("dashboard "):
                    running.url = line.split()[1]
            yield running
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(60)
            thread.join()

    return begin


@pytest.fixture(scope="session")
def _chromium() -> Iterator[Any]:
    with chromium_with() as found:
        yield found


@pytest.fixture
def browser(_chromium: Any) -> Iterator[Any]:
    """It shows an empty page: no page of another test is open, and none has left a word in the
    log."""
    with own_page(_chromium):
        yield _chromium


@pytest.fixture
def browser_with_camera() -> Iterator[Any]:
    """One that takes a moving pattern for a camera, and asks nobody."""
    flags = "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream"
    with chromium_with(*flags) as found:
        yield found


def _listen(process: subprocess.Popen[str], said: queue.Queue[str]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            said.put(line)
