"""Clips to scores: the mean of softmax, not the softmax of the mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.base.errors import SampleError
from engine.network.recogniser import average


@pytest.mark.parametrize("video", ["01", "08", "11"])
def test_recorded_scores(golden: Path, video: str) -> None:
    with np.load(golden / "model.npz") as arrays:
        logits, expected = arrays[f"{video}/logits"], arrays[f"{video}/scores"]
    scores = average(logits)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    if video == "01":  # where the two averages disagree
        assert scores.argmax() == 10
        assert logits.mean(axis=0).argmax() == 2


def test_extreme_logits() -> None:
    logits = np.zeros((20, 3), np.float32)
    logits[:, 1] = 3e38
    logits[:, 2] = -3e38
    np.testing.assert_array_equal(average(logits), [0, 1, 0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(value: float) -> None:
    logits = np.zeros((20, 3), np.float32)
    logits[7, 1] = value
    with pytest.raises(SampleError, match="not finite") as caught:
        average(logits)
    assert caught.value.stage == "score"
