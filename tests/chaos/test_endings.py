"""Promises 6 and 7: however a run ends, it leaves nothing behind but its results.

`nothing_left` (tests/conftest.py) looks around every test for processes, sockets, shared
memory and temporary files.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from engine.pipeline import Pipeline
from tests.support.joints import command, options
from tests.support.joints_backend import NAME
from tests.support.kills import in_children
from tests.support.leaks import descendants
from tests.support.runs import check
from tests.support.samples import annotation

pytestmark = pytest.mark.usefixtures("paced")


def start(data: Path, model: Path, output: Path, *more: object) -> subprocess.Popen[str]:
    """A run of its own process group that has written its first record."""
    process = subprocess.Popen(
        command(data, model, "--output", output, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (output.exists() and output.stat().st_size):
        assert time.monotonic() < deadline, "no record within a minute"
        time.sleep(0.02)
    return process


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "many.pkl"
    path.write_bytes(pickle.dumps([annotation(60, seed=i) for i in range(800)]))
    return path


def runs(pid: int) -> bool:
    """Whether a process exists that is not a zombie, which is its new parent's business."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def seconds_until_gone(pids: set[int]) -> float:
    start = time.monotonic()
    while any(runs(pid) for pid in pids):
        assert time.monotonic() - start < 60, "a child outlived its parent"
        time.sleep(0.01)
    return time.monotonic() - start


def test_parent_killed(long: Path, tiny_model: Path, tmp_path: Path, promised: Any) -> None:
    process = start(long, tiny_model, tmp_path / "o.jsonl", "--workers", 2)
    pids = descendants(process.pid)
    assert len(pids) == 3
    process.kill()
    promised("children gone after their parent", seconds_until_gone(pids), 1.0)
    process.communicate()


@pytest.mark.parametrize(
    ("number", "delay"),
    [
        (signal.SIGINT, 0.3),
        (signal.SIGINT, 0.6),
        (signal.SIGINT, 0.9),
        (signal.SIGTERM, 0.6),
        (signal.SIGHUP, 0.6),
    ],
)
def test_interrupted_at_the_start(long: Path, tiny_model: Path, number: int, delay: float) -> None:
    process = subprocess.Popen(
        command(long, tiny_model),
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(delay)
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    if process.returncode != -number:  # the interpreter itself was still starting
        assert process.returncode == 130, stderr
        assert "Traceback" not in stderr
        assert "interrupted" in stderr


@pytest.mark.parametrize("apart", [0.002, 0.05, 0.3])
def test_an_impatient_user(long: Path, tiny_model: Path, tmp_path: Path, apart: float) -> None:
    """A second Ctrl-C while the first is being obeyed."""
    output = tmp_path / "o.jsonl"
    process = start(long, tiny_model, output, "--workers", 2)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(apart)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT), stderr
    assert "Traceback" not in stderr


AN_IMPATIENT_SCRIPT = """
import engine, os, signal
if __name__ == "__main__":
    os.setpgid(0, 0)
    options = engine.Options(dataset={data!r}, model={model!r}, backend={backend!r}, workers=2)
    with engine.Pipeline(options) as pipeline:
        for record in pipeline:
            try:
                os.killpg(0, signal.SIGINT)
            except KeyboardInterrupt:
                break
        pool = pipeline._driver._pool
        close = pool.close
        def impatient(**how):
            os.killpg(0, signal.SIGINT)  # held back until all is cleared away
            close(**how)
        pool.close = impatient
"""


def test_an_impatient_user_of_the_python_api(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        AN_IMPATIENT_SCRIPT.format(data=str(data), model=str(tiny_model), backend=NAME)
    )
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == -signal.SIGINT  # Python's own way with KeyboardInterrupt
    assert result.stderr.count("KeyboardInterrupt") == 1


def test_an_ignored_signal_stays_ignored(data: Path, tiny_model: Path) -> None:
    """As under nohup."""
    ignoring = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    ignoring += "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    process = subprocess.Popen(
        [sys.executable, "-c", ignoring, *command(data, tiny_model)[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()  # it is running
    process.send_signal(signal.SIGHUP)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    assert "of 11" in stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(long: Path, tiny_model: Path, tmp_path: Path, number: int) -> None:
    """To the whole process group, as a terminal does it. What is on its way is finished, and
    everything is written."""
    output, scores, summary, events = (tmp_path / n for n in ("o.jsonl", "s.npz", "s.json", "e"))
    process = start(
        long, tiny_model, output, "--scores", scores, "--summary", summary, "--log-json", events
    )
    os.killpg(process.pid, number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    written = len(output.read_text().splitlines())
    assert 0 < written < 800
    with np.load(scores) as archive:
        assert len(archive["id"]) == written
    assert f"{written} ok, 0 failed, of 800" in stdout
    assert json.loads(summary.read_text())["ok"] == written
    told = [json.loads(line) for line in events.read_text().splitlines()]
    [draining] = [line for line in told if line["event"] == "draining"]
    assert draining["leases"] > 0
    [after] = [line["exit_code"] for line in told if line["event"] == "ended"]
    assert after == 130
    assert f"finishing {draining['leases']} samples" in stderr


def test_draining_finishes_what_is_on_its_way(
    many: Path, tiny_model: Path, undisturbed: Any
) -> None:
    records = []
    with Pipeline(options(many, tiny_model, workers=2)) as pipeline:
        runner: Any = pipeline._driver
        under_way: set[str] = set()
        for record in pipeline:
            records.append(record)
            if len(records) == 20:
                under_way = {f"video_{lease.task.index}" for lease in runner._table.leases}
                pipeline.interrupt()
    assert under_way
    assert {record.id for record in records[20:]} == under_way
    check(records, {r.id: undisturbed[r.id] for r in records})


FROZEN = """
import os, signal, tests.support.joints_backend as module
plain = module.JointsBackend.start_wave
def start_wave(self, lane, wave):
    if max(clips.unique for clips in wave.samples) > 1:  # not the first run, of nobody
        os.kill(os.getpid(), signal.SIGSTOP)
    plain(self, lane, wave)
module.JointsBackend.start_wave = start_wave
"""


def frozen(data: Path, model: Path, grace: float) -> subprocess.Popen[str]:
    """A run whose executor has stopped in the middle of its work."""
    process = subprocess.Popen(
        command(data, model, "--grace", grace),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while "stopped" not in {psutil.Process(pid).status() for pid in descendants(process.pid)}:
        assert time.monotonic() < deadline, "nothing has stopped within a minute"
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("grace", [0, 1])
def test_the_grace_ends(
    long: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    promised: Any,
    grace: float,
) -> None:
    """A device that does not answer does not hold up the end."""
    in_children(tmp_path, monkeypatch, FROZEN)
    process = frozen(long, tiny_model, grace)
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    # The executor that is frozen gets three seconds to stop by itself.
    promised(f"end with --grace {grace}", time.monotonic() - sent, grace + 5)


def test_a_second_signal_ends_at_once(
    long: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promised: Any
) -> None:
    in_children(tmp_path, monkeypatch, FROZEN)
    process = frozen(long, tiny_model, 500)
    pids = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None  # it waits for the device
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    promised("end after a second signal", time.monotonic() - sent, 1.0)
    promised("children gone after it", seconds_until_gone(pids), 1.0)


A_FORKING_SCRIPT = """
import engine, os, sys
from engine.base.errors import UsageError
if __name__ == "__main__":
    options = engine.Options(dataset={data!r}, model={model!r}, backend={backend!r}, workers=2)
    with engine.Pipeline(options) as pipeline:
        records = iter(pipeline)
        count = len([next(records)])
        if (child := os.fork()) == 0:
            try:
                next(records)
            except UsageError as error:
                assert "was opened in process" in str(error)
                sys.exit(7)  # leaves the block, and all that is done at exit is done
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        count += len(list(records))
        assert pipeline.figures.restarts == 0, pipeline.figures
    print(count, "records")
"""


def test_a_forked_child_ends_nothing_of_its_parent(
    data: Path, tiny_model: Path, tmp_path: Path, expected: Any
) -> None:
    script = tmp_path / "script.py"
    script.write_text(A_FORKING_SCRIPT.format(data=str(data), model=str(tiny_model), backend=NAME))
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{len(expected)} records\n"


def test_what_a_run_left_that_was_killed_with_its_children_is_swept(
    long: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """By the next one, which leaves alone what is of runs that go on."""
    temporary = Path(os.environ["TMPDIR"])
    killed = start(long, tiny_model, tmp_path / "a.jsonl", "--workers", 1)
    goes_on = start(long, tiny_model, tmp_path / "b.jsonl", "--workers", 1)
    assert len(before := set(temporary.glob("posec3d-*"))) == 2
    pids = descendants(killed.pid)
    os.killpg(killed.pid, signal.SIGSTOP)  # so that none of them sees the others go
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    seconds_until_gone(pids)
    assert set(temporary.glob("posec3d-*")) == before
    third = start(long, tiny_model, tmp_path / "c.jsonl", "--workers", 1)
    assert len(before & set(temporary.glob("posec3d-*"))) == 1
    for process in (goes_on, third):
        process.terminate()
        process.communicate()
        assert process.returncode == 130
    assert not {*temporary.glob("posec3d-*")}


A_HEEDLESS_SCRIPT = """
import engine, os, signal
if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    options = engine.Options(dataset={data!r}, model={model!r}, backend={backend!r}, workers=2)
    with engine.Pipeline(options) as pipeline:
        records = iter(pipeline)
        count = len([next(records)])
        worker = next(child.pid for child in pipeline._driver._pool if child.role == "worker")
        os.kill(worker, signal.SIGKILL)
        count += len(list(records))
    print(count, "records")
"""


def test_a_program_that_ignores_what_becomes_of_children(
    data: Path, tiny_model: Path, tmp_path: Path, expected: Any
) -> None:
    script = tmp_path / "script.py"
    script.write_text(A_HEEDLESS_SCRIPT.format(data=str(data), model=str(tiny_model), backend=NAME))
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{len(expected)} records\n"
    assert "does not die" not in result.stderr
    assert "Traceback" not in result.stderr
