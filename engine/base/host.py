"""The machine that a run takes place on, and what it says of processes.

Goes out: limits (cores, memory) from which defaults follow, and figures to be printed.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("numpy", "onnx", "openvino", "onnxruntime", "pyzmq")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def memory_limit(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that this process may use: the machine's, or the least that its control
    group or one above it allows (both versions of control groups)."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in _memory_groups(proc, groups):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (limit := _number(place / name)) is not None:
                limits.append(limit)
    return min(limits)


def memory_kills(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """How many processes of this one's control group, or of those above it, the system has killed
    since they had no more memory."""
    found = 0
    for place in _memory_groups(proc, groups):
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                counts = dict(line.split() for line in (place / name).read_text().splitlines())
                found = max(found, int(counts.get("oom_kill", 0)))
    return found


def _memory_groups(proc: Path, groups: Path) -> Iterator[Path]:
    """The folders of this process's control group of memory and of those above it, of both
    versions."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in ["0::/", ":memory:/", *lines]:  # the roots too: what a container sees of its own
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = groups
        elif "memory" in controllers.split(","):
            root = groups / "memory"
        else:
            continue
        folder = root / path.strip("/")
        yield from (one for one in (folder, *folder.parents) if one.is_relative_to(root))


def peak_memory() -> int:
    """Bytes of memory that this process has had at most (RSS: with files that are mapped)."""
    # getrusage would count what the process that started this one had as well
    lines = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) * 1024


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def cpu_model() -> str:
    """The processor's name, as /proc/cpuinfo has it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_features(proc: Path = Path("/proc")) -> dict[str, str]:
    """What the first processor says of itself, less what changes while it runs: model, stepping,
    instructions, caches. Empty where the system does not tell."""
    kept = ("vendor", "cpu family", "model", "stepping", "cache size", "flags", "CPU ", "Features")
    found: dict[str, str] = {}
    try:
        with (proc / "cpuinfo").open() as lines:
            for line in lines:
                if not line.strip():  # the others follow
                    break
                if line.startswith(kept):
                    name, _, value = line.partition(":")
                    found[name.strip()] = value.strip()
    except OSError:
        pass
    return found


def hardware(proc: Path = Path("/proc")) -> str:
    """What computes here, in one line: the processor with a digest of what it can execute (those of
    virtual machines have names that many models share), and GPUs of NVIDIA's."""
    about = cpu_features(proc)
    model = about.get("model name") or about.get("CPU part") or platform.machine()
    numbers = [about.get(name, "") for name in ("cpu family", "model", "stepping")]
    features = sorted(about.get("flags", about.get("Features", "")).split())
    digest = hashlib.sha256(" ".join(features).encode()).hexdigest()[:12]
    gpus = sorted(
        line.partition(":")[2].strip()
        for path in proc.glob("driver/nvidia/gpus/*/information")
        for line in path.read_text().splitlines()
        if line.startswith("Model:")
    )
    return ", ".join([f"{model} ({'/'.join(numbers)}, features {digest})", *gpus])


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter for results and speed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, object]:
    """Machine and versions, JSON types only."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.release()}",
        "versions": versions(),
    }


def process_status(pid: int) -> dict[str, Any]:
    """What the system says of a process: its `state` (a letter, as in ``ps``), its memory in bytes
    (`rss`) and the seconds that it has had a core (`cpu`)."""
    import psutil  # on use: decode workers import this module, and never ask

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            state, times = process.status(), process.cpu_times()
            return {
                "state": "T" if state == psutil.STATUS_STOPPED else state[0].upper(),
                "rss": process.memory_info().rss,
                "cpu": times.user + times.system,
            }
    except psutil.NoSuchProcess:
        return {"state": "gone", "rss": 0, "cpu": 0.0}
