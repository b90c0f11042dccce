"""Buckets: how many contexts a static graph has room for, which takes so many distinct frames.

Comes in: a number of distinct frames. Goes out: rows of each level, as many as any video has that
has no more distinct frames (`engine.network.contexts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from engine.base.recipe import Recipe
from engine.network.contexts import of_plan
from engine.skeletons.sampling import clip_plan

_FRAMES: Final = (32, 48, 64, 80, 96, 128, 160, 240)  # distinct ones
_LONGEST: Final = 4  # times as many frames as are distinct: where ten clips repeat nearly nothing


def most(recipe: Recipe) -> int:
    """Distinct frames that a video has at most."""
    return recipe.clips * recipe.length


def default(recipe: Recipe) -> list[int]:
    """Distinct frames to make graphs for."""
    return [unique for unique in _FRAMES if unique < most(recipe)] + [most(recipe)]


def rows(unique: int, recipe: Recipe, strides: Sequence[int]) -> tuple[int, ...]:
    """Rows of frames and, level by level, of contexts, both halves together. A graph of as many
    frames as a video has at most takes any clips; another one those of all videos that have so few
    distinct frames and are not many times longer."""
    halves = recipe.views // recipe.clips
    positions = most(recipe)
    largest = [positions]
    for stride in strides:
        positions = recipe.clips * -(-(positions // recipe.clips) // stride)
        largest.append(positions)
    if unique < most(recipe):
        counts = [(unique, *[0] * len(strides))]
        for frames in range(1, _LONGEST * unique):
            plan = clip_plan(frames, recipe)
            if len(plan.unique) <= unique:
                counts.append(of_plan(plan.positions, strides).rows)
        largest = np.max(counts, axis=0).tolist()
    return tuple(halves * count for count in largest)
