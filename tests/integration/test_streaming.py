"""The streaming pipeline with real processes, real sockets and a real runtime.

Every test runs inside `nothing_left` (conftest): processes, shared memory, temporary files
and sockets are afterwards as they were before.
"""

from __future__ import annotations

import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import engine
from engine.base.errors import UsageError
from engine.base.records import Prediction
from engine.pipeline import Pipeline
from tests.support.networks import STRIDED, TINY, random_state_dict, write_model
from tests.support.runs import check, children, command, options

MORE_SETTINGS = [(1, 1), (1, 3), (1, 8), (3, 1), (3, 8)]


@pytest.mark.parametrize(
    ("wire", "layout"),
    [
        ("frames", "shared"),
        pytest.param("keypoints", "shared", marks=pytest.mark.slow),
        pytest.param("frames", "clips", marks=pytest.mark.slow),
        ("clips", "clips"),
    ],
)
@pytest.mark.parametrize(
    ("workers", "max_batch"),
    [(3, 3), *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE_SETTINGS)],
)
def test_equal_to_in_process(
    data: Path,
    tiny_model: Path,
    expected_of: Any,
    workers: int,
    max_batch: int,
    wire: str,
    layout: str,
) -> None:
    limit, scored = (None, 8) if layout == "shared" else (5, 4)  # whole clips take their time
    more: dict[str, Any] = {"workers": workers, "max_batch": max_batch, "limit": limit}
    with Pipeline(options(data, tiny_model, wire=wire, layout=layout, **more)) as pipeline:
        assert pipeline.model.layout == layout
        check(list(pipeline), expected_of(layout, limit))
        assert pipeline.figures.restarts == pipeline.figures.dropped == 0
        assert pipeline.figures.clips_run == scored * 20


@pytest.mark.slow
def test_layouts(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Which one is taken by itself, and what cannot be had."""
    fixed = write_model(tmp_path / "bs2.onnx", random_state_dict(TINY), TINY, batch=2)
    for model, more, layout in (
        (tiny_model, {}, "shared"),
        (tiny_model, {"wire": "clips"}, "clips"),
        (fixed, {}, "clips"),
        (fixed, {"layout": "shared"}, "shared"),
    ):
        with Pipeline(options(data, model, limit=1, **more)) as pipeline:
            assert pipeline.model.layout == layout
            assert len(list(pipeline)) == 1
    with pytest.raises(UsageError, match="--layout shared needs distinct frames"):
        Pipeline(options(data, tiny_model, layout="shared", wire="clips"))


def test_stages_and_figures(data: Path, tiny_model: Path) -> None:
    with Pipeline(options(data, tiny_model)) as pipeline:
        records = [r for r in pipeline if isinstance(r, Prediction)]
        figures = pipeline.figures
    left_out = []
    for record in records:
        assert set(record.ms) == {"assign", "decode", "transport", "queue", "infer", "total"}
        assert record.ms["total"] >= record.ms["infer"] > 0
        stages = sum(ms for stage, ms in record.ms.items() if stage != "total")
        assert stages <= record.ms["total"] * 1.001
        left_out.append(1 - stages / record.ms["total"])
    # but for what goes on between a worker's messages, nothing is left out
    assert np.median(left_out) < 0.25
    assert figures.decode_s > 0
    assert figures.infer_s == pytest.approx(sum(r.ms["infer"] for r in records) / 1e3)
    assert figures.bytes_sent > 8 * 2 * 5 * 17 * 9 * 6  # most joints are drawn on 16 cells


def test_who_waits_for_whom(data: Path, tiny_model: Path) -> None:
    """One sample at a time: most of the time workers wait for the device, though the table is
    empty whenever a record comes."""
    with Pipeline(options(data, tiny_model, max_memory=1)) as pipeline:
        list(pipeline)
        seconds = pipeline.figures.states
    assert max(seconds, key=lambda state: seconds[state]) == "workers wait for the device"


@pytest.mark.slow
def test_bytes_in_flight_are_bounded(data: Path, tiny_model: Path, expected: Any) -> None:
    budget = 3 << 20  # more than the largest of them
    with Pipeline(options(data, tiny_model, max_memory=budget, workers=3)) as pipeline:
        check(list(pipeline), expected)
        assert 0 < pipeline.figures.peak_bytes <= budget
    # Larger than the budget: one at a time, and nobody is left out.
    with Pipeline(options(data, tiny_model, max_memory=1, workers=3)) as pipeline:
        check(list(pipeline), expected)
        assert pipeline.figures.peak_bytes < budget


@pytest.mark.slow
@pytest.mark.parametrize("max_batch", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_fixed_batch_is_fed_only_that(data: Path, tmp_path: Path, max_batch: int) -> None:
    state = random_state_dict(STRIDED)
    fixed = write_model(tmp_path / "bs2.onnx", state, STRIDED, batch=2)
    free = write_model(tmp_path / "free.onnx", state, STRIDED)
    with Pipeline(options(data, free, in_process=True, limit=3)) as pipeline:
        expected = {r.id: r.scores for r in pipeline if isinstance(r, Prediction)}
    chosen = options(data, fixed, backend="onnxruntime", max_batch=max_batch, limit=3)
    with Pipeline(chosen) as pipeline:
        records = list(pipeline)
        assert pipeline.figures.clips_run == 60
        assert pipeline.figures.clips_padded >= 20
        assert pipeline.figures.clips_padded % 20 == 0
    for record in records:
        assert isinstance(record, Prediction)
        np.testing.assert_allclose(record.scores, expected[record.id], atol=1e-5)


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


@pytest.mark.parametrize("in_process", [False, True])
def test_iterated_once_and_before_it_is_closed(
    data: Path, tiny_model: Path, in_process: bool
) -> None:
    with Pipeline(options(data, tiny_model, in_process=in_process, limit=4)) as pipeline:
        records = iter(pipeline)
        next(records)
        with pytest.raises(UsageError, match="iterated once"):
            iter(pipeline)
    with pytest.raises(UsageError, match="is closed"):
        next(records)
    pipeline.close()


@pytest.mark.slow
def test_classes_by_the_thousand(data: Path, tmp_path: Path) -> None:
    """Their logits are larger than any limit that does not follow their number."""
    arch = replace(TINY, num_classes=14_000)
    names = [str(number) for number in range(14_000)]
    path = write_model(tmp_path / "many.onnx", random_state_dict(arch), arch, classes=names)
    with Pipeline(options(data, path, limit=2)) as pipeline:
        assert [r.scores.shape for r in pipeline if isinstance(r, Prediction)] == [(14_000,)] * 2
        assert pipeline.figures.restarts == pipeline.figures.dropped == 0


def test_what_children_are_told_and_load(data: Path, tiny_model: Path) -> None:
    chosen = options(data, tiny_model, workers=1, threads=2)
    with Pipeline(chosen) as pipeline:
        runner: Any = pipeline._driver
        directory = Path(runner._directory)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        next(iter(pipeline))  # by now the worker has decoded and sent
        for role, threads in (("worker", "1"), ("executor", "2")):
            [pid] = children(pipeline, role)
            process = psutil.Process(pid)
            assert process.environ()["OMP_NUM_THREADS"] == threads
            loaded = " ".join(mapped.path for mapped in process.memory_maps())
            assert ("libopenvino" in loaded) == (role == "executor")
            assert "onnxruntime" not in loaded


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
    assert result.stdout == "11\n", result.stderr


def test_a_script_from_standard_input(data: Path, tiny_model: Path) -> None:
    """It has no file that children could import."""
    call = f"engine.predict({str(data)!r}, model={str(tiny_model)!r})"
    result = subprocess.run(
        [sys.executable, "-"],
        input=f"import engine\nprint(len(list({call})))\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "11\n", "")


@pytest.mark.slow
def test_the_default_batch_is_a_multiple_of_a_fixed_one(data: Path, tmp_path: Path) -> None:
    fixed = write_model(tmp_path / "bs3.onnx", random_state_dict(TINY), TINY, batch=3)
    with Pipeline(options(data, fixed, limit=2)) as pipeline:
        assert pipeline.max_batch == 6
        assert len(list(pipeline)) == 2


def test_the_command_line_streams(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for output, more in zip(outputs, ([], ["--in-process"]), strict=True):
        result = subprocess.run(
            command(data, tiny_model, "--scores", output, *more),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 3, result.stderr
    with np.load(outputs[0]) as a, np.load(outputs[1]) as b:
        np.testing.assert_array_equal(a["id"], b["id"])
        np.testing.assert_array_equal(a["scores"], b["scores"])
