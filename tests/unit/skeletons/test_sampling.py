"""Clip plans against the recorded ones, and against a plain reading of the specification."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.skeletons.sampling import clip_plan


def plain(total: int, recipe: Recipe) -> list[list[int]]:
    """UniformSampleFrames, clip by clip and frame by frame."""
    rng = np.random.RandomState(recipe.seed)
    count, length = recipe.clips, recipe.length
    clips = []
    for c in range(count):
        if total < length:
            start = c if total < count else c * total // count
            clips.append([(start + j) % total for j in range(length)])
            continue
        if recipe.sampler == "pyskl":
            rng.rand()  # which part of the video is sampled: all of it
        if total < 2 * length:
            chosen = set(rng.choice(length + 1, total - length, replace=False).tolist())
            clip, skipped = [], 0
            for j in range(length):
                skipped += j in chosen
                clip.append(j + skipped)
        else:
            edges = [i * total // length for i in range(length + 1)]
            widths = np.array([b - a for a, b in itertools.pairwise(edges)])
            clip = [edges[i] + int(d) for i, d in enumerate(rng.randint(widths))]
        clips.append([frame % total for frame in clip])
    return clips


@pytest.mark.parametrize("version", ["expected.npz", "expected_v1.npz"])
def test_recorded_plans(golden: Path, version: str) -> None:
    expected = np.load(golden / version)
    lengths = np.load(golden / "annotations.npz")["total_frames"]
    for index, total in enumerate(lengths):
        plan = clip_plan(int(total), HMDB51_RECIPE)
        np.testing.assert_array_equal(plan.frames, expected[f"{index:02d}/frame_inds"])
        np.testing.assert_array_equal(plan.unique, expected[f"{index:02d}/unique_frames"])


RECIPES = (
    HMDB51_RECIPE,
    HMDB51_RECIPE.one_view,
    Recipe(length=32, clips=3, seed=0),
    Recipe(sampler="pyskl"),
    Recipe(sampler="pyskl", length=32, clips=1, flip=None),
)


@given(st.integers(1, 1000), st.sampled_from(RECIPES))
def test_plain_reading(total: int, recipe: Recipe) -> None:
    plan = clip_plan(total, recipe)
    assert plan.frames.shape == (recipe.clips, recipe.length)
    assert plan.frames.tolist() == plain(total, recipe)
    assert plan.frames.dtype == plan.unique.dtype == plan.positions.dtype == np.int32
    np.testing.assert_array_equal(plan.unique[plan.positions], plan.frames)
    assert (np.diff(plan.unique) > 0).all()


def test_distinct_clips() -> None:
    def distinct(total: int) -> int:
        return len({tuple(clip) for clip in clip_plan(total, HMDB51_RECIPE).frames.tolist()})

    lengths = (1, 5, 9, 10, 47, 48, 60, 96, 300)
    assert [distinct(t) for t in lengths] == [1, 5, 9, 10, 10, 1, 10, 10, 10]


def test_plans_are_shared_and_read_only() -> None:
    plan = clip_plan(60, HMDB51_RECIPE)
    assert clip_plan(60, HMDB51_RECIPE) is plan
    assert clip_plan(60, Recipe()) is plan
    with pytest.raises(ValueError, match="read-only"):
        plan.frames[0, 0] = 1


def test_no_frames() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        clip_plan(0, HMDB51_RECIPE)
