"""What is on disk changes under a run: its model is replaced, and conversions are cut short."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.base.assets import cache_dir
from engine.base.errors import UsageError
from engine.base.records import Prediction
from engine.pipeline import Pipeline
from tests.support import runs
from tests.support.networks import STRIDED, random_state_dict, write_model

PATIENCE_S = 240.0  # a conversion takes two seconds, on a machine that is idle


def renamed(path: Path, other: Path) -> None:
    os.replace(other, path)


def in_place(path: Path, other: Path) -> None:
    """Of the same size, and as old as it was."""
    before = path.stat()
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def removed(path: Path, other: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [renamed, in_place, removed])
def test_a_model_that_is_replaced(
    tmp_path: Path, many: Path, strided_model: Path, change: Callable[[Path, Path], None]
) -> None:
    """No record is another model's: the executor that is started anew refuses it, by name."""
    path = tmp_path / "model.onnx"
    path.write_bytes(strided_model.read_bytes())
    other = write_model(tmp_path / "other.onnx", random_state_dict(STRIDED, seed=7), STRIDED)
    about = {"backend": "openvino", "layout": "clips", "tta": False, "limit": 100}
    expected = runs.alone(runs.options(many, strided_model, in_process=True, **about))
    found = []
    with Pipeline(runs.options(many, path, **about)) as pipeline:
        records = iter(pipeline)
        found.append(next(records))
        change(path, other)
        for pid in runs.children(pipeline, "executor"):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(UsageError, match=r"model.onnx is not the file that this run began"):
            found.extend(records)
    for record in found:
        assert isinstance(record, Prediction)
        of_first = expected[record.id]
        assert isinstance(of_first, Prediction)
        assert record.scores.tobytes() == of_first.scores.tobytes()


@pytest.fixture
def converting(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], tuple[subprocess.Popen[bytes], int]]]:
    """Starts a run of the demo's model, whose conversion is under way: its process, and the pid of
    the converter."""
    monkeypatch.setenv("ENGINE_CACHE_DIR", str(tmp_path / "cache"))
    command = runs.command(data, Path("demo"), "--limit", 1, "--backend", "openvino", "--no-tta")

    started: list[subprocess.Popen[bytes]] = []

    def start() -> tuple[subprocess.Popen[bytes], int]:
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        started.append(run)
        folder, until = cache_dir() / "models", time.monotonic() + PATIENCE_S
        while not list(folder.glob(".*.part.onnx")):
            assert run.poll() is None, run.communicate()
            assert time.monotonic() < until
            time.sleep(0.005)
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        [converter] = [int(pid) for pid in children if b"converters" in _command_line(pid)]
        return run, converter

    yield start
    for run in started:
        run.kill()
        run.wait(PATIENCE_S)
        assert run.stderr is not None
        run.stderr.close()


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_conversion_without_its_parent(
    converting: Callable[[], tuple[subprocess.Popen[bytes], int]], data: Path
) -> None:
    """It ends with it; what it left is swept by who converts next."""
    run, converter = converting()
    run.kill()
    run.communicate()
    until = time.monotonic() + 5
    while b"converters" in _command_line(str(converter)):
        assert time.monotonic() < until, "the converter has outlived its parent"
        time.sleep(0.01)
    folder = cache_dir() / "models"
    assert list(folder.glob(".*.part.onnx"))
    assert not list(folder.glob("[!.]*.onnx"))
    command = runs.command(data, Path("demo"), "--limit", 1, "--in-process", "--no-tta")
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(folder.glob(".*.part*"))
    assert len(list(folder.glob("[!.]*.onnx"))) == 1


def test_a_conversion_that_is_killed(
    converting: Callable[[], tuple[subprocess.Popen[bytes], int]],
) -> None:
    """As the kernel does where memory runs out: said in words, exit code 2."""
    run, converter = converting()
    os.kill(converter, signal.SIGKILL)
    _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 2
    assert b"posec3d_demo.pth: its conversion was ended by SIGKILL, by the system if" in said
    assert b"Traceback" not in said


def test_two_conversions_at_once(data: Path, tmp_path: Path) -> None:
    """The second run waits for the first one's, and takes it."""
    command = runs.command(data, Path("demo"), "--limit", 1, "--in-process", "--no-tta")
    cache = str(tmp_path / "cache")
    both = [
        subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "ENGINE_CACHE_DIR": cache},
        )
        for _ in range(2)
    ]
    try:
        said = [run.communicate(timeout=PATIENCE_S)[1] for run in both]
    finally:
        for run in both:
            run.kill()
    assert [run.returncode for run in both] == [0, 0], said
    assert sum(b"converting" in one and b"(once)" in one for one in said) == 1, said
