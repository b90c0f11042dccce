"""A network of limbs at another size and length, through everything that users touch."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.base.errors import UsageError
from engine.base.recipe import HMDB51_RECIPE
from engine.base.records import Prediction
from engine.pipeline import Pipeline
from engine.ray import Scorer
from tests.support.networks import LIMBS, TINY, random_state_dict, write_model
from tests.support.runs import alone, check, options
from tests.support.samples import annotation


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shorter than a clip, as long, and longer."""
    path = tmp_path_factory.mktemp("data") / "videos.pkl"
    frames = (20, 32, 70)
    path.write_bytes(pickle.dumps([annotation(n, 1 + n % 3, seed=n) for n in frames]))
    return path


@pytest.fixture(scope="module")
def expected(videos: Path, limb_model: Path) -> dict[str, Any]:
    """Without processes."""
    return alone(options(videos, limb_model, in_process=True))


def compressed(whole: dict[str, Any]) -> dict[str, Any]:
    """In Kinetics-400's form, of people who are always there."""
    people = np.concatenate([whole["keypoint"], whole["keypoint_score"][..., None]], axis=-1)
    persons, frames = people.shape[:2]
    rows = people.swapaxes(0, 1).reshape(-1, *people.shape[2:])
    kept = {key: whole[key] for key in ("frame_dir", "label", "img_shape", "total_frames")}
    return {**kept, "keypoint": rows, "frame_inds": np.arange(frames).repeat(persons)}


@pytest.mark.parametrize("wire", ["frames", "keypoints", "clips"])
def test_every_wire(videos: Path, limb_model: Path, expected: dict[str, Any], wire: str) -> None:
    if wire == "clips":  # which take the other layout
        expected = alone(options(videos, limb_model, in_process=True, layout="clips"))
    with Pipeline(options(videos, limb_model, wire=wire)) as pipeline:
        check(list(pipeline), expected)


def test_the_command_and_its_files(
    videos: Path, limb_model: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    """Of compressed annotations: all that is written has the model's numbers."""
    data = tmp_path / "data.pkl"
    data.write_bytes(pickle.dumps([compressed(one) for one in pickle.loads(videos.read_bytes())]))
    files = {name: tmp_path / f"{name}.npz" for name in ("scores", "logits")}
    report = tmp_path / "report.html"
    outputs = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    arguments = ["--dataset", str(data), "--model", str(limb_model), "--report", str(report)]
    result = subprocess.run(
        [sys.executable, "-m", "engine.run", "--in-process", *arguments, *outputs],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    with np.load(files["scores"]) as scores, np.load(files["logits"]) as logits:
        assert logits["logits"].shape == (3, LIMBS.views, 51)
        for row, name in enumerate(scores["id"]):
            np.testing.assert_array_equal(scores["scores"][row], expected[name].scores)
    text = report.read_text()
    data_of = text.partition('<script type="application/json" id="data">')[2]
    shown = json.loads(data_of.partition("</script>")[0])
    assert {name for name, *_ in shown["rows"]} == expected.keys()
    motions, found = zlib.decompress(base64.b64decode(shown["motions"])), 0
    while motions:  # joints of people, whatever the network is shown
        frames, persons = motions[:2]
        motions, found = motions[2 + persons * 17 * 2 * frames :], found + 1
    assert found == len(shown["rows"])


def test_in_python(videos: Path, limb_model: Path, expected: dict[str, Any]) -> None:
    rows = pickle.loads(videos.read_bytes())
    columns = {
        name: np.array([*(row[name] for row in rows), None], object)[:-1]
        for name in ("keypoint", "keypoint_score", "img_shape")
    }
    scored = Scorer(model=str(limb_model))(columns)
    for row, of_row in zip(rows, scored["scores"], strict=True):
        one = expected[row["frame_dir"]]
        np.testing.assert_array_equal(of_row, one.scores)
        arrays = row["keypoint"], row["keypoint_score"], row["img_shape"]
        np.testing.assert_array_equal(
            engine.classify(*arrays, model=str(limb_model)).scores, one.scores
        )


def test_the_dump_of_a_model(videos: Path, limb_model: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [
            *(sys.executable, "-m", "engine.run", "--dataset", str(videos), "--limit", "1"),
            *("--model", str(limb_model), "--dump-bin", str(tmp_path)),
        ],
        timeout=120,
        check=False,
    )
    assert result.returncode == 0
    assert (tmp_path / "hmdb51_label.txt").is_file()  # whose classes the model has
    [found] = (tmp_path / "bin").iterdir()
    tensor = np.fromfile(found, np.float32).reshape(LIMBS.views, *LIMBS.clip_shape)
    [first, *_] = pickle.loads(videos.read_bytes())
    np.testing.assert_array_equal(tensor, engine.preprocess(first, model=limb_model))


def test_another_body(tmp_path: Path) -> None:
    """Of thirteen joints: data sets of such are scored; live sources, which have seventeen, are
    refused."""
    recipe = replace(HMDB51_RECIPE, joints=13, twins=tuple(range(13)), clips=1)
    arch = replace(TINY, in_channels=13)
    model = write_model(tmp_path / "a.onnx", random_state_dict(arch), arch, recipe=recipe)
    whole = annotation(30)
    whole |= {name: whole[name][:, :, :13] for name in ("keypoint", "keypoint_score")}
    data = tmp_path / "a.pkl"
    data.write_bytes(pickle.dumps([whole]))
    [record] = alone(options(data, model, in_process=True)).values()
    assert isinstance(record, Prediction)
    arrays = whole["keypoint"], whole["keypoint_score"], whole["img_shape"]
    np.testing.assert_array_equal(engine.classify(*arrays, model=str(model)).scores, record.scores)
    with pytest.raises(UsageError, match="a.onnx takes 13 joints; live sources have COCO's 17"):
        next(engine.stream("demo", model=str(model)))
