"""Crops that stay: everybody is within, and a crop changes when somebody leaves it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.base.recipe import HMDB51_RECIPE
from engine.live.crops import SteadyCrop
from engine.skeletons.heatmaps import crop_around

BODY = np.random.default_rng(0).uniform(-50, 50, (1, 48, 17, 2)).astype(np.float32)


def at(x: float, y: float, scale: float = 1) -> Any:
    return BODY * np.float32(scale) + np.float32([x, y])


def test_it_stays_while_everybody_is_within() -> None:
    crop = SteadyCrop(0, HMDB51_RECIPE)
    first = crop.of(at(300, 200), "a")
    assert first == crop_around(at(300, 200), HMDB51_RECIPE)  # the reference's own, to begin with
    assert crop.of(at(305, 195), "a") == first
    assert crop.of(at(300, 200, 0.9), "a") == first
    assert crop.count == 0
    assert crop.of(at(340, 200), "a") == crop_around(at(340, 200), HMDB51_RECIPE)  # out of it
    assert crop.of(at(340, 200, 0.5), "a") == crop_around(
        at(340, 200, 0.5), HMDB51_RECIPE
    )  # too small
    assert crop.count == 2
    assert crop.of(at(340, 200, 0.5), "b") == crop_around(at(340, 200, 0.5), HMDB51_RECIPE)
    assert crop.count == 3  # somebody else


def test_nobody_and_absent_joints() -> None:
    crop = SteadyCrop(0, HMDB51_RECIPE)
    assert crop.of(np.zeros((1, 48, 17, 2)), "a") is None
    assert crop.of(at(300, 200, 0.01), "a") is None  # less than ten pixels
    some = at(300, 200)
    some[:, ::2] = 0  # not there half of the time
    found = crop.of(some, "a")
    assert found is not None
    assert crop.of(some, "a") == found
    assert crop.of(np.sign(BODY) * np.float32(3e38), "a") is None


@given(
    st.lists(st.tuples(st.floats(-500, 500), st.floats(-500, 500), st.floats(0.2, 3)), max_size=12)
)
def test_all_that_is_drawn_is_in_the_crop(places: list[tuple[float, float, float]]) -> None:
    crop = SteadyCrop(0, HMDB51_RECIPE)
    numbers: dict[int, Any] = {}
    for x, y, scale in places:
        poses = at(x, y, scale)
        found = crop.of(poses, None)
        if found is None:
            continue
        left, top, right, bottom = found
        assert numbers.setdefault(crop.count, found) == found  # a number is one crop's
        assert poses[..., 0].min() >= left
        assert poses[..., 1].min() >= top
        assert poses[..., 0].max() <= right + 1
        assert poses[..., 1].max() <= bottom + 1
