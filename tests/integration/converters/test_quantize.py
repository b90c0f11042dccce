"""Quantisation, by the command: what it writes, and what it refuses to."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import onnx
import pytest

from converters.quantize import main
from engine.base.options import Options
from engine.network.models import open_model
from engine.runtime.setup import Setup
from tests.support.networks import LIMBS, TINY, random_state_dict, write_model
from tests.support.samples import annotation

pytest.importorskip("nncf")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Six videos to calibrate with, four to measure on."""
    videos = [annotation(20 + 3 * seed, seed=seed) for seed in range(10)]
    names = [str(video["frame_dir"]) for video in videos]
    splits = {"train1": names[:6], "test1": names[6:], "all of them": names}
    path = tmp_path / "videos.pkl"
    path.write_bytes(pickle.dumps({"split": splits, "annotations": videos}))
    return path


def arguments(model: Path, dataset: Path, *more: str) -> list[str]:
    output = dataset.with_name("int8.onnx")
    return [str(model), "--dataset", str(dataset), "--output-file", str(output), *more]


def test_writes_what_has_passed(
    tiny_model: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = arguments(tiny_model, dataset, "--clips", "5", "--min-agreement", "50")
    assert main([*command, "--max-loss", "100"]) == 0
    said = capsys.readouterr().out
    assert "from 5 clips of split train1" in said
    assert re.findall(r"^(f32|int8) +[01]\.\d{4} +[01]\.\d{4}$", said, re.M) == ["f32", "int8"]
    path = dataset.with_name("int8.onnx")
    model, before = open_model(str(path)), open_model(str(tiny_model))
    assert (model.precision, model.classes, model.batch) == ("int8", before.classes, None)
    about = {p.key: p.value for p in onnx.load(str(path)).metadata_props}
    quantisation = json.loads(about["quantisation"])
    assert quantisation["clips"] == 5
    assert (quantisation["gate"]["samples"], quantisation["gate"]["min_agreement"]) == (4, 50)
    assert model.gated
    assert not before.gated
    setup = Setup.of(Options(model=str(path), precision="fastest"))
    assert (setup.precision, setup.model.sha256) == ("int8", model.sha256)
    assert path.stat().st_size < 0.6 * tiny_model.stat().st_size

    assert main(arguments(path, dataset)) == 2
    assert "only float32 files" in capsys.readouterr().err


@pytest.mark.slow
def test_another_recipe(limb_model: Path, dataset: Path) -> None:
    """The file computes in int8 what the network of limbs computes, by the same recipe."""
    command = arguments(limb_model, dataset, "--clips", "2", "--min-agreement", "50")
    assert main([*command, "--max-loss", "100"]) == 0
    model = open_model(str(dataset.with_name("int8.onnx")))
    assert (model.precision, model.recipe) == ("int8", LIMBS)


@pytest.mark.slow
def test_a_fixed_batch_stays(tmp_path: Path, dataset: Path) -> None:
    fixed = write_model(tmp_path / "fixed.onnx", random_state_dict(TINY), TINY, batch=2)
    command = arguments(fixed, dataset, "--clips", "2", "--min-agreement", "50")
    assert main([*command, "--max-loss", "100"]) == 0
    assert open_model(str(dataset.with_name("int8.onnx"))).batch == 2


@pytest.mark.slow
def test_writes_nothing_that_loses_too_much(
    tiny_model: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tiny_model, dataset, "--clips", "2", "--min-agreement", "100.1")) == 1
    assert "not written" in capsys.readouterr().err
    assert sorted(p.name for p in dataset.parent.iterdir()) == ["videos.pkl"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--calibrate", "all of them"], "share 4 samples"),
        (["--dataset", "ntu60_2d"], "class 0 is 'drink water' in ntu60_2d and 'brush_hair' in the"),
        (["--calibrate", "train7"], "no split 'train7'"),
        (["--output-file", "int8.bin"], "must end in .onnx"),
        (["--clips", "0"], "must be at least 1"),
        (["--output-file", "MODEL"], "is the model that is to be read"),
        (["--output-file", "/proc/none/int8.onnx"], "/proc/none/int8.onnx: "),
    ],
)
def test_refusals(
    tiny_model: Path,
    dataset: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    more = [str(tiny_model) if word == "MODEL" else word for word in more]
    assert main(arguments(tiny_model, dataset, *more)) == 2
    assert message in capsys.readouterr().err
