"""What is there for those who come from the published recipe: its files and its formulas."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from benchmarks import npu_model, pure_inference, score_folder
from engine.base import progress
from engine.base.constants import CLIP_SHAPE, VIEWS
from engine.base.errors import OutputError, UsageError
from engine.base.recipe import Recipe
from engine.preprocessing import preprocess
from tests.doubles import om
from tests.support import ROOT
from tests.support.networks import TINY, random_state_dict, write_model
from tests.support.samples import annotation


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "few.pkl"
    broken = annotation(20, seed=9, total_frames=10**5000)  # which nobody foresaw
    path.write_bytes(pickle.dumps([annotation(20, seed=1), broken, annotation(30, seed=2)]))
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine.run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_dump_scored_as_the_recipe_does(few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """The three steps of the recipe on its files come to what one run of the engine comes to."""
    result = run("--dataset", few, "--dump-bin", tmp_path / "prep")
    assert result.returncode == 3
    assert "engine.run: video_9: ValueError: Exceeds the limit" in result.stderr
    files = sorted((tmp_path / "prep" / "bin").iterdir())
    assert [f.name for f in files] == ["00000.bin", "00002.bin"]
    label_file = tmp_path / "prep" / "hmdb51_label.txt"
    assert label_file.read_text() == "00000 1\n00001 9\n00002 2\n"
    tensor = np.fromfile(files[1], np.float32).reshape(VIEWS, *CLIP_SHAPE)
    np.testing.assert_array_equal(tensor, preprocess(annotation(30, seed=2)))

    network = ort.InferenceSession(str(tiny_model))
    results = tmp_path / "results"
    results.mkdir()
    (results / "sumary.json").write_text("{}")
    for file in files:
        data = np.fromfile(file, np.float32).reshape(1, VIEWS, *CLIP_SHAPE)
        [logits] = network.run(None, {"onnx::Reshape_0": data})
        logits.tofile(results / f"{file.stem}_0.bin")
    scores, labels = score_folder.read(results, label_file)
    assert labels == [1, 2]
    archive = tmp_path / "scores.npz"
    assert run("--dataset", few, "--model", tiny_model, "--scores", archive).returncode == 3
    with np.load(archive) as engine:
        np.testing.assert_allclose(scores, engine["scores"], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_dump_for_another_model(few: Path, tmp_path: Path) -> None:
    """Its shape is that of the model, and the scorer finds how many clips a sample has."""
    recipe = Recipe(size=16, length=8, clips=3, limbs=((0, 5), (5, 7)), flip=None)
    arch = replace(TINY, in_channels=2)
    model = write_model(tmp_path / "a.onnx", random_state_dict(arch), arch, recipe=recipe)
    prep, results = tmp_path / "prep", tmp_path / "results"
    result = run("--dataset", few, "--model", model, "--dump-bin", prep)
    assert "wrote 2 tensors [3, 2, 8, 16, 16]" in result.stdout
    assert result.stdout.endswith("clips.json\n")
    about = json.loads((prep / "clips.json").read_text())
    assert about == {"shape": [3, 2, 8, 16, 16], "dtype": "float32", "recipe": recipe.to_json()}
    network = ort.InferenceSession(str(model))
    results.mkdir()
    for number, seed in ((0, 1), (2, 2)):
        data = np.fromfile(prep / "bin" / f"{number:05d}.bin", np.float32).reshape(about["shape"])
        wanted = preprocess(annotation(10 + 10 * seed, seed=seed), model=model)
        np.testing.assert_array_equal(data, wanted)
        [logits] = network.run(None, {"onnx::Reshape_0": data[None]})
        logits.tofile(results / f"{number:05d}_0.bin")
    archive = tmp_path / "scores.npz"
    assert run("--dataset", few, "--model", model, "--scores", archive).returncode == 3
    scores, _ = score_folder.read(results, prep / "hmdb51_label.txt")
    with np.load(archive) as engine:
        np.testing.assert_allclose(scores, engine["scores"], rtol=0, atol=1e-5)
    (prep / "clips.json").write_text('{"shape": []}')
    with pytest.raises(UsageError, match=r"clips.json is damaged .*--dump-bin writes it"):
        score_folder.read(results, prep / "hmdb51_label.txt")


def test_scores_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--infer_results", str(tmp_path), "--label_file", str(tmp_path / "labels.txt")]
    (tmp_path / "labels.txt").write_text("00000 3\n00001 4\n")
    assert score_folder.main(base) == 2
    assert "has no .bin or .npy files" in capsys.readouterr().err
    logits = np.zeros((VIEWS, 51), np.float32)
    logits[:, 3] = 5
    np.save(tmp_path / "00000_0.npy", logits)
    logits.tofile(tmp_path / "00001_0.bin")
    assert score_folder.main(base) == 0
    assert "top1_acc\t0.5000\n" in capsys.readouterr().out
    logits[:7].tofile(tmp_path / "00001_0.bin")
    assert score_folder.main(base) == 2
    assert "00001_0.bin has 357 values, which are no 20 rows" in capsys.readouterr().err
    logits.tofile(tmp_path / "00002_0.bin")
    (tmp_path / "00001_0.bin").unlink()
    assert score_folder.main(base) == 2
    assert "has no label for 00002" in capsys.readouterr().err


@pytest.mark.parametrize(("dataset", "needed"), [("hmdb51", "0.6"), ("ntu60_xsub_val", "0.8")])
def test_too_small_a_disk(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, needed: str
) -> None:
    """A named data set is drawn for its checkpoint, which nobody has to have."""
    from engine.base.options import Options
    from engine.cli import dump

    class Full:
        free = 1000

    monkeypatch.setattr(dump.shutil, "disk_usage", lambda folder: Full)
    with pytest.raises(OutputError, match=f"{needed} GB are needed and 0.0 GB free; --limit"):
        dump.dump(Options(dataset=dataset, ann_file=str(few)), tmp_path)


@pytest.mark.parametrize("batch", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_pure_inference(
    tiny_model: Path,
    few: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0)
    arguments = ["--model", str(tiny_model), "--loop", "2", "--json", str(tmp_path / "out.json")]
    more = ["--dataset", str(few)] if batch == 1 else ["--backend", "onnxruntime"]
    assert pure_inference.main([*arguments, "--batchsize", str(batch), *more]) == 0
    printed, said = capsys.readouterr()
    assert printed.startswith("device only: ")
    assert re.search(r"^runs of clips: 1/3  .* left$", said, re.MULTILINE)
    assert ("end to end: 1/3" in said) == (batch == 1)
    line = re.search(
        rf"^\[INFO\] throughput 1000\*batchsize.mean\({batch}\)/NPU_compute_time.mean"
        r"\(([\d.]+)\): ([\d.]+)$",
        printed,
        re.MULTILINE,
    )
    assert line is not None
    assert float(line[2]) == pytest.approx(1e3 * batch / float(line[1]))
    found = json.loads((tmp_path / "out.json").read_text())
    assert len(found["clips"]["execution_ms"]) == 2
    assert ("end to end" in printed) == ("end_to_end" in found) == (batch == 1)


def test_an_option_of_ais_bench(capsys: pytest.CaptureFixture[str]) -> None:
    """Where it is not one of ours as well."""
    with pytest.raises(SystemExit):
        pure_inference.main(["--model", "a.om", "--batchsize", "1", "--input", "prep/bin"])
    assert "--input is an option of ais_bench; here --dataset" in capsys.readouterr().err


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "doubles"))


@pytest.mark.slow
def test_pure_inference_of_an_om(
    double: None,
    stand_in: Any,
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Execution alone is what the runtime's own clock says, and a busy device is told of."""
    stand_in("310p3_busy_narrow")
    path = om.write(
        tmp_path / "bs2.om", tiny_model.read_bytes(), {"onnx::Reshape_0": [2, VIEWS, *CLIP_SHAPE]}
    )
    base = ["--model", str(path), "--loop", "2", "--json", str(tmp_path / "out.json")]
    assert pure_inference.main([*base, "--batchsize", "3"]) == 2
    assert "--batchsize 3: this file runs 2" in capsys.readouterr().err
    assert pure_inference.main([*base, "--batchsize", "2"]) == 0
    assert "warning: NPU 0 is not idle: process 31415" in capsys.readouterr().err
    found = json.loads((tmp_path / "out.json").read_text())["clips"]
    assert all(e < r for e, r in zip(found["execution_ms"], found["run_ms"], strict=True))


def test_the_model_of_an_npu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its assumptions and what is a calculation are said; the slowest stage follows from them."""
    pytest.importorskip("matplotlib")
    base = ["--plot", str(tmp_path / "a.svg"), "--json", str(tmp_path / "a.json")]
    assert npu_model.main(base) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("A calculation for an Ascend 310P3, not a measurement. Assumed:")
    assert "execution      22.39" in printed
    assert "computed, not measured" in (tmp_path / "a.svg").read_text()
    found = json.loads((tmp_path / "a.json").read_text())["ways"]
    pyacl = found["clips, pyacl"]
    assert pyacl["stages"]["execute"] == pytest.approx(1 / 22.39)
    assert pyacl["rate"] == pytest.approx(1 / max(pyacl["stages"].values()))
    recipe = found["recipe: three scripts, files between them"]
    assert recipe["rate"] == pytest.approx(1 / sum(recipe["stages"].values()))
    assert npu_model.main(["--bus", "0.5"]) == 0
    assert re.search(r"^clips, pyacl .* copy \(409.4 ms\)$", capsys.readouterr().out, re.MULTILINE)


def on_ascend(out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "benchmarks" / "on_ascend.sh"), str(out)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def test_the_script_in_another_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not have the engine's libraries."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("PYTHON", str(python))
    result = on_ascend(tmp_path / "out")
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(
        rf"on_ascend: {python} cannot import the engine \(ModuleNotFoundError: .*\): activate its "
        r"virtual environment, or give PYTHON\n",
        result.stderr,
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (None, "NPU: none: there is no npu-smi; an Ascend host has npu-smi from the driver"),
        ("310p3", "CANN: not found; install the toolkit, or take its container"),
    ],
)
def test_the_script_outside_its_environment(
    stand_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str | None, reason: str
) -> None:
    """It stops, once; what the doctor says of the host is there to be sent."""
    if table is not None:
        stand_in(table)
        (tmp_path / "bin" / "atc").unlink()
    monkeypatch.setenv("PYTHON", sys.executable)
    out = tmp_path / "out"
    result = on_ascend(out)
    assert result.returncode == 2
    assert result.stderr.startswith(f"on_ascend: {reason}")
    assert result.stderr.endswith(
        f". Nothing was run; {out}/doctor.log says what else this host lacks\n"
    )
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in out.iterdir()) == ["doctor.json", "doctor.log"]


@pytest.mark.full
def test_the_script_for_owners_of_an_npu(
    double: None,
    stand_in: Any,
    tiny_model: Path,
    few: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every step of it, around the doubles; one that fails does not keep the others back."""
    stand_in("310p3")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests' / 'doubles'}:{ROOT}")
    for name, value in (
        ("MODEL", tiny_model),
        ("DATASET", few),
        ("LIMIT", 1),
        ("LOOP", 1),
        ("PYTHON", sys.executable),
    ):
        monkeypatch.setenv(name, str(value))
    result = on_ascend(tmp_path / "out")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out" / "on_ascend.json").read_text())
    assert found["failed"] == []
    pure = {
        f"pure_{n}_{backend}"
        for n in ("bs1", "bs4", "bs8", "dyn8", "shared", "frames", "fp16")
        for backend in ("acl", "pyacl")
    }
    assert pure < found.keys()
    runs = {
        f"run_{what}_{backend}"
        for what in ("bs8", "fp16", "shared", "frames")
        for backend in ("acl", "pyacl")
    }
    assert runs < found.keys()
    assert all(found[run]["fps"] > 0 for run in runs)
    assert re.search(r"^pure_bs8_acl +[\d.]+ +22.39 ", result.stdout, re.MULTILINE)
