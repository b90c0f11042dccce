"""Processes of one module each: what they are told, what they heed, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from engine.base import subprocesses

MODULE = """
import os, sys, time
from engine.base.subprocesses import end_with
end_with(int(sys.argv[1]))
print(os.getpid(), *sys.argv[2:], flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that only this process's path leads to."""
    (tmp_path / "sleeper.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "sleeper"


def test_interruptions_are_not_for_it(module: str) -> None:
    with subprocesses.start(module, "60", "more", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().split() == [b"%d" % process.pid, b"60", b"more"]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send_signal(number)
        assert subprocesses.reap(process, 0.2) == -signal.SIGKILL
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, []), "nor blocked here"
    assert subprocesses.spell_exit(-signal.SIGKILL) == "SIGKILL"


def test_it_may_end_by_itself(module: str) -> None:
    process = subprocesses.start(module, "0", stdout=subprocess.DEVNULL)
    assert subprocesses.reap(process, 60) == 0
    failing = subprocesses.start(module, "x", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    code = subprocesses.reap(failing, 60)
    assert code is not None
    assert subprocesses.spell_exit(code) == "exit code 1"


def test_it_dies_with_its_parent(module: str) -> None:
    """However that dies, and whatever it is doing."""
    code = f"""
import sys, time
from engine.base import subprocesses
subprocesses.start({module!r}, "60", stdout=sys.stdout.buffer)
time.sleep(60)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=subprocesses.environment()
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[0])
        assert pid != os.getpid()
        parent.kill()
    until = time.monotonic() + 10
    while psutil.pid_exists(pid):
        assert time.monotonic() < until
        time.sleep(0.05)
