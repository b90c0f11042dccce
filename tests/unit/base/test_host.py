"""What the system says of processes and of the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from engine.base import host

MACHINE = host.memory_limit()


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


@pytest.mark.parametrize(
    ("cgroup", "files", "limit"),
    [
        ("0::/a/b\n", {"a/memory.max": 5 << 30, "a/b/memory.max": "max"}, 5 << 30),
        ("0::/a/b\n", {"a/memory.max": 5 << 30, "a/b/memory.max": 3 << 30}, 3 << 30),
        ("0::/\n", {"memory.max": 2 << 30}, 2 << 30),
        ("0::/elsewhere\n", {"memory.max": 2 << 30}, 2 << 30),
        ("4:memory:/x/y\n0::/\n", {"memory/x/memory.limit_in_bytes": 1 << 30}, 1 << 30),
        ("4:cpu,memory:/x\n", {"memory/x/memory.limit_in_bytes": 2**63 - 4096}, MACHINE),
        ("2:cpu:/x\n", {"x/memory.max": 1 << 20}, MACHINE),
        ("", {}, MACHINE),
    ],
)
def test_limits_of_control_groups(tmp_path: Path, cgroup: str, files: Any, limit: int) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, value in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    assert host.memory_limit(tmp_path / "proc", tmp_path / "groups") == limit


def test_hardware_is_told_apart(tmp_path: Path) -> None:
    """By more than a name that many models share; other processors of a machine are like the
    first."""
    about = "model name\t: AMD EPYC\ncpu family\t: 26\nmodel\t\t: 2\nstepping\t: 1\nflags\t: {}\n\n"
    (tmp_path / "cpuinfo").write_text(about.format("avx512f avx512_bf16") + about.format("avx"))
    found = host.hardware(tmp_path)
    assert found.startswith("AMD EPYC (26/2/1, features ")
    (tmp_path / "cpuinfo").write_text(about.format("avx512_bf16 avx512f"))
    assert host.hardware(tmp_path) == found
    (tmp_path / "cpuinfo").write_text(about.format("avx512f"))
    assert host.hardware(tmp_path) != found
    gpu = tmp_path / "driver" / "nvidia" / "gpus" / "0000:01:00.0"
    gpu.mkdir(parents=True)
    (gpu / "information").write_text("Model: \t\t NVIDIA H200\nIRQ: 1\n")
    assert host.hardware(tmp_path).endswith(", NVIDIA H200")
    assert host.hardware(tmp_path / "nothing")


def test_features_of_a_processor_do_not_change_with_its_clock() -> None:
    found = host.cpu_features()
    assert {"flags", "Features"} & found.keys()  # of x86 and of Arm
    assert not {"cpu MHz", "bogomips", "BogoMIPS", "processor"} & found.keys()
    assert found == host.cpu_features()


@pytest.mark.parametrize(
    ("cgroup", "files", "count"),
    [
        ("0::/a/b\n", {"a/b/memory.events": "low 0\noom 4\noom_kill 3\n"}, 3),
        ("0::/a/b\n", {"a/memory.events": "oom_kill 2\n", "a/b/memory.events": "oom_kill 1\n"}, 2),
        ("4:memory:/x\n", {"memory/x/memory.oom_control": "under_oom 0\noom_kill 5\n"}, 5),
        ("4:memory:/x\n", {"memory/x/memory.oom_control": "under_oom 0\n"}, 0),
        ("0::/\n", {}, 0),
    ],
)
def test_whom_the_system_has_killed(tmp_path: Path, cgroup: str, files: Any, count: int) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert host.memory_kills(tmp_path / "proc", tmp_path / "groups") == count
