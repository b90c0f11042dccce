"""Promise 10: what does not move is found, said and replaced, or ends the run. Never silence."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import StallError
from engine.base.records import Failure, Record
from engine.pipeline import Pipeline
from engine.runtime import watchdog
from engine.runtime.processes import Child
from tests.support.joints import command, options
from tests.support.kills import in_children
from tests.support.runs import check, children

LIMIT = 2.0


def dumps(caplog: pytest.LogCaptureFixture, kind: str) -> list[Any]:
    return [r for r in caplog.records if getattr(r, "event", {}).get("event") == kind]


@pytest.mark.parametrize("role", ["worker", "executor"])
def test_a_stopped_process(
    many: Path,
    tiny_model: Path,
    undisturbed: Any,
    caplog: pytest.LogCaptureFixture,
    promised: Any,
    role: str,
) -> None:
    """Found within its time-out, told with leases, queues and processes, and replaced."""
    records = []
    chosen = options(many, tiny_model, workers=1, lease_timeout=LIMIT, stall_timeout=LIMIT)
    with Pipeline(chosen) as pipeline:
        for record in pipeline:
            records.append(record)
            if len(records) == 20:
                os.kill(children(pipeline, role)[0], signal.SIGSTOP)
                stopped = time.time()
    check(records, undisturbed)
    [told] = dumps(caplog, "silent")
    about: Any = told.event  # type: ignore[attr-defined]
    promised(f"a stopped {role} told of (time-out {LIMIT:g} s)", told.created - stopped, LIMIT + 1)
    assert about["process"] == f"{role}-0.1"
    assert about["leases"]
    assert {lease["stage"] for lease in about["leases"]} <= {
        "granted",
        "decoding",
        "sent",
        "queued",
        "running",
    }
    states = {p["process"]: p["state"] for p in about["processes"]}
    assert states[f"{role}-0.1"] == "T"
    text = told.getMessage()
    assert f"--{'lease' if role == 'worker' else 'stall'}-timeout" in text
    assert "MB in flight of" in text
    assert f"{role}-0.1: pid" in text


HANGING = """
import time, tests.support.joints_backend as module
plain = module.JointsBackend.{method}
def hang(self, *arguments, **more):
    if {when}:
        time.sleep(1e6)
    plain(self, *arguments, **more)
module.JointsBackend.{method} = hang
"""


def test_a_device_that_never_returns_of_one_sample(
    data: Path, tiny_model: Path, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is convicted; all others are scored."""
    when = "any(clips.unique == 17 for clips in arguments[1].samples)"
    in_children(tmp_path, monkeypatch, HANGING.format(method="start_wave", when=when))
    with Pipeline(options(data, tiny_model, workers=1, stall_timeout=1.0)) as pipeline:
        records = list(pipeline)
    [convicted] = [r for r in records if isinstance(r, Failure) and r.type == "ProcessDied"]
    assert convicted.id == "video_2"
    check(
        [r for r in records if r is not convicted],
        {name: r for name, r in expected.items() if name != "video_2"},
    )


def test_a_device_that_never_returns_from_its_start(
    data: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    in_children(tmp_path, monkeypatch, HANGING.format(method="__init__", when="True"))
    patience = {"start_timeout": 2.0, "lease_timeout": 1.0, "stall_timeout": 1.0}
    with pytest.raises(StallError, match="executor-0 failed to start 3 times.*not ready in time"):
        Pipeline(options(data, tiny_model, workers=1, **patience))
    assert StallError.exit_code == 4
    [told] = dumps(caplog, "stalled")
    assert "executor-0.3" not in told.getMessage()  # it is dead by now
    assert "worker-0.1: pid" in told.getMessage()


def test_processes_that_keep_falling_silent(
    data: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing ever comes back, and no sample is to blame: it has not been started."""
    script = (
        "import time, engine.runtime.executor as e; e._Service._admit = lambda *_: time.sleep(1e6)"
    )
    in_children(tmp_path, monkeypatch, script)
    monkeypatch.setattr(watchdog, "MAX_DEATHS_WITHOUT_PROGRESS", 2)
    chosen = options(data, tiny_model, workers=1, lease_timeout=1, stall_timeout=1)
    with (
        Pipeline(chosen) as pipeline,
        pytest.raises(StallError, match="executor-0 died 2 times without"),
    ):
        list(pipeline)
    [told] = dumps(caplog, "stalled")
    assert "samples wait for one" in told.getMessage()


def test_a_process_that_cannot_be_killed(
    many: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that hangs in a driver: the system does not end it. (Here: its kills are lost.)"""
    caplog.set_level(logging.WARNING)
    kill = Child.kill

    def lose(child: Child, reason: str) -> None:
        if reason == "silent":
            child.killed, child.died_by = reason, time.monotonic() + 1
        else:
            kill(child, reason)

    monkeypatch.setattr(Child, "kill", lose)
    chosen = options(many, tiny_model, workers=1, stall_timeout=1.0, lease_timeout=5)
    with Pipeline(chosen) as pipeline:
        source = iter(pipeline)
        next(source)
        os.kill(children(pipeline, "executor")[0], signal.SIGSTOP)
        with pytest.raises(StallError, match="was killed .* and does not die"):
            list(source)
    [told] = dumps(caplog, "stalled")
    assert "killed: silent, state T" in told.getMessage()


@pytest.mark.slow
def test_the_command_ends_with_4(
    data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_children(tmp_path, monkeypatch, HANGING.format(method="__init__", when="True"))
    done = subprocess.run(
        command(data, tiny_model, "--start-timeout", 2),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "The state of the run:" in done.stderr


def test_the_last_batch_waits_for_nobody(
    data: Path, tiny_model: Path, expected: dict[str, Record]
) -> None:
    """Neither at the end, nor where what comes next waits for memory."""
    for more in ({}, {"max_memory": 1}):
        chosen = options(data, tiny_model, max_wait_ms=50_000.0, max_batch=64, **more)
        with Pipeline(chosen) as pipeline:
            check(list(pipeline), expected)
