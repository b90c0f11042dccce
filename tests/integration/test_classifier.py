"""One sequence, one answer."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.base.errors import SampleError
from engine.base.options import Options
from engine.base.records import Prediction
from engine.pipeline import Pipeline
from tests.support.samples import annotation


@pytest.mark.parametrize("persons", [1, 2])
def test_as_the_data_set_would_be(tiny_model: Path, tmp_path: Path, persons: int) -> None:
    whole = annotation(70, persons=persons, seed=3)
    path = tmp_path / "one.pkl"
    path.write_bytes(pickle.dumps([whole]))
    with Pipeline(Options(dataset=str(path), model=str(tiny_model), in_process=True)) as pipeline:
        [expected] = list(pipeline)
    assert isinstance(expected, Prediction)
    about = whole["keypoint"], whole["keypoint_score"]
    in_a_row = about[0].reshape(persons, 70, 34), about[1]
    ways = [about, in_a_row]
    if persons == 1:
        ways += [tuple(array[0] for array in way) for way in ways]
    for keypoints, scores in ways:
        answer = engine.classify(keypoints, scores, (240, 320), model=str(tiny_model))
        np.testing.assert_array_equal(answer.scores, expected.scores)
        assert answer.label == expected.scores.argmax()
        assert answer.score == answer.scores.max()
        assert answer.name


@pytest.mark.parametrize(
    ("keypoints", "scores", "said"),
    [
        (np.zeros((20, 25, 2)), None, "keypoints has 25 joints; this model takes 17 in COCO order"),
        (np.zeros((20, 17, 3)), None, "scores are an argument of their own"),
        (np.zeros((17, 2)), None, r"shape \(17, 2\); expected \[persons, frames, 17, 2\]"),
        (np.zeros((20, 17, 2)), np.zeros((19, 17)), "scores has shape"),
        ([["a"]], None, "expected numbers"),
        ([[1, 2], [3]], None, "keypoints are no array of numbers"),
        (np.zeros((20, 17, 2)), None, "nobody is in keypoints"),
    ],
)
def test_what_is_wrong_is_said(tiny_model: Path, keypoints: Any, scores: Any, said: str) -> None:
    with pytest.raises(SampleError, match=said):
        engine.classify(keypoints, scores, (240, 320), model=str(tiny_model))


def test_a_network_is_that_of_the_file(
    tiny_model: Path, strided_model: Path, chdir_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the file of that name was before, here or in another folder."""
    whole = annotation(24, seed=3)
    about = whole["keypoint"], whole["keypoint_score"], (240, 320)

    def scores(model: object) -> list[float]:
        return engine.classify(*about, model=model).scores.tolist()

    first, second = scores(tiny_model), scores(strided_model)
    assert first != second
    for folder, model in (("a", tiny_model), ("b", strided_model)):
        (chdir_tmp / folder).mkdir()
        (chdir_tmp / folder / "m.onnx").write_bytes(model.read_bytes())
    monkeypatch.chdir(chdir_tmp / "a")
    assert scores("m.onnx") == first
    monkeypatch.chdir(chdir_tmp / "b")
    assert scores("m.onnx") == second
    Path("m.onnx").write_bytes(tiny_model.read_bytes())
    assert scores("m.onnx") == first


A_FORKING_SCRIPT = """
import engine, multiprocessing, numpy, sys
def score():
    keypoints = numpy.random.default_rng(0).uniform(0, 200, (24, 17, 2))
    return engine.classify(keypoints, None, (240, 320), model={model!r}).score
if __name__ == "__main__":
    before = score()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(score).get(timeout=50) == before
"""


def test_a_forked_child_loads_its_own(tiny_model: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(A_FORKING_SCRIPT.format(model=str(tiny_model)))
    subprocess.run([sys.executable, script], timeout=60, check=True)
