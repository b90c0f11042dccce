"""One sequence, one answer."""

from __future__ import annotations

import pickle
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
