"""Faults, to real processes: killed, frozen, crashing, interrupted; records stay complete.

Every test runs inside `nothing_left` (conftest).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import UsageError, WorkerError
from engine.base.options import Options
from engine.base.records import Failure, Record
from engine.pipeline import Pipeline
from tests.support.runs import check, children, command, options


@pytest.fixture
def expected(expected_of: Any) -> Any:
    """The records of `data`, by OpenVINO."""
    return expected_of("auto")


def disturbed(
    chosen: Options, expected: Any, role: str, disturb: Callable[[int], None], after: int = 2
) -> Pipeline:
    """Run; after some records do something to a child; check that nothing shows."""
    records: list[Record] = []
    with Pipeline(chosen) as pipeline:
        for record in pipeline:
            records.append(record)
            if len(records) == after:
                disturb(children(pipeline, role)[0])
        check(records, expected)
    return pipeline


@pytest.mark.parametrize("role", ["worker", "executor"])
@pytest.mark.parametrize("after", [1, 4])
def test_a_killed_child(data: Path, tiny_model: Path, expected: Any, role: str, after: int) -> None:
    chosen = options(data, tiny_model, workers=2)
    pipeline = disturbed(chosen, expected, role, lambda pid: os.kill(pid, signal.SIGKILL), after)
    assert pipeline.figures.restarts == 1


def test_a_worker_killed_again_and_again(data: Path, tiny_model: Path, expected: Any) -> None:
    records: list[Record] = []
    with Pipeline(options(data, tiny_model, workers=2)) as pipeline:
        for record in pipeline:
            records.append(record)
            if len(records) % 3 == 0:
                os.kill(children(pipeline, "worker")[0], signal.SIGKILL)
    check(records, expected)


@pytest.mark.parametrize("role", ["worker", "executor"])
def test_a_frozen_child_is_found(data: Path, tiny_model: Path, expected: Any, role: str) -> None:
    chosen = options(data, tiny_model, workers=1, lease_timeout=1.5, stall_timeout=1.5)
    start = time.monotonic()
    pipeline = disturbed(chosen, expected, role, lambda pid: os.kill(pid, signal.SIGSTOP))
    assert pipeline.figures.restarts == 1
    assert time.monotonic() - start > 1.5


CRASHES = {
    "worker": """
import os, signal, engine.skeletons.clips as clips
plain = clips.sampled
def sampled(poses, recipe):
    if poses.total_frames in (17, 53):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(poses, recipe)
clips.sampled = sampled
""",
    "executor": """
import os, signal, engine.network.runners.shared as module
plain = module.SharedRunner.feed
def feed(self, batch, meanwhile):
    if any(clips.unique in (17, 53) for _, clips in batch):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, batch, meanwhile)
module.SharedRunner.feed = feed
""",
}


@pytest.mark.parametrize("max_batch", [pytest.param(1, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("role", ["worker", "executor"])
def test_samples_that_crash_their_process_at_once(
    data: Path,
    tiny_model: Path,
    expected: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    role: str,
    max_batch: int,
) -> None:
    """Two of them: each is convicted by three deaths of its own, all others are scored."""
    (tmp_path / "sitecustomize.py").write_text(CRASHES[role])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # children only; ours was read long ago
    with Pipeline(options(data, tiny_model, workers=1, max_batch=max_batch)) as pipeline:
        records = list(pipeline)
    convicted = [r for r in records if isinstance(r, Failure) and r.type == "ProcessDied"]
    assert {r.id for r in convicted} == {"video_2", "video_8"}
    assert all("died 3 times" in r.message for r in convicted)
    check(
        [r for r in records if r not in convicted],
        {k: v for k, v in expected.items() if k not in {"video_2", "video_8"}},
    )


def test_samples_that_an_executor_cannot_draw(
    data: Path, tiny_model: Path, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With keypoints on the wire: one is refused by an error, one kills its process."""
    (tmp_path / "sitecustomize.py").write_text("""
import os, signal, engine.skeletons.clips as clips
plain = clips.render
def render(joints, recipe):
    if joints.peaks.shape[1] == 17:
        raise MemoryError("no memory for this crowd")
    if joints.peaks.shape[1] == 53:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(joints, recipe)
clips.render = render
""")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Pipeline(options(data, tiny_model, workers=1, wire="keypoints")) as pipeline:
        records = {record.id: record for record in pipeline}
    refused, convicted = records.pop("video_2"), records.pop("video_8")
    assert isinstance(refused, Failure)
    assert (refused.stage, refused.type) == ("decode", "MemoryError")
    assert isinstance(convicted, Failure)
    assert convicted.type == "ProcessDied"
    check(
        list(records.values()),
        {k: v for k, v in expected.items() if k not in {"video_2", "video_8"}},
    )


def test_a_device_that_cannot_start(data: Path, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="no device 'Abacus'"):
        Pipeline(options(data, tiny_model, device="Abacus"))


ODD_LOGITS = """
import numpy as np, engine.backends.openvino as module
plain = module.OpenVINOClips.finish
module.OpenVINOClips.finish = lambda self, lane: {change}(plain(self, lane))
"""


@pytest.mark.parametrize("in_process", [False, True])
def test_a_model_that_returns_another_width(
    data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: bool
) -> None:
    """The model's fault, so no other process is tried."""
    (tmp_path / "sitecustomize.py").write_text(ODD_LOGITS.format(change="(lambda x: x[:, :50])"))
    result = subprocess.run(
        command(data, tiny_model, "--layout", "clips", *["--in-process"] * in_process),
        text=True,
        timeout=60,
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert result.returncode == 2
    assert "returned shape [1, 50] for 1 clips; its file declares 51 classes" in result.stderr
    assert "died" not in result.stderr


def test_logits_of_another_precision_are_converted(
    data: Path, tiny_model: Path, expected_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = ODD_LOGITS.format(change="(lambda x: x.astype(np.float64))")
    (tmp_path / "sitecustomize.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Pipeline(options(data, tiny_model, layout="clips", limit=5)) as pipeline:
        check(list(pipeline), expected_of("clips", 5))


def test_a_child_that_keeps_dying_at_its_start(
    data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    script = "import os, engine.runtime.worker as worker; worker.main = lambda *_: os.abort()"
    (tmp_path / "sitecustomize.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(WorkerError, match="worker-0 failed to start 3 times"):
        Pipeline(options(data, tiny_model, workers=1))
    capfd.readouterr()


FREEZE_ONCE = """
import os, pathlib, signal, engine.runtime.worker as worker
plain = worker.main
def main(control, name, settings):
    if name == "worker-0.{incarnation}":
        os.kill(os.getpid(), signal.SIGSTOP)
    plain(control, name, settings)
worker.main = main
"""


@pytest.mark.parametrize("incarnation", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_child_that_freezes_before_it_is_ready(
    data: Path,
    tiny_model: Path,
    expected: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    incarnation: int,
) -> None:
    """The first of its slot, and the replacement of a killed one."""
    script = FREEZE_ONCE.replace("{incarnation}", str(incarnation))
    (tmp_path / "sitecustomize.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    chosen = options(data, tiny_model, workers=1, start_timeout=3)
    kill = incarnation == 2
    pipeline = disturbed(
        chosen, expected, "worker", lambda pid: os.kill(pid, signal.SIGKILL) if kill else None
    )
    assert pipeline.figures.restarts == incarnation


def test_children_never_see_sigint(data: Path, tiny_model: Path) -> None:
    """From their first moment, the interpreter's start included."""
    with Pipeline(options(data, tiny_model, workers=2)) as pipeline:
        for pid in children(pipeline, "worker") + children(pipeline, "executor"):
            status = Path(f"/proc/{pid}/status").read_text()
            [mask] = [line for line in status.splitlines() if line.startswith("SigBlk:")]
            assert int(mask.split()[1], 16) & 1 << (signal.SIGINT - 1)
