"""Promises 1, 2 and 3: one record each whoever dies; only the guilty are convicted."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import WorkerError
from engine.base.records import Failure
from engine.pipeline import Pipeline
from tests.support import runs
from tests.support.joints import options
from tests.support.kills import disturbed, in_children
from tests.support.runs import check, children

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in (1, 2))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.usefixtures("paced")
def test_workers_killed_ten_times(
    many: Path, tiny_model: Path, undisturbed: Any, seed: int
) -> None:
    chosen = options(many, tiny_model, workers=2)
    records, pipeline = disturbed(chosen, ["worker"], 10, seed, (0.05, 0.4))
    check(records, undisturbed)
    assert pipeline.figures.restarts == 10


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.usefixtures("paced")
def test_executors_killed_three_times(
    many: Path, tiny_model: Path, undisturbed: Any, seed: int
) -> None:
    chosen = options(many, tiny_model, workers=2)
    records, pipeline = disturbed(chosen, ["executor"], 3, seed, (0.2, 1.2))
    check(records, undisturbed)
    assert pipeline.figures.restarts == 3


@pytest.mark.full
@pytest.mark.usefixtures("paced")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("wire", ["frames", "keypoints"])
def test_anybody_killed(
    many: Path, tiny_model: Path, undisturbed: Any, seed: int, wire: str
) -> None:
    chosen = options(many, tiny_model, workers=3, wire=wire, max_batch=1 + seed)
    records, _ = disturbed(chosen, ["worker", "executor"], 12, seed, (0.05, 0.5))
    check(records, undisturbed)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_killed_worker_held_is_soon_with_another(
    many: Path, tiny_model: Path, undisturbed: Any, promised: Any, workers: int
) -> None:
    """With one worker, its replacement has to start first."""
    records, waits, kills = [], [], [20, 100, 200, 300]
    with Pipeline(options(many, tiny_model, workers=workers)) as pipeline:
        runner: Any = pipeline._driver
        table = runner._table
        lost: dict[int, int] = {}  # sample: its lease when the worker was killed
        killed = 0.0
        for record in pipeline:
            records.append(record)
            leases = {lease.task.index: lease for lease in table.leases}
            gone = [i for i, number in lost.items() if i in leases and leases[i].number == number]
            held = [i for i in lost if i in leases]
            started = all(leases[i].entered for i in held) and len(lost) == len(held)
            if lost and not gone and (started or not held):
                waits.append(time.monotonic() - killed)
                lost = {}
            if not lost and kills and len(records) >= kills[0]:
                victim = runner._pool.of_role("worker")[0]
                os.kill(victim.pid, signal.SIGSTOP)  # so that it keeps what it holds
                lost = {
                    lease.task.index: lease.number
                    for lease in table.leases
                    if lease.holder == victim.name
                }
                os.kill(victim.pid, signal.SIGKILL if lost else signal.SIGCONT)
                killed = time.monotonic()
                kills = kills[len(lost) > 0 :]
    check(records, undisturbed)
    assert len(waits) >= 2
    promised(f"re-dispatch, {workers} workers", max(waits), 2.0)


BACKEND = """
import tests.support.joints_backend as module
plain = module.JointsBackend.start_wave
def start_wave(self, lane, wave):
    if any(clips.unique == 17 for clips in wave.samples):
        {how}
    plain(self, lane, wave)
module.JointsBackend.start_wave = start_wave
"""
WAYS = {
    "aborts": "import os; os.abort()",
    "segfaults": "import ctypes; ctypes.string_at(0)",
    "exits": "import os; os._exit(0)",
    "no memory": "raise MemoryError('bad alloc')",
    "error": "import engine.base.errors as e; raise e.BackendError('device error 507015')",
    "out of memory": """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20))
        held = [bytearray(1 << 28) for _ in range(1 << 10)]
""".strip(),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_a_backend_that_crashes_on_a_sample(
    data: Path,
    tiny_model: Path,
    expected: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    capfd: Any,
) -> None:
    """It is convicted by three deaths of its own; what shared a batch with it is scored."""
    in_children(tmp_path, monkeypatch, BACKEND.format(how=WAYS[way]))
    with Pipeline(options(data, tiny_model, workers=1)) as pipeline:
        records = list(pipeline)
    capfd.readouterr()
    convicted = {r.id: r for r in records if isinstance(r, Failure) and r.type == "ProcessDied"}
    assert set(convicted) == {"video_2"}
    assert all("died 3 times" in r.message for r in convicted.values())
    check(
        [r for r in records if r.id not in convicted],
        {name: r for name, r in expected.items() if name not in convicted},
    )


DEVICE_LOST = """
import pathlib
flag = pathlib.Path({flag!r})
import engine.backends.openvino as module
from engine.base.errors import BackendError
def lost(self, *arguments):
    if flag.exists():
        raise BackendError("the device is gone")
    return plain(self, *arguments)
plain = module.OpenVINOPart.start
module.OpenVINOPart.start = lost
"""


def test_a_device_that_is_lost(
    many: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """It opens and computes nothing: the engine does not blame one sample after the other."""
    flag = tmp_path / "lost"
    in_children(tmp_path, monkeypatch, DEVICE_LOST.format(flag=str(flag)))
    records = []
    with Pipeline(runs.options(many, tiny_model, workers=1)) as pipeline:
        source = iter(pipeline)
        records.append(next(source))
        flag.touch()
        with pytest.raises(WorkerError, match="executor-0 failed to start 3 times"):
            records.extend(source)
    assert "executor-0.2: the device is gone" in caplog.text
    assert not [r for r in records if isinstance(r, Failure)]
    assert WorkerError.exit_code == 1


def test_a_random_kill_convicts_nobody(data: Path, tiny_model: Path, expected: Any) -> None:
    """Two kills while the same sample runs alone are two deaths of its own, not three."""
    with Pipeline(options(data, tiny_model, workers=1, max_batch=1)) as pipeline:
        records, kills = [], 0
        for record in pipeline:
            records.append(record)
            if kills < 2:
                os.kill(children(pipeline, "executor")[0], signal.SIGKILL)
                kills += 1
    check(records, expected)


@pytest.mark.usefixtures("paced")
def test_everybody_killed_in_one_instant(many: Path, tiny_model: Path, undisturbed: Any) -> None:
    """However many they are, each has died once."""
    records = []
    with Pipeline(options(many, tiny_model, workers=12)) as pipeline:
        for record in pipeline:
            records.append(record)
            if len(records) in (20, 200):
                for pid in [*children(pipeline, "worker"), *children(pipeline, "executor")]:
                    os.kill(pid, signal.SIGKILL)
    check(records, undisturbed)
    assert pipeline.figures.restarts == 26
