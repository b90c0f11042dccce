"""Metrics against the recorded ones of the reference."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from engine.outputs.accuracy import mean_class_accuracy, top_classes, top_k_accuracy

CASES = [
    *("distinct", "softmax", "float64", "border_5", "one_row", "some_nan", "inf_and_zero"),
    *("all_equal", "ties_64", "ties_8", "ties_2"),
    *(f"ties_{classes}_classes" for classes in (3, 5, 16, 17, 101)),
]


@pytest.mark.parametrize("case", CASES)
def test_recorded_accuracies(golden: Path, case: str) -> None:
    expected = json.loads((golden / "topk.json").read_text())["cases"][case]
    with np.load(golden / "topk.npz") as arrays:
        scores, labels = arrays[f"{case}/scores"], arrays[f"{case}/labels"].tolist()
        reference_top5 = arrays[f"{case}/top5"]
    assert top_k_accuracy(scores, labels, 1) == expected["stable_top1"]
    assert top_k_accuracy(scores, labels, 5) == expected["stable_top5"]
    assert mean_class_accuracy(scores, labels) == pytest.approx(
        expected["mean_class_accuracy"], abs=1e-15
    )
    if not expected["tie_sensitive"]:
        assert top_k_accuracy(scores, labels, 1) == expected["top1"]
        assert top_k_accuracy(scores, labels, 5) == expected["top5"]
        np.testing.assert_array_equal(top_classes(scores, 5), reference_top5)


def test_every_recorded_case_is_tested(golden: Path) -> None:
    assert set(json.loads((golden / "topk.json").read_text())["cases"]) == set(CASES)


def test_ties() -> None:
    scores = np.array([[0.2, 0.4, 0.4, 0.0]])
    assert top_classes(scores, 3).tolist() == [[2, 1, 0]]  # the higher index first
    assert mean_class_accuracy(scores, [1]) == 1.0  # the lower index


def test_k_beyond_the_classes() -> None:
    scores = np.array([[0.1, 0.9]])
    assert top_classes(scores, 5).tolist() == [[1, 0]]
    assert top_k_accuracy(scores, [0], 5) == 1.0


def test_nothing_to_count() -> None:
    empty = np.zeros((0, 51), np.float32)
    assert math.isnan(top_k_accuracy(empty, [], 1))
    assert math.isnan(mean_class_accuracy(empty, []))


def test_a_class_only_predicted_counts_as_zero() -> None:
    scores = np.eye(3)[[0, 1]]
    assert mean_class_accuracy(scores, [0, 0]) == pytest.approx(0.25)
