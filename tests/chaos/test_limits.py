"""What the system lets a run have: memory, processes, disk. The limits are control groups' and
mounts', which bind root, too; without them the tests skip."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine.base.records import Record
from engine.pipeline import Pipeline
from engine.runtime import processes
from tests.chaos.test_peers import feed_websocket, free_port, live, running
from tests.support import runs
from tests.support.groups import Group, group, mounted
from tests.support.joints import command, options

PATIENCE_S = 120.0


@pytest.fixture
def memory() -> Iterator[Group]:
    with group("memory") as found:
        found.limit(100 << 20)
        yield found


@pytest.fixture
def pids() -> Iterator[Group]:
    with group("pids") as found:
        yield found


@pytest.mark.usefixtures("paced")
@pytest.mark.parametrize("role", ["worker", "executor"])
def test_memory_runs_out(
    many: Path, tiny_model: Path, undisturbed: dict[str, Record], memory: Group, role: str
) -> None:
    """Three times, and the kernel kills: the records are those of an undisturbed run."""
    records, kills = [], 0
    with Pipeline(options(many, tiny_model, workers=2)) as pipeline:
        for number, record in enumerate(pipeline, 1):
            records.append(record)
            if number % 100 == 0 and kills < 3:
                pid = runs.children(pipeline, role)[0]
                memory.take(pid)
                memory.exhaust(pid)
                kills += 1
    runs.check(records, undisturbed)
    assert (kills, pipeline.figures.restarts) == (3, 3)


def test_memory_for_no_conversion(data: Path, tmp_path: Path, memory: Group) -> None:
    """The converter is killed: said in words, and nothing is left on the disk."""
    memory.limit(160 << 20)
    cache = tmp_path / "cache"
    done = subprocess.run(
        runs.command(data, Path("demo"), "--limit", 1, "--in-process", "--no-tta"),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        preexec_fn=memory.enter,
        env={**os.environ, "ENGINE_CACHE_DIR": str(cache)},
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "its conversion was ended by SIGKILL, by the system if memory ran out" in done.stderr
    assert not list((cache / "models").glob(".*.part*"))


@pytest.mark.parametrize("limit", [1, 3, 9])
def test_too_few_processes_to_start(
    many: Path, tiny_model: Path, tmp_path: Path, pids: Group, limit: int
) -> None:
    """None to begin with (OpenBLAS would interrupt its process, libzmq abort); too few for a
    worker. The cause is named, and nothing is left."""
    pids.limit(limit)
    done = subprocess.run(
        command(many, tiny_model, "--workers", 2, "--output", tmp_path / "o.jsonl"),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        preexec_fn=pids.enter,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "limit on processes is reached (ulimit -u" in done.stderr
    assert "interrupted" not in done.stderr


@pytest.mark.usefixtures("paced")
def test_no_process_in_place_of_one_that_died(
    many: Path, tiny_model: Path, tmp_path: Path, pids: Group
) -> None:
    """The run ends with the cause; what is written is whole, and is gone on with."""
    output = tmp_path / "o.jsonl"
    line = command(many, tiny_model, "--workers", 1, "--resume", output)
    with subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=pids.enter
    ) as run:
        until = time.monotonic() + PATIENCE_S
        while not output.exists() or output.read_bytes().count(b"\n") < 20:
            assert time.monotonic() < until
            assert run.poll() is None
            time.sleep(0.02)
        pids.limit(1)
        for child in psutil.Process(run.pid).children():
            if any("spawn_main" in word for word in child.cmdline()):
                child.kill()
        _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1, said
    assert "cannot be started: Resource temporarily unavailable. The limits are those on" in said
    pids.limit("max")
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    indices = sorted(json.loads(one)["index"] for one in output.read_bytes().splitlines())
    assert indices == list(range(400))


def test_a_source_without_threads(tiny_model: Path, tmp_path: Path, pids: Group) -> None:
    """Connections are turned away while there are none, and let in when there are."""
    pytest.importorskip("websockets")
    port, lines = free_port(), tmp_path / "labels.jsonl"
    more = ["--source", "demo:1", "--source", f"ws://127.0.0.1:{port}", "--output", lines]
    with running(live(tiny_model, *more), tmp_path) as run:
        run.until(lambda: lines.exists() and lines.stat().st_size)
        pids.take(run.process.pid)
        pids.limit(pids.current)
        for _ in range(3):
            with pytest.raises(Exception, match=r"HTTP response|reset|close|handshake"):
                feed_websocket(port, 1)
        assert "no more threads can be started" in run.errors()
        pids.limit("max")
        feed_websocket(port, 100)
        run.until(lambda: b'"door"' in lines.read_bytes())


@pytest.mark.parametrize("option", ["--output", "--summary", "--report", "--scores", "cache"])
def test_a_disk_that_is_full(data: Path, tiny_model: Path, tmp_path: Path, option: str) -> None:
    """Named, with exit code 1, or 2 for what is needed before the run."""
    folder = tmp_path / "disk"
    folder.mkdir()
    file = folder / {"--scores": "s.npz", "--output": "o.jsonl"}.get(option, "s")
    small = mounted("-t", "tmpfs", "-o", "size=4k")
    if option == "cache":
        line = runs.command(data, Path("demo"), "--in-process")
    else:
        line = command(data, tiny_model, option, file)
    # a page is all that there is
    full = ["sh", "-c", f'head -c 4096 /dev/zero > {folder}/all && exec "$@"', "sh", *line]
    done = subprocess.run(
        small(full, folder),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, **({"ENGINE_CACHE_DIR": str(folder)} if option == "cache" else {})},
        check=False,
    )
    assert done.returncode == (2 if option == "cache" else 1), done.stderr
    assert re.search(rf"{folder}/\S+: No space left on device", done.stderr)
    assert "Traceback" not in done.stderr
    assert ("ENGINE_CACHE_DIR" in done.stderr) == (option == "cache")


def test_a_cache_that_is_read_only(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        mounted("-t", "tmpfs", "-o", "ro")(
            runs.command(data, Path("demo"), "--in-process"), folder
        ),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, "ENGINE_CACHE_DIR": str(folder)},
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "posec3d_demo.pth: Read-only file system" in done.stderr
    assert "ENGINE_CACHE_DIR names another" in done.stderr


def test_a_child_whose_own_child_outlives_it(tmp_path: Path) -> None:
    """That has the sentinel open, too; nobody waits for it."""
    file = tmp_path / "pid"
    child = processes.start("worker-0", 1, 1, "tests.support.forker", str(file))
    until = time.monotonic() + 60
    while not file.exists() or not file.read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    start = time.monotonic()
    try:
        processes.end([child], 0.1)
        assert time.monotonic() - start < 5
    finally:
        os.kill(int(file.read_text()), signal.SIGKILL)
