"""Buckets: there is room for what they are for, and no more than a video can have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.network import buckets
from engine.network.contexts import of_plan
from engine.skeletons.sampling import clip_plan

STRIDES = (1, 1, 1, 1, 2, 1, 1, 1, 1, 1)  # of the published network
SMALL = Recipe(length=12, clips=3)


@pytest.mark.parametrize("unique", [48, 96])
def test_every_length_has_room(unique: int) -> None:
    room = np.array(buckets.rows(unique, HMDB51_RECIPE, STRIDES))
    assert room[0] == 2 * unique
    for frames in range(1, 2 * unique):
        plan = clip_plan(frames, HMDB51_RECIPE)
        if len(plan.unique) <= unique:
            assert (2 * np.array(of_plan(plan.positions, STRIDES).rows) <= room).all()


@given(
    st.lists(st.lists(st.integers(0, 35), min_size=12, max_size=12), min_size=1, max_size=3),
    st.lists(st.sampled_from([1, 2, 3]), max_size=4),
)
def test_the_largest_takes_any_clips(plan: list[list[int]], strides: list[int]) -> None:
    _, inverse = np.unique(plan, return_inverse=True)
    found = of_plan(inverse.reshape(np.shape(plan)).astype(np.int32), strides)
    assert (2 * np.array(found.rows) <= buckets.rows(36, SMALL, strides)).all()


def test_larger_ones_have_no_fewer() -> None:
    rows = np.array([buckets.rows(unique, SMALL, (1, 2, 1)) for unique in (5, 12, 20, 30, 36)])
    assert (np.diff(rows, axis=0) >= 0).all()
    assert rows[-1].tolist() == [72, 72, 36, 36]


def test_defaults() -> None:
    assert buckets.default(HMDB51_RECIPE) == [32, 48, 64, 80, 96, 128, 160, 240, 480]
    assert buckets.default(replace(HMDB51_RECIPE, length=32, clips=1)) == [32]
    one_half = replace(SMALL, flip=None)
    assert buckets.rows(20, one_half, (1,)) == tuple(
        count // 2 for count in buckets.rows(20, SMALL, (1,))
    )
