"""Contexts against the plain computation: a temporal network over every position of every clip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.base.recipe import HMDB51_RECIPE
from engine.network.contexts import PADDING, Contexts, contexts, of_plan
from engine.skeletons.sampling import clip_plan

STRIDES = (1, 1, 1, 1, 2, 1, 1, 1, 1, 1)  # of the published network


def layer(
    previous: NDArray[np.int64], this: NDArray[np.int64], following: NDArray[np.int64], number: int
) -> NDArray[np.int64]:
    """Any function that mixes three positions: exact, and different for every layer."""
    return (previous * 31 + this * 7 + following * 101 + number + 1) % 1_000_003


def by_position(values: NDArray[np.int64], strides: tuple[int, ...]) -> NDArray[np.int64]:
    for number, stride in enumerate(strides):
        padded = np.pad(values, ((0, 0), (1, 1)))
        values = layer(padded[:, :-2], padded[:, 1:-1], padded[:, 2:], number)[:, ::stride]
    return values


def by_context(frames: NDArray[np.int64], found: Contexts) -> NDArray[np.int64]:
    values = frames
    for number, level in enumerate(found.levels):
        values = np.append(values, 0)  # the padding, where PADDING points
        values = layer(*(values[level.sources[:, tap]] for tap in range(3)), number)
    return values[found.clips][found.inverse]


@settings(deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda clips: st.integers(1, 12).flatmap(
            lambda length: st.lists(
                st.lists(st.integers(0, 8), min_size=length, max_size=length),
                min_size=clips,
                max_size=clips,
            )
        )
    ),
    st.lists(st.sampled_from([1, 2]), min_size=1, max_size=4),
)
def test_equal_to_every_position_of_every_clip(plan: list[list[int]], strides: list[int]) -> None:
    positions = np.unique(plan, return_inverse=True)[1].reshape(np.shape(plan)).astype(np.int32)
    found = of_plan(positions, strides)
    frames = np.random.default_rng(0).integers(1, 1000, found.frames)
    expected = by_position(frames[positions], tuple(strides))
    np.testing.assert_array_equal(by_context(frames, found), expected)
    for level, above in zip(found.levels, found.levels[1:], strict=False):
        uses = np.repeat([0, 1, 2], level.uses)
        middle, beside = above.sources[:, 1], above.sources[:, ::2]
        assert set(uses[middle]) <= {0, 1}
        assert set(uses[beside[beside != PADDING]]) <= {0, 2}
    for level in found.levels:
        assert len(np.unique(level.sources, axis=0)) == len(level) <= positions.size
        assert level.sources.min() >= PADDING


@pytest.mark.parametrize("total", [1, 2, 7, 20, 30, 47, 48, 49, 60, 90, 95, 96, 150, 300, 650])
def test_plans_of_real_lengths(total: int) -> None:
    plan = clip_plan(total, HMDB51_RECIPE)
    found = contexts(plan.positions, STRIDES)
    frames = np.random.default_rng(total).integers(1, 1000, found.frames)
    expected = by_position(frames[plan.positions], STRIDES)
    np.testing.assert_array_equal(by_context(frames, found), expected)
    assert contexts(plan.positions, STRIDES) is found, "cached"


@pytest.mark.parametrize(("total", "last", "clips"), [(20, 160, 10), (48, 24, 1), (300, 240, 10)])
def test_counts(total: int, last: int, clips: int) -> None:
    """Ten identical clips of 48 frames, no two equal ends in long ones."""
    found = of_plan(clip_plan(total, HMDB51_RECIPE).positions, STRIDES)
    assert len(found.levels[-1]) == last
    assert found.clips.shape == (clips, 24)
