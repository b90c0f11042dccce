"""One label out of many windows."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.live.smoothing import Smoother


def scores(*shares: float) -> Any:
    return np.array([*shares, 1 - sum(shares)], np.float32)


def test_the_mean_of_the_last_names_it() -> None:
    smoother = Smoother(windows=2, threshold=0.3, margin=0.1)
    assert smoother.add(scores(0.8, 0.1))[0] == 0
    label, mean = smoother.add(scores(0.3, 0.6))
    assert label == 0
    np.testing.assert_allclose(mean, [0.55, 0.35, 0.1], atol=1e-6)
    assert smoother.add(scores(0.1, 0.8))[0] == 1


def test_a_narrow_lead_changes_nothing() -> None:
    smoother = Smoother(windows=1, threshold=0.3, margin=0.1)
    assert smoother.add(scores(0.5, 0.4))[0] == 0
    assert smoother.add(scores(0.44, 0.5))[0] == 0
    assert smoother.add(scores(0.35, 0.5))[0] == 1


def test_no_action() -> None:
    smoother = Smoother(windows=1, threshold=0.5)
    assert smoother.add(scores(0.3, 0.3))[0] is None
    assert smoother.add(scores(0.6, 0.3))[0] == 0
    assert smoother.add(scores(0.4, 0.3))[0] is None
    assert smoother.add(scores(0.2, 0.7))[0] == 1


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), min_size=1, max_size=30))
def test_a_label_is_never_below_the_threshold(rows: list[list[float]]) -> None:
    smoother = Smoother(windows=3, threshold=0.3, margin=0.05)
    for row in rows:
        label, mean = smoother.add(np.array(row, np.float32) / np.float32(sum(row)))
        assert label is None or mean[label] >= 0.3
        assert label is not None or mean.max() < 0.3 + 0.05
