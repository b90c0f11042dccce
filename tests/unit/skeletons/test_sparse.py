"""Frames hold the same as the heatmaps that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.skeletons.sparse import Frames

RECIPES = (HMDB51_RECIPE, Recipe(size=64), Recipe(limbs=((0, 1), (5, 7))))
CELLS = HMDB51_RECIPE.cells


def made(rng: np.random.Generator, count: int, recipe: Recipe) -> tuple[Frames, Any]:
    """Frames with some cells each, some with none, and the same as a plain array."""
    dense = np.zeros((count, *recipe.frame_shape), np.float32)
    for frame in dense:
        cells = rng.choice(recipe.cells, rng.integers(0, 40), replace=False)
        frame.reshape(-1)[cells] = rng.uniform(0.1, 1, len(cells))
    frame, cells = np.nonzero(dense.reshape(count, -1))
    starts = np.searchsorted(frame, np.arange(count + 1)).astype(np.int32)
    values = dense.reshape(count, -1)[frame, cells]
    frames = Frames(starts, cells.astype(recipe.cell_type), values, recipe.frame_shape)
    return frames, dense


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 9),
    recipe=st.sampled_from(RECIPES),
    data=st.data(),
)
def test_parts_and_clips(seed: int, count: int, recipe: Recipe, data: Any) -> None:
    rng = np.random.default_rng(seed)
    frames, dense = made(rng, count, recipe)
    assert frames.flawed() is None
    np.testing.assert_array_equal(frames.dense(), dense)
    first = data.draw(st.integers(0, count))
    last = data.draw(st.integers(first, count))
    np.testing.assert_array_equal(frames[first:last].dense(), dense[first:last])
    both = Frames.joined([frames[first:], frames[:last], frames])
    assert both.flawed() is None
    np.testing.assert_array_equal(
        both.dense(), np.concatenate([dense[first:], dense[:last], dense])
    )
    plan = rng.integers(0, count, 7)
    channels, *area = recipe.frame_shape
    clip = np.full((channels, 7, *area), -1, np.float32)
    frames.write_clip(plan, clip)
    np.testing.assert_array_equal(clip, dense[plan].swapaxes(0, 1))


@pytest.mark.parametrize(
    ("starts", "cells", "message"),
    [
        ([], [1, 2, 3], "do not divide 3 values"),
        ([1, 3], [1, 2, 3], "do not divide"),
        ([0, 2], [1, 2, 3], "do not divide"),
        ([0, 3, 2, 3], [1, 2, 3], "do not divide"),
        ([0, -1, 3], [1, 2, 3], "do not divide"),
        ([0, 3], [1, 2], "2 cells and 3 values"),
        ([0, 3], [1, CELLS, 3], "a cell 53312 of 53312"),
    ],
)
def test_flawed(starts: list[int], cells: list[int], message: str) -> None:
    frames = Frames(
        np.array(starts, np.int32),
        np.array(cells, np.uint16),
        np.ones(3, np.float32),
        HMDB51_RECIPE.frame_shape,
    )
    assert message in str(frames.flawed())
