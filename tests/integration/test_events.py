"""What ``--log-json`` writes: a line an event, each with the process it happened in."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support.runs import command


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_disk_that_is_full_does_not_end_the_run(data: Path, tiny_model: Path) -> None:
    done = subprocess.run(
        command(data, tiny_model, "--log-json", "/dev/full", "--limit", 3),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "3 ok" in done.stdout
    assert done.stderr.count("/dev/full: No space left on device; no more events") == 1
    assert "Traceback" not in done.stderr


def test_a_run(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    """With a death, and with what a child says under its own name."""
    path = tmp_path / "e.jsonl"
    (tmp_path / "sitecustomize.py").write_text("""
import logging, os, signal, engine.runtime.worker as worker
plain = worker.Worker._handle
def handle(self, grant):
    first = self._link._started.name.endswith("/worker-0.1.started")
    if grant.poses().total_frames == 29 and first:
        logging.getLogger("engine").warning("about to die")
        raise RuntimeError("crash of a test")
    plain(self, grant)
worker.Worker._handle = handle
""")
    process = subprocess.Popen(
        command(data, tiny_model, "--log-json", path, "--output", tmp_path / "o.jsonl"),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 3, stderr
    lines = read(path)
    kinds = [line["event"] for line in lines]
    assert all(line["process"] and line["time"] and line["message"] for line in lines)
    by_kind = {kind: [line for line in lines if line["event"] == kind] for kind in kinds}
    processes = {line["process"] for line in by_kind["started"]}
    assert processes == {"executor-0.1", "worker-0.1", "worker-0.2"}
    assert {line["process"] for line in by_kind["ready"]} == processes
    [died] = by_kind["died"]
    assert (died["process"], died["exit_code"], died["ready"]) == ("worker-0.1", 1, True)
    said = {line["process"]: line["message"] for line in by_kind["log"]}
    assert "crash of a test" in said["worker-0.1"]
    [running] = by_kind["running"]
    assert running["samples"] == 11
    assert running["options"]["dataset"] == str(data)
    assert running["facts"]["precision"] == "f32"
    assert {line["id"] for line in by_kind["failed"]} == {"annotation-3", "video_7", "video_9"}
    assert by_kind["ended"][0]["exit_code"] == 3
    assert kinds[-1] == "ended"


def test_a_run_that_cannot_be(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    done = subprocess.run(
        command(data, tmp_path / "no.onnx", "--log-json", path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    [line] = read(path)
    assert (line["event"], line["error"], line["exit_code"]) == ("gave up", "ModelError", 2)
