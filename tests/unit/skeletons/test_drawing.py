"""Drawing, bit for bit: against plain loops in the types of the references."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.recipe import COCO_TWINS, HMDB51_RECIPE, Coordinates, Limb, Recipe
from engine.skeletons import drawing
from engine.skeletons.drawing import draw
from engine.skeletons.heatmaps import Joints, render

LIMBS: tuple[Limb, ...] = ((0, 5), (5, 7), (7, 9), (6, 8), (8, 6), (11, 12), (16, 14))
BOTH: tuple[Coordinates, ...] = ("float64", "float32")
# Around the threshold; 1e-4 itself is a little less in float32, and is not drawn.
SCORES = np.float32([0, 5e-5, 1e-4, np.nextafter(np.float32(1e-4), np.float32(1)), 0.5, 1.7, -1])


def plain_draw(centres: np.ndarray[Any, Any], score: np.ndarray[Any, Any], recipe: Recipe) -> Any:
    """GeneratePoseTarget with one Python loop an axis, in the reference's types."""
    persons, frames, joints, _ = centres.shape
    size, variance = recipe.size, np.float32(recipe.sigma**2)
    canvas = np.zeros((frames, joints, size, size), np.float32)
    reach = 3 * recipe.sigma
    for p, u, j in np.ndindex(persons, frames, joints):
        mx, my = centres[p, u, j]
        v = score[p, u, j]
        if float(v) < recipe.threshold:
            continue
        for y in range(max(int(my - reach), 0), min(int(my + reach) + 1, size)):
            for x in range(max(int(mx - reach), 0), min(int(mx + reach) + 1, size)):
                dx = np.float32(x) - np.float32(mx)
                dy = np.float32(y) - np.float32(my)
                e = np.float32(dx * dx) + np.float32(dy * dy)
                g = np.exp(np.array([-e / np.float32(2) / variance], np.float32))[0]
                canvas[u, j, y, x] = max(canvas[u, j, y, x], np.float32(g * v))
    return canvas


def plain_limbs(centres: np.ndarray[Any, Any], score: np.ndarray[Any, Any], recipe: Recipe) -> Any:
    """The same for limbs: a loop over frames, limbs and persons, each drawn into its own box."""
    assert recipe.limbs is not None
    persons, frames = score.shape[:2]
    size, reach, kind = recipe.size, 3 * recipe.sigma, np.dtype(recipe.precision).type
    canvas = np.zeros((frames, len(recipe.limbs), size, size), np.float32)
    for u, (channel, (one, other)), p in (
        (u, limb, p)
        for u in range(frames)
        for limb in enumerate(recipe.limbs)
        for p in range(persons)
    ):
        start, end = centres[p, u, one], centres[p, u, other]
        value = min(score[p, u, one], score[p, u, other])
        if float(value) < recipe.threshold:
            continue
        left, top = (max(int(min(pair) - reach), 0) for pair in zip(start, end, strict=True))
        right, bottom = (
            min(int(max(pair) + reach) + 1, size) for pair in zip(start, end, strict=True)
        )
        if left >= right or top >= bottom:
            continue
        across, down = (np.float64(kind(a) - kind(b)) for a, b in zip(start, end, strict=True))
        length = across**2 + down**2
        if length < 1:
            dot = plain_draw(start[None, None, None], score[p, u, one][None, None, None], recipe)
            canvas[u, channel] = np.maximum(canvas[u, channel], dot[0, 0])
            continue
        x = np.arange(left, right, dtype=np.float32)
        y = np.arange(top, bottom, dtype=np.float32)[:, None]
        to_start = (x - np.float32(start[0])) ** 2 + (y - np.float32(start[1])) ** 2
        to_end = (x - np.float32(end[0])) ** 2 + (y - np.float32(end[1])) ** 2
        share = (to_start - to_end + np.float32(length)) / np.float32(2) / np.float32(length)
        ahead = end.astype(kind) - start.astype(kind)
        off_x = x - (kind(start[0]) + share * ahead[0])
        off_y = y - (kind(start[1]) + share * ahead[1])
        assert off_x.dtype == kind
        first, last = share <= 0, share >= 1
        between = 1 - first.astype(int) - last
        square = first * to_start + last * to_end + between * (off_x**2 + off_y**2)
        assert square.dtype == np.float64
        patch = np.exp(-square / 2 / recipe.sigma**2) * np.float64(value)
        box = canvas[u, channel, top:bottom, left:right]
        box[:] = np.maximum(box, patch)
    return canvas


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    persons=st.integers(0, 3),
    frames=st.integers(1, 3),
    recipe=st.sampled_from([HMDB51_RECIPE, HMDB51_RECIPE, Recipe(size=64, sigma=1.1)]),
)
def test_plain_drawing(seed: int, persons: int, frames: int, recipe: Recipe) -> None:
    rng = np.random.default_rng(seed)
    # Most joints inside, some at and beyond every border, some exactly on a pixel.
    centres = rng.uniform(-6, recipe.size + 6, (persons, frames, 17, 2))
    centres = np.where(rng.random(centres.shape) < 0.2, np.round(centres), centres)
    score = rng.choice([0, 5e-5, 1e-4, 0.5, 1.7, -1], (persons, frames, 17)).astype(np.float32)
    found = draw(centres, score, recipe)
    assert found.flawed() is None
    np.testing.assert_array_equal(found.dense(), plain_draw(centres, score, recipe))


@pytest.mark.parametrize("precision", BOTH)
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    persons=st.integers(0, 3),
    frames=st.integers(1, 3),
    size=st.sampled_from([8, 56, 64]),
    sigma=st.sampled_from([0.6, 0.6, 1.3]),
    threshold=st.sampled_from([1e-4, 1e-3, 0.0]),
)
def test_plain_drawing_of_limbs(
    precision: Coordinates,
    seed: int,
    persons: int,
    frames: int,
    size: int,
    sigma: float,
    threshold: float,
) -> None:
    recipe = Recipe(
        **{"size": size, "sigma": sigma, "threshold": threshold, "precision": precision},
        limbs=LIMBS,
        flip=None,
    )
    rng = np.random.default_rng(seed)
    centres = limbs_of_every_kind(rng, persons, frames, size)
    if precision == "float32":  # as joints are placed
        centres = centres.astype(np.float32).astype(np.float64)
    score = rng.choice([*SCORES, *rng.uniform(0, 1, 7)], (persons, frames, 17)).astype(np.float32)
    found = draw(centres, score, recipe)
    assert found.flawed() is None
    np.testing.assert_array_equal(found.dense(), plain_limbs(centres, score, recipe))


def limbs_of_every_kind(rng: np.random.Generator, persons: int, frames: int, size: int) -> Any:
    """Ends of limbs, inside and up to far outside, some on a pixel; some limbs shorter than a
    pixel or hardly longer, of no length, of exactly one, upright or level."""
    shape = (persons, frames, 17, 2)
    centres = rng.uniform(-6, size + 6, shape)
    centres = np.where(rng.random(shape) < 0.2, np.round(centres), centres)
    centres = np.where(rng.random(shape) < 0.05, rng.uniform(-99, 2 * size + 99, shape), centres)
    centres = np.where(rng.random(shape) < 0.05, 0, centres)  # where the absent are
    exact = np.array([(0, 0), (1, 0), (0, 1), (0.6, 0.8), (-1, 0), (0, 0.5)])
    for one, other in LIMBS[:5]:  # each end of a later limb may move with an earlier one
        near = rng.uniform(-0.8, 0.8, (persons, frames, 2))
        chosen = exact[rng.integers(0, len(exact), (persons, frames))]
        near = np.where(rng.random((persons, frames, 1)) < 0.5, near, chosen)
        moved = rng.random((persons, frames, 1)) < 0.4
        centres[:, :, other] = np.where(moved, centres[:, :, one] + near, centres[:, :, other])
    level = rng.random((persons, frames, 1)) < 0.3
    level = level & (rng.integers(0, 2, (persons, frames, 1)) == np.arange(2))
    centres[:, :, 12] = np.where(level, centres[:, :, 11], centres[:, :, 12])
    return centres


@pytest.mark.parametrize("precision", BOTH)
def test_kinds_of_limbs_one_by_one(precision: Coordinates) -> None:
    """That the plain loop has each of them, and what comes out where it can be said."""
    recipe = Recipe(joints=2, limbs=((0, 1),), flip=None, precision=precision)

    def drawn(start: Any, end: Any, one: float = 1, other: float = 1) -> Any:
        centres = np.array([[[start, end]]], np.float32).astype(np.float64)
        score = np.array([[[one, other]]], np.float32)
        found = draw(centres, score, recipe).dense()
        np.testing.assert_array_equal(found, plain_limbs(centres, score, recipe))
        return found[0, 0]

    level = drawn((10, 20), (30, 20))
    assert (level[20, 10:31] == 1).all()
    np.testing.assert_array_equal(level[19], level[21])
    assert np.flatnonzero(level.any(axis=0)).tolist() == list(range(8, 32))
    np.testing.assert_array_equal(drawn((20, 10), (20, 30)), level.T)
    # The lower score of a line, the first of a dot.
    assert drawn((10, 20), (30, 20), 0.5, 0.25).max() == 0.25
    assert drawn((10, 20), (30, 20), 0.25, 0.5).max() == 0.25
    assert drawn((10, 20), (10, 20.5), 0.5, 0.25).max() == 0.5
    assert np.flatnonzero(drawn((10, 20), (10.5, 20)).any(axis=0)).tolist() == [8, 9, 10, 11]
    assert np.flatnonzero(drawn((10, 20), (11, 20)).any(axis=0)).tolist() == [8, 9, 10, 11, 12]
    # An end that is not seen, or both: nothing. Both ends outside, the middle inside: a line.
    assert not drawn((10, 20), (30, 20), 1, 5e-5).any()
    assert not drawn((10, 20), (30, 20), 0, 1).any()
    assert not drawn((-30, 10), (-5, 50)).any()
    assert (drawn((-20, 32), (90, 32))[32] == 1).all()


@pytest.mark.parametrize("limbs", [None, LIMBS])
def test_a_crowd_is_drawn_piece_by_piece(
    limbs: tuple[Limb, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(HMDB51_RECIPE, limbs=limbs)
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, 56, (40, 7, 17, 2))
    score = rng.uniform(0, 1, (40, 7, 17)).astype(np.float32)
    at_once = draw(centres, score, recipe)
    for name, value in (
        ("_JOINTS_AT_ONCE", 120 * recipe.channels),  # two frames and a bit
        ("_CELLS_AT_ONCE", 120 * recipe.cells // 4),
        ("_JOINTS_AT_ONCE", 1),
    ):
        monkeypatch.setattr(drawing, name, value)
        pieces = draw(centres, score, recipe)
        for part in ("starts", "cells", "values"):
            np.testing.assert_array_equal(getattr(pieces, part), getattr(at_once, part))


def test_order_of_persons_and_of_ends() -> None:
    """That of persons does not matter; that of ends only for dots."""
    recipe = Recipe(limbs=LIMBS, flip=None)
    rng = np.random.default_rng(1)
    centres = rng.uniform(0, 56, (4, 2, 17, 2))
    score = rng.uniform(0, 1, (4, 2, 17)).astype(np.float32)
    found = draw(centres, score, recipe).dense()
    np.testing.assert_array_equal(draw(centres[::-1], score[::-1], recipe).dense(), found)
    turned = replace(recipe, limbs=tuple((b, a) for a, b in LIMBS))
    np.testing.assert_allclose(draw(centres, score, turned).dense(), found, atol=1e-5)


def test_a_limb_has_the_channel_of_its_twin_when_flipped() -> None:
    """Where coordinates are flipped, a limb runs between the twins of its joints."""
    recipe = Recipe(limbs=LIMBS)
    centres = np.random.default_rng(2).uniform(5, 50, (1, 1, 17, 2))
    score = np.ones((1, 1, 17), np.float32)
    found = render(Joints(centres, score), recipe).dense()
    twins = replace(recipe, limbs=tuple((COCO_TWINS[a], COCO_TWINS[b]) for a, b in LIMBS))
    mirrored = centres.copy()
    mirrored[..., 0] = 56 - mirrored[..., 0]
    np.testing.assert_array_equal(found[1], draw(mirrored, score, twins).dense()[0])
