"""How many clips are run: `certain` is never wrong, and rules are looked at in their order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.network.clip_rules import ALL, STAGES, ClipRule, probabilities
from engine.network.recogniser import average
from tests.support.progress import run

CERTAIN = ClipRule(until="certain")
VIEWS = HMDB51_RECIPE.views


logits_of_clips = arrays(np.float32, (VIEWS, 3), elements=st.floats(-8, 8, width=32))


@given(logits_of_clips)
def test_certain_is_certain(logits: Any) -> None:
    """Whatever the clips left out would have said: one class is the best of all clips, or two are,
    to the last digit."""
    found = average(run(CERTAIN, logits))
    every = average(logits)
    assert every[found.argmax()] >= every.max() - 1e-7


@given(logits=logits_of_clips, worst=st.integers(0, 2))
def test_certain_whatever_follows(logits: Any, worst: int) -> None:
    """The clips that were left out may all be of another class."""
    found = run(CERTAIN, logits)
    done = len(found)
    other = logits.copy()
    rest = list(HMDB51_RECIPE.view_order[done:])
    other[rest] = -100
    other[rest, worst] = 100
    assert average(other).argmax() == average(found).argmax()


@given(logits=logits_of_clips, factor=st.floats(0, 4))
def test_a_larger_factor_runs_more(logits: Any, factor: float) -> None:
    few = run(ClipRule(until="adaptive", factor=factor), logits)
    more = run(ClipRule(until="adaptive", factor=factor + 0.5), logits)
    certain = run(CERTAIN, logits)
    assert len(few) <= len(more) <= len(certain)


def test_plain_and_flipped_in_turn() -> None:
    assert HMDB51_RECIPE.view_order[:5] == (0, 10, 1, 11, 2)
    assert sorted(HMDB51_RECIPE.view_order) == list(range(20))
    assert Recipe(clips=3, flip=None).view_order == (0, 1, 2)


@pytest.mark.parametrize(
    ("rule", "views", "stages"),
    [
        (ALL, 20, (20,)),
        (ClipRule(first=7), 20, (7,)),
        (CERTAIN, 20, STAGES),
        (CERTAIN, 10, (1, 2, 4, 6, 10)),
        (CERTAIN, 11, (1, 2, 4, 6, 10, 11)),
        (CERTAIN, 1, (1,)),
        (CERTAIN, 30, (*STAGES, 30)),
    ],
)
def test_stages(rule: ClipRule, views: int, stages: tuple[int, ...]) -> None:
    assert rule.stages(views) == stages


def test_the_logits_are_in_the_order_of_the_views() -> None:
    logits = np.arange(20, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    found = run(ClipRule(first=5), logits)
    assert found[:, 0].tolist() == [0, 1, 2, 10, 11]


def test_the_gap_that_is_enough() -> None:
    rule = ClipRule(until="adaptive", factor=0.7)
    scores = np.tile([0.75, 0.24, 0.01], (2, 1))
    assert rule.decided(scores, 20)  # 0.51 of 0.7 / √2
    assert not rule.decided(scores[:1], 20)
    assert not CERTAIN.decided(scores, 20)


def test_one_class_is_known_after_one_clip() -> None:
    assert len(run(CERTAIN, np.zeros((20, 1), np.float32))) == 1


def test_what_is_not_finite_ends_it() -> None:
    """No clip that follows could make scores of it."""
    logits = np.zeros((20, 3), np.float32)
    logits[10] = np.nan
    assert len(run(CERTAIN, logits)) == 2


@given(logits_of_clips)
def test_probabilities(logits: Any) -> None:
    found = probabilities(logits)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found > 0).all()
