"""The whole pipeline on test doubles of an NPU's runtimes: real processes and real logits."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.errors import UsageError
from engine.base.records import Failure, Prediction
from engine.pipeline import Pipeline
from tests.doubles.models import describe, geared, planned
from tests.support.runs import command, options


@pytest.fixture(scope="module")
def tiny_model(strided_model: Path) -> Path:
    return strided_model


@pytest.fixture
def many(tiny_model: Path, tmp_path: Path) -> Path:
    return describe(geared(tiny_model, tmp_path / "many.om", [1, 2]), [1, 2], geared=True)


def scored(pipeline: Pipeline) -> dict[str, Any]:
    return {record.id: record.scores for record in pipeline if isinstance(record, Prediction)}


def same(found: dict[str, Any], wanted: dict[str, Any], count: int) -> None:
    """So many samples have scores, and those of a CPU."""
    assert len(found) == count
    for name, scores in found.items():
        np.testing.assert_allclose(scores, wanted[name], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def on_a_cpu(data: Path, tiny_model: Path) -> dict[str, Any]:
    with Pipeline(options(data, tiny_model, limit=9)) as pipeline:
        return scored(pipeline)


@pytest.mark.parametrize("in_process", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_scores_are_those_of_a_cpu(
    name: str, data: Path, many: Path, on_a_cpu: dict[str, Any], in_process: bool
) -> None:
    chosen = options(data, many, limit=6, in_process=in_process, backend=name)
    with Pipeline(chosen) as pipeline:
        assert pipeline.max_batch == (2 if in_process else 4)
        same(scored(pipeline), on_a_cpu, 5)
        assert pipeline.figures.clips_padded == 0  # the gears fit every remainder


@pytest.mark.slow
def test_two_devices(
    doubles: None,
    data: Path,
    many: Path,
    on_a_cpu: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOUBLE_DEVICES", "2")
    with Pipeline(options(data, many, limit=6, device="0,1")) as pipeline:
        assert pipeline.facts.device == "NPU 0 (Ascend310P3), NPU 1 (Ascend310P3)"
        same(scored(pipeline), on_a_cpu, 5)
    with pytest.raises(UsageError, match="there is no such device"):
        Pipeline(options(data, many, limit=6, device="0,2"))


@pytest.mark.parametrize(
    "fault", [pytest.param(f, marks=pytest.mark.slow) for f in ("fail 507015", "abort", "hang")]
)
def test_a_device_that_fails_is_opened_anew(
    doubles: None, data: Path, many: Path, on_a_cpu: dict[str, Any], faults: Path, fault: str
) -> None:
    faults.write_text(f"ok\nok\n{fault}")  # the first one warms it up
    chosen = options(data, many, limit=6, stall_timeout=5.0 if fault == "hang" else 300.0)
    with Pipeline(chosen) as pipeline:
        same(scored(pipeline), on_a_cpu, 5)
        assert pipeline.figures.restarts >= 1  # a slow machine may hang for so long as well


@pytest.mark.parametrize(
    ("geared", "in_process"),
    [(False, False), (True, False), pytest.param(True, True, marks=pytest.mark.slow)],
)
def test_frames_and_a_plan(
    name: str,
    data: Path,
    tiny_model: Path,
    tmp_path: Path,
    on_a_cpu: dict[str, Any],
    geared: bool,
    in_process: bool,
) -> None:
    path = planned(tiny_model, tmp_path / "shared.om", [16, 64, 480], geared=geared)
    chosen = options(data, path, limit=9, in_process=in_process, backend=name)
    with Pipeline(chosen) as pipeline:
        assert pipeline.model.layout == "shared"
        same(scored(pipeline), on_a_cpu, 7)


@pytest.mark.parametrize("in_process", [False, True])
def test_more_frames_than_were_compiled_for(
    doubles: None,
    data: Path,
    tiny_model: Path,
    tmp_path: Path,
    on_a_cpu: dict[str, Any],
    in_process: bool,
) -> None:
    path = planned(tiny_model, tmp_path / "shared.om", [16, 40], geared=False)
    with Pipeline(options(data, path, limit=9, in_process=in_process)) as pipeline:
        records = list(pipeline)
    failed = [r for r in records if isinstance(r, Failure) and r.stage == "infer"]
    assert [r.index for r in failed] == [1, 6, 8]
    assert "41 distinct frames, and the largest file takes 40" in failed[1].message
    same({r.id: r.scores for r in records if isinstance(r, Prediction)}, on_a_cpu, 4)


def test_whole_clips_do_not_go_into_it(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    path = planned(tiny_model, tmp_path / "shared.om", [16], geared=False)
    with pytest.raises(UsageError, match="takes distinct frames .layout shared., which --wire"):
        Pipeline(options(data, path, wire="clips"))
    with pytest.raises(UsageError, match="--layout clips: .* was compiled as shared"):
        Pipeline(options(data, path, layout="clips"))


@pytest.mark.parametrize("backend", ["acl", "pyacl"])
def test_a_host_without_an_npu(data: Path, many: Path, backend: str) -> None:
    """One message, and where to find out what is missing."""
    module = {"acl": "aclruntime", "pyacl": "acl"}[backend]
    result = subprocess.run(
        command(data, many, "--backend", backend),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == (
        f"engine.run: this host has no {module} (No module named '{module}'); "
        "python -m engine.doctor says what this host lacks\n"
    )
