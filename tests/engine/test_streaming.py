"""The streaming pipeline with real processes, real sockets and a real runtime.

Every test runs inside `nothing_left` (conftest): processes, shared memory and temporary
files are afterwards as they were before.
"""

from __future__ import annotations

import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.aggregator import Failure, Prediction, Record
from engine.errors import UsageError, WorkerError
from engine.options import Options
from engine.pipeline import Pipeline
from tests.conftest import TINY, annotation, descendants, random_state_dict, write_model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of all lengths, three of them unusable."""
    path = tmp_path_factory.mktemp("data") / "data.pkl"
    annotations: list[Any] = [annotation(5 + 6 * i, persons=1 + i % 2, seed=i) for i in range(24)]
    annotations[7]["keypoint"] = np.zeros((1, 20, 25, 2))
    annotations[12] = "junk"
    annotations[23]["label"] = 99
    path.write_bytes(pickle.dumps(annotations))
    return path


@pytest.fixture(scope="module")
def expected(data: Path, tiny_model: Path) -> dict[str, Record]:
    """The records of the same run without processes."""
    with Pipeline(options(data, tiny_model, in_process=True)) as pipeline:
        return {record.id: record for record in pipeline}


def options(data: Path, model: Path, **more: Any) -> Options:
    return Options(dataset=str(data), model=str(model), **more)


def check(records: list[Record], expected: dict[str, Record]) -> None:
    """One record each, and the same bits."""
    assert sorted(r.id for r in records) == sorted(expected)
    for record in records:
        other = expected[record.id]
        if isinstance(record, Failure):
            assert record == other
        else:
            assert isinstance(other, Prediction)
            assert (record.index, record.label) == (other.index, other.label)
            np.testing.assert_array_equal(record.logits, other.logits)
            np.testing.assert_array_equal(record.scores, other.scores)


@pytest.mark.parametrize("wire", ["frames", "clips"])
@pytest.mark.parametrize("max_batch", [1, 3, 8])
@pytest.mark.parametrize("workers", [1, 3])
def test_equal_to_in_process(
    data: Path, tiny_model: Path, expected: Any, workers: int, max_batch: int, wire: str
) -> None:
    chosen = options(data, tiny_model, workers=workers, max_batch=max_batch, wire=wire)
    with Pipeline(chosen) as pipeline:
        check(list(pipeline), expected)
        assert pipeline.figures.restarts == pipeline.figures.dropped == 0
        assert pipeline.figures.clips_run == 21 * 20


def test_stages_and_figures(data: Path, tiny_model: Path) -> None:
    with Pipeline(options(data, tiny_model)) as pipeline:
        records = [r for r in pipeline if isinstance(r, Prediction)]
        figures = pipeline.figures
    for record in records:
        assert set(record.ms) == {"decode", "transport", "queue", "infer", "total"}
        assert record.ms["total"] >= record.ms["infer"] > 0
    assert figures.decode_s > 0
    assert figures.infer_s == pytest.approx(sum(r.ms["infer"] for r in records) / 1e3)
    assert figures.bytes_sent > 21 * 2 * 5 * 17 * 56 * 56 * 4


def test_bytes_in_flight_are_bounded(data: Path, tiny_model: Path, expected: Any) -> None:
    budget = 150 << 20  # more than the largest of them
    with Pipeline(options(data, tiny_model, max_memory=budget, workers=3)) as pipeline:
        check(list(pipeline), expected)
        assert 0 < pipeline.figures.peak_bytes <= budget
    # Larger than the budget: one at a time, and nobody is left out.
    with Pipeline(options(data, tiny_model, max_memory=1, workers=3)) as pipeline:
        check(list(pipeline), expected)
        assert pipeline.figures.peak_bytes < 2 * 205_000_000


@pytest.mark.parametrize("max_batch", [1, 3])
def test_a_fixed_batch_is_fed_only_that(
    data: Path, tmp_path: Path, expected: Any, max_batch: int
) -> None:
    fixed = write_model(tmp_path / "bs2.onnx", random_state_dict(TINY), TINY, batch=2)
    chosen = options(data, fixed, backend="onnxruntime", max_batch=max_batch, limit=7)
    with Pipeline(chosen) as pipeline:
        records = list(pipeline)
        assert pipeline.figures.clips_run == 140
        assert pipeline.figures.clips_padded >= 20
        assert pipeline.figures.clips_padded % 20 == 0
    for record in records:
        assert isinstance(record, Prediction)
        np.testing.assert_allclose(record.scores, expected[record.id].scores, atol=1e-5)


def children(pipeline: Pipeline, role: str) -> list[int]:
    found = pipeline._runner._children.values()  # type: ignore[union-attr]
    return [child.pid for child in found if child.slot.startswith(role)]


def disturbed(
    chosen: Options, expected: Any, role: str, disturb: Callable[[int], None], after: int = 5
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
@pytest.mark.parametrize("after", [1, 10])
def test_a_killed_child(data: Path, tiny_model: Path, expected: Any, role: str, after: int) -> None:
    chosen = options(data, tiny_model, workers=2)
    pipeline = disturbed(chosen, expected, role, lambda pid: os.kill(pid, signal.SIGKILL), after)
    assert pipeline.figures.restarts == 1


def test_a_worker_killed_again_and_again(data: Path, tiny_model: Path, expected: Any) -> None:
    records: list[Record] = []
    with Pipeline(options(data, tiny_model, workers=2)) as pipeline:
        for record in pipeline:
            records.append(record)
            if len(records) % 6 == 0:
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
import os, signal, engine.clips as clips
plain = clips.decode
def decode(poses, reference):
    if poses.total_frames in (17, 53):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(poses, reference)
clips.decode = decode
""",
    "executor": """
import os, signal, engine.executor as executor
plain = executor.Executor.feed
def feed(self, batch, meanwhile):
    if any(clips.frames.shape[1] in (17, 53) for _, clips in batch):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, batch, meanwhile)
executor.Executor.feed = feed
""",
}


@pytest.mark.parametrize("max_batch", [1, 4])
@pytest.mark.parametrize("role", ["worker", "executor"])
def test_samples_that_crash_their_process_at_once(
    data: Path, tiny_model: Path, expected: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, role: str, max_batch: int,
) -> None:  # fmt: skip
    """Two of them: each is convicted by three deaths of its own, all others are scored."""
    (tmp_path / "sitecustomize.py").write_text(CRASHES[role])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # children only; ours was read long ago
    with Pipeline(options(data, tiny_model, workers=1, max_batch=max_batch)) as pipeline:
        records = list(pipeline)
    convicted = [r for r in records if isinstance(r, Failure) and r.type == "ProcessDied"]
    assert {r.id for r in convicted} == {"video_2", "video_8"}
    assert all("died 3 times" in r.message for r in convicted)
    check([r for r in records if r not in convicted],
          {k: v for k, v in expected.items() if k not in {"video_2", "video_8"}})  # fmt: skip


def test_never_closed(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Without a ``with`` block, and with an iterator that is still alive at the end."""
    script = tmp_path / "script.py"
    script.write_text(
        "import engine\nif __name__ == '__main__':\n"
        f"    options = engine.Options(dataset={str(data)!r}, model={str(tiny_model)!r})\n"
        "    records = iter(engine.Pipeline(options))\n"
        "    print(next(records).index)\n"
    )
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_left_in_the_middle(data: Path, tiny_model: Path) -> None:
    """A consumer that stops early, and one that raises: the fixture sees no trace."""
    for record in engine.predict(str(data), model=str(tiny_model)):
        assert record
        break

    def raising() -> None:
        with Pipeline(options(data, tiny_model)) as pipeline:
            for _ in pipeline:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        raising()


def test_what_children_are_told_and_load(data: Path, tiny_model: Path) -> None:
    chosen = options(data, tiny_model, workers=1, threads=2)
    with Pipeline(chosen) as pipeline:
        runner: Any = pipeline._runner
        directory = Path(runner._directory)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        next(iter(pipeline))  # by now the worker has decoded and sent
        for role, threads in (("worker", "1"), ("executor", "2")):
            [pid] = children(pipeline, role)
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            assert f"OMP_NUM_THREADS={threads}".encode() in environment
            loaded = Path(f"/proc/{pid}/maps").read_text()
            assert ("libopenvino" in loaded) == (role == "executor")
            assert "onnxruntime" not in loaded


def test_children_never_see_sigint(data: Path, tiny_model: Path) -> None:
    """From their first moment, the interpreter's start included."""
    with Pipeline(options(data, tiny_model, workers=2)) as pipeline:
        for pid in children(pipeline, "worker") + children(pipeline, "executor"):
            status = Path(f"/proc/{pid}/status").read_text()
            [mask] = [line for line in status.splitlines() if line.startswith("SigBlk:")]
            assert int(mask.split()[1], 16) & 1 << (signal.SIGINT - 1)


def test_a_device_that_cannot_start(data: Path, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="no device 'Abacus'"):
        Pipeline(options(data, tiny_model, device="Abacus"))


def test_a_child_that_keeps_dying_at_its_start(
    data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr("engine.worker.main", os.abort)
    with pytest.raises(WorkerError, match="worker-0 ended 3 times before it was ready"):
        Pipeline(options(data, tiny_model, workers=1))
    capfd.readouterr()


def command(data: Path, model: Path, *more: object) -> list[str]:
    base = [sys.executable, "-m", "engine.run", "--dataset", data, "--model", model, *more]
    return [str(part) for part in base]


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
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "many.pkl"
    path.write_bytes(pickle.dumps([annotation(60, seed=i) for i in range(800)]))
    return path


def seconds_until_gone(pids: set[int], limit: float) -> float:
    start = time.monotonic()
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() - start < limit, "a child outlived its parent"
        time.sleep(0.01)
    return time.monotonic() - start


def test_parent_killed(many: Path, tiny_model: Path, tmp_path: Path) -> None:
    process = start(many, tiny_model, tmp_path / "o.jsonl", "--workers", 2)
    pids = descendants(process.pid)
    assert len(pids) == 3
    process.kill()
    process.communicate()
    # Promised within a second; a slow machine gets ten.
    print(f"children gone after {seconds_until_gone(pids, limit=10):.3f} s")


@pytest.mark.parametrize("delay", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_at_the_start(many: Path, tiny_model: Path, number: int, delay: float) -> None:
    process = subprocess.Popen(
        command(many, tiny_model), start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    time.sleep(delay)
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    if process.returncode != -number:  # the interpreter itself was still starting
        assert process.returncode == 130, stderr
        assert "Traceback" not in stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(many: Path, tiny_model: Path, tmp_path: Path, number: int) -> None:
    """To the whole process group, as a terminal does it."""
    output, scores = tmp_path / "o.jsonl", tmp_path / "s.npz"
    process = start(many, tiny_model, output, "--scores", scores)
    pids = descendants(process.pid)
    os.killpg(process.pid, number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    written = len(output.read_text().splitlines())
    assert 0 < written < 800
    with np.load(scores) as archive:
        assert len(archive["id"]) == written
    assert f"{written} ok, 0 failed, of 800" in stdout
    seconds_until_gone(pids, limit=5)


def test_a_script_without_a_guard(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    call = f"engine.predict({str(data)!r}, model={str(tiny_model)!r})"
    script.write_text(f"import engine\nprint(len(list({call})))\n")
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert result.stderr.count("Traceback") == 1  # of the script's own call, as any exception
    assert result.stderr.count('if __name__ == "__main__":') == 1
    script.write_text(f'import engine\nif __name__ == "__main__":\n    print(len(list({call})))\n')
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout == "24\n", result.stderr


def test_the_command_line_streams(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for output, more in zip(outputs, ([], ["--in-process"]), strict=True):
        result = subprocess.run(
            command(data, tiny_model, "--scores", output, *more),
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert result.returncode == 3, result.stderr
    with np.load(outputs[0]) as a, np.load(outputs[1]) as b:
        np.testing.assert_array_equal(a["id"], b["id"])
        np.testing.assert_array_equal(a["scores"], b["scores"])
