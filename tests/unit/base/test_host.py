"""What the system says of processes and of the machine."""

from __future__ import annotations

import os
from pathlib import Path

from engine.base import host


def test_the_status_of_a_process() -> None:
    """The same as in ``/proc``, where ``ps`` has it from."""
    found = host.process_status(os.getpid())
    assert found["state"] == "R"
    size = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert 0.5 < found["rss"] / size < 2
    assert 0 < found["cpu"] <= sum(os.times()[:2])


def test_the_status_of_no_process() -> None:
    above = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    assert host.process_status(above) == {"state": "gone", "rss": 0, "cpu": 0.0}


def test_what_is_printed_with_figures() -> None:
    assert host.describe()["cores"] == host.cores() == len(os.sched_getaffinity(0))
    assert host.process_status(os.getpid())["rss"] <= host.peak_memory()
