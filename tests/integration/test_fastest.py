"""``--precision fastest``: real parts on the device at hand, measured once."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.backends import registry
from engine.base.errors import BackendError, UsageError
from engine.base.options import Options
from engine.network.models import open_model
from engine.pipeline import Pipeline
from engine.runtime import speeds
from engine.runtime.setup import Setup
from engine.runtime.speeds import Conditions
from tests.support.plugin_backend import NAME, ChecksumBackend, register
from tests.support.runs import command, options
from tests.support.samples import annotation


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own: what other tests measured is not in it."""
    monkeypatch.setenv("ENGINE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "speeds"


@pytest.fixture
def few(tmp_path: Path) -> Path:
    path = tmp_path / "few.pkl"
    path.write_bytes(pickle.dumps([annotation(20, seed=seed) for seed in range(3)]))
    return path


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options of a backend that executes every precision, on every machine."""
    monkeypatch.syspath_prepend(str(register(tmp_path / "site-packages")))
    return {"backend": NAME, "layout": "clips", "in_process": True, "threads": 1}


def run(data: Path, model: Path, *more: object) -> tuple[int, str, str]:
    made = subprocess.run(
        command(data, model, *more), capture_output=True, text=True, timeout=240, check=False
    )
    return made.returncode, made.stdout, made.stderr


def test_measured_by_the_first_run_only(cache: Path, few: Path, tiny_model: Path) -> None:
    """What the device executes decides; the answer is what the run is of."""
    output = few.with_name("out.jsonl")
    code, said, log = run(few, tiny_model, "--precision=fastest", f"--output={output}")
    assert code == 0, log
    assert "measuring which of f32, f16, bf16" in log
    [line] = [line for line in said.splitlines() if line.startswith("precision ")]
    [kept] = cache.glob("*.json")
    about = json.loads(kept.read_bytes())
    rates = about["samples_per_s"]
    assert about["conditions"]["model"] == open_model(str(tiny_model)).sha256
    executed = json.loads(output.with_name("out.jsonl.run.json").read_bytes())["precision"]
    assert executed in rates
    if len(rates) == 1:  # a processor that executes f32 alone
        assert rates == {"f32": None}
        assert "nothing to measure" in line
    else:
        assert all(rate > 0 for rate in rates.values())
        assert all(name in line for name in rates)

    output.write_bytes(output.read_bytes().splitlines(keepends=True)[0])
    before = kept.read_bytes()
    code, said, log = run(few, tiny_model, "--precision=fastest", f"--resume={output}")
    assert code == 0, log
    assert "measuring" not in log
    assert f", {executed}, " in said
    assert len(output.read_bytes().splitlines()) == 3
    assert kept.read_bytes() == before

    kept.write_bytes(before[:-30])
    code, _, log = run(few, tiny_model, "--precision=fastest", "--limit=1", "--in-process")
    assert (code, "measuring" in log) == (0, True), log
    assert json.loads(kept.read_bytes())["samples_per_s"].keys() == rates.keys()


def test_every_precision_of_a_backend(
    cache: Path, few: Path, tiny_model: Path, plugin: dict[str, Any]
) -> None:
    """Another answer is another run; it is named where a slower one is chosen."""
    setup = Setup.of(options(few, tiny_model, precision="fastest", **plugin))
    conditions = Conditions.of(setup.executors[0])
    found = speeds.kept(conditions)
    assert found is not None
    assert found.rates.keys() == {"f32", "f16", "bf16"}
    assert setup.precision == found.fastest

    output = few.with_name("out.jsonl")
    resumed = options(few, tiny_model, precision="fastest", resume=str(output), **plugin)
    speeds.keep(conditions, {"f32": 1.0, "f16": 3.0, "bf16": 2.0})
    output.write_bytes(b'{"index": 0}\n')
    with Pipeline(options(few, tiny_model, precision="f16", **plugin)) as pipeline:
        assert pipeline.setup.precision_said is None
        identity = pipeline.identity
    output.with_name("out.jsonl.run.json").write_text(json.dumps(identity))
    speeds.keep(conditions, {"f32": 1.0, "f16": 2.0, "bf16": 3.0})
    with pytest.raises(UsageError, match="precision: f16, now bf16"):
        Pipeline(resumed)

    slower = Setup.of(options(few, tiny_model, **plugin))
    assert slower.precision == "f32"
    said = "f32; bf16 was measured 3.00 times as fast here (--precision fastest takes it)"
    assert slower.precision_said == said


class HalfCrashes(ChecksumBackend):
    """Dies of f16, as a library may of an instruction that is not there."""

    def __init__(self, *arguments: Any, **about: Any) -> None:
        if about["precision"] == "f16":
            import os

            os.abort()
        super().__init__(*arguments, **about)


def test_a_crash_while_measuring(
    cache: Path, few: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(register(tmp_path / "more", "crashing", HalfCrashes)))
    chosen = {"backend": "crashing", "layout": "clips", "in_process": True}
    with pytest.raises(BackendError, match=r"SIGABRT .*name one by --precision"):
        Setup.of(options(few, tiny_model, precision="fastest", **chosen))
    assert not cache.exists()


def test_one_precision_costs_nothing(
    cache: Path, few: Path, tiny_model: Path, quantised_model: Path
) -> None:
    """ONNX Runtime computes in the types of the file; a quantised one counts if it was gated."""
    pytest.importorskip("onnxruntime")
    setup = Setup.of(options(few, tiny_model, precision="fastest", backend="onnxruntime"))
    assert setup.precision == "f32"
    assert setup.precision_said is not None
    assert "the only one" in setup.precision_said
    with pytest.raises(UsageError, match="does not say what that costs in accuracy"):
        Setup.of(Options(model=str(quantised_model), precision="fastest"))


@pytest.mark.slow
def test_the_doctor_measures(cache: Path, tiny_model: Path) -> None:
    doctor = [sys.executable, "-m", "engine.doctor", "--measure", str(tiny_model)]
    made = subprocess.run(
        [*doctor, "--json"], capture_output=True, text=True, timeout=240, check=False
    )
    assert made.returncode == 0, made.stderr
    cells = json.loads(made.stdout)["speeds"]
    allowed = set(registry.candidates(open_model(str(tiny_model))))
    for layout in ("clips", "shared"):
        found = [cell for cell in cells if cell["layout"] == layout]
        assert {"f32"} <= {cell["precision"] for cell in found} <= allowed
    assert all(cell["samples_per_s"] > 0 for cell in cells)
    assert all(0 < cell["of_ceiling"] < 1.5 for cell in cells)
    assert len(list(cache.glob("*.json"))) == 2  # a layout each

    made = subprocess.run(
        [*doctor[:-1], "no_such.onnx"], capture_output=True, text=True, timeout=60, check=False
    )
    assert made.returncode == 2
    assert "engine.doctor: model no_such.onnx: no such file" in made.stderr
