"""The answer that a prediction gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.base.records import Prediction

CLASSES = tuple(f"action {number}" for number in range(6))


def prediction(scores: list[float], classes: tuple[str, ...] = CLASSES) -> Prediction:
    logits = np.zeros((1, len(scores)), np.float32)
    return Prediction(0, "a", 3, logits, np.array(scores, np.float32), classes=classes)


def test_its_names() -> None:
    found = prediction([0.1, 0.05, 0.5, 0.05, 0.2, 0.1])
    assert (found.label, found.best, found.name) == (3, 2, "action 2")
    assert found.score == np.float32(0.5)
    assert [name for name, _ in found.top(3)] == ["action 2", "action 4", "action 0"]
    assert found.top(99) == found.top(6)
    assert found.top(0) == found.top(-1) == []
    assert prediction([0.0, 1.0], ()).name == "class_1"
    assert CLASSES[0] not in repr(found)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=6, max_size=6), st.integers(1, 9))
def test_the_best_come_first(scores: list[float], k: int) -> None:
    found = prediction(scores)
    top = found.top(k)
    assert len(top) == min(k, 6)
    assert len(dict(top)) == len(top)
    assert top[0] == (found.name, found.score)
    assert [score for _, score in top] == sorted(scores, reverse=True)[:k]
