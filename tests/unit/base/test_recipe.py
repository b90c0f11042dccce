"""Recipes: what follows from their values, what is refused, and how they travel."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base import constants
from engine.base.errors import ModelError, WireError
from engine.base.recipe import COCO_TWINS, HMDB51_RECIPE, Recipe, exchanged
from engine.runtime.transport import wire
from engine.runtime.transport.messages import Welcome, WorkerSettings
from engine.runtime.transport.wire import Message
from engine.skeletons.clips import decode, sampled
from engine.skeletons.poses import PoseSequence

LIMBS = (
    *((0, 5), (0, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (11, 13), (13, 15)),
    *((6, 12), (12, 14), (14, 16), (0, 1), (0, 2), (1, 3), (2, 4), (11, 12)),
)
"""As published, with the limbs of the left and of the right side."""
LIMB_TWINS = exchanged(17, (0, 2, 3, 6, 7, 8, 12, 14), (1, 4, 5, 9, 10, 11, 13, 15))
TWO_LIMBS = Recipe(joints=3, limbs=((0, 1), (0, 2)), twins=(1, 0), flip="mirror")
RECIPES = {
    "HMDB51": HMDB51_RECIPE,
    "1.x": HMDB51_RECIPE.drawn_as("1.x"),
    "one view": HMDB51_RECIPE.one_view,
    "limbs": Recipe(limbs=LIMBS, size=64),
    "limbs of 1.x": Recipe(limbs=LIMBS, size=64).drawn_as("1.x"),
    "two limbs": TWO_LIMBS,
    "pyskl": Recipe(sampler="pyskl", fit="stretch", threshold=1e-3, most=10, flip="mirror"),
    "whole numbers": Recipe(padding=0, least_box=10, threshold=0, sigma=1),
    "extremes": Recipe(
        *(256, 256, 100, 2**32 - 1, "pyskl", 128, "stretch", 10.0, 1e6, 1.0, 10.0),
        **{"limbs": ((255, 0),) * 256, "flip": None, "twins": (), "most": 1000},
    ),
}
EACH = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


def poses(frames: int, joints: int = 17) -> PoseSequence:
    keypoint = np.random.default_rng(frames).uniform(20, 200, (2, frames, joints, 2))
    return PoseSequence(keypoint.astype(np.float32), None, (240, 320), frames)


# What follows


def test_the_default_is_hmdb51s() -> None:
    recipe = HMDB51_RECIPE
    assert recipe == Recipe()
    assert (recipe.joints, recipe.length, recipe.clips) == (17, 48, 10)
    assert (recipe.seed, recipe.size) == (constants.SEED, constants.SIZE)
    assert (recipe.padding, recipe.least_box) == (constants.BOX_PADDING, constants.BOX_THRESHOLD)
    assert (recipe.threshold, recipe.sigma) == (constants.SCORE_THRESHOLD, constants.SIGMA)
    assert (recipe.sampler, recipe.fit, recipe.flip) == ("mmaction2", "crop", "redraw")
    assert (recipe.limbs, recipe.precision, recipe.most) == (None, "float64", 0)
    assert recipe.channels == constants.JOINTS
    assert recipe.views == constants.VIEWS == 20
    assert recipe.frame_shape == (17, 56, 56)
    assert recipe.clip_shape == constants.CLIP_SHAPE == (17, 48, 56, 56)
    assert recipe.cells == 17 * 56 * 56 == 53_312
    assert recipe.cell_type == np.uint16
    assert recipe.reach == 3 * 0.6
    assert recipe.window == 5
    twins = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    assert recipe.twin.tolist() == list(recipe.twins) == list(COCO_TWINS) == twins
    assert exchanged(17, constants.LEFT_JOINTS, constants.RIGHT_JOINTS) == COCO_TWINS


def test_of_limbs_and_other_sizes() -> None:
    assert TWO_LIMBS.channels == 2
    assert TWO_LIMBS.frame_shape == (2, 56, 56)
    assert TWO_LIMBS.clip_shape == (2, 48, 56, 56)
    assert TWO_LIMBS.cells == 2 * 56 * 56
    assert Recipe(size=64).cells == 69_632
    assert Recipe(size=64).cell_type == np.uint32
    assert Recipe(joints=16, size=64, flip=None).cell_type == np.uint16  # 65,536: the last is 65535
    assert Recipe(clips=3).views == 6
    assert Recipe(clips=3, flip="mirror").views == 6
    assert Recipe(clips=3, flip=None).views == 3


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        HMDB51_RECIPE.size = 64  # type: ignore[misc]
    for array in (HMDB51_RECIPE.twin, HMDB51_RECIPE.mirrored):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize("recipe", [Recipe(size=9), Recipe(size=64), TWO_LIMBS])
def test_mirrored_cells(recipe: Recipe) -> None:
    """Each cell's twin: in the channel of the other side, in the column from the other end."""
    frame = np.random.default_rng(0).random(recipe.frame_shape)
    mirrored = frame.ravel()[recipe.mirrored].reshape(recipe.frame_shape)
    for channel, twin in enumerate(recipe.twins):
        np.testing.assert_array_equal(mirrored[channel], frame[twin][:, ::-1])
    assert recipe.mirrored.dtype == recipe.cell_type
    assert recipe.mirrored[recipe.mirrored].tolist() == list(range(recipe.cells))
    assert recipe.mirrored is replace(recipe).mirrored  # computed once


@given(st.floats(0.1, 10), st.floats(-50, 200))
def test_no_joint_touches_more_columns_than_the_window(sigma: float, centre: float) -> None:
    recipe = Recipe(sigma=sigma)
    first, last = max(int(centre - recipe.reach), 0), int(centre + recipe.reach) + 1
    assert last - first <= recipe.window


@pytest.mark.parametrize(
    ("count", "left", "right"), [(3, (0, 1), (2,)), (3, (0,), (3,)), (3, (-1,), (0,))]
)
def test_no_pairs(count: int, left: Any, right: Any) -> None:
    with pytest.raises(ModelError, match="are no pairs of 3"):
        exchanged(count, left, right)


def test_in_words() -> None:
    assert HMDB51_RECIPE.in_words == (
        "20 x joints 48x56x56, cropped, half of them flipped and drawn again, "
        "drawn as mmaction2 0.24.1"
    )
    assert RECIPES["limbs of 1.x"].in_words == (
        "20 x limbs 48x64x64, cropped, half of them mirrored, drawn as mmaction2 1.x"
    )
    assert RECIPES["pyskl"].one_view.in_words == (
        "1 x joints 48x56x56, stretched, none flipped, sampled as pyskl, drawn as mmaction2 0.24.1"
    )


# Other references


def test_the_other_reference() -> None:
    modern = HMDB51_RECIPE.drawn_as("1.x")
    assert modern == replace(HMDB51_RECIPE, flip="mirror", precision="float32")
    assert modern.drawn_as("1.x") == modern
    assert modern.drawn_as("0.24.1") == HMDB51_RECIPE
    assert HMDB51_RECIPE.drawn_as("0.24.1") == HMDB51_RECIPE
    for recipe in (HMDB51_RECIPE, modern):
        assert recipe.one_view.drawn_as("1.x").flip is None
        assert recipe.drawn_as("1.x").one_view == recipe.one_view.drawn_as("1.x")
        assert recipe.drawn_as("0.24.1").one_view == recipe.one_view.drawn_as("0.24.1")


def test_limbs_of_both_references() -> None:
    """0.24.1 exchanges joints and draws again, 1.x exchanges the limbs that it has drawn."""
    old = Recipe(limbs=LIMBS)
    modern = old.drawn_as("1.x")
    assert (old.flip, old.precision, old.twins) == ("redraw", "float64", COCO_TWINS)
    assert (modern.flip, modern.precision) == ("mirror", "float32")
    assert modern.twins == LIMB_TWINS
    assert modern.limbs == LIMBS
    for number, (one, other) in enumerate(LIMBS):
        twin = LIMBS[modern.twins[number]]
        assert {COCO_TWINS[one], COCO_TWINS[other]} == set(twin)
    assert modern.drawn_as("0.24.1") == old
    assert modern.drawn_as("1.x") == modern


def test_limbs_without_a_twin_are_their_own() -> None:
    """Those of few limbs, and one whose twin runs from the other end."""
    few = Recipe(limbs=((0, 5), (5, 7), (8, 6), (1, 2))).drawn_as("1.x")
    assert few.twins == (0, 2, 1, 3)
    assert few.channels == 4
    assert few.drawn_as("0.24.1").twins == COCO_TWINS


def test_one_view_of_mirrored_limbs() -> None:
    """The first clip alone. Twins, which nobody asks for then, may be of more than its channels."""
    recipe = Recipe(limbs=LIMBS, clips=2).drawn_as("1.x")
    one = recipe.one_view
    assert (one.clips, one.flip, one.views) == (1, None, 1)
    assert (one.limbs, one.precision, one.twins) == (LIMBS, "float32", LIMB_TWINS)
    assert one.one_view == one
    assert one.clip_shape == recipe.clip_shape
    assert Recipe.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert not sampled(poses(30), one).twins
    whole = decode(poses(30), recipe).tensor()
    assert whole.shape == (4, *recipe.clip_shape)
    assert whole[0].any()
    np.testing.assert_array_equal(decode(poses(30), one).tensor(), whole[:1])
    mirrored = whole[:2, list(LIMB_TWINS), ..., ::-1]
    np.testing.assert_array_equal(whole[2:], mirrored)
    few = TWO_LIMBS.one_view
    assert decode(poses(30, joints=3), few).tensor().shape == (1, *TWO_LIMBS.clip_shape)


# JSON


@EACH
def test_json_both_ways(recipe: Recipe) -> None:
    found = json.loads(json.dumps(recipe.to_json()))
    assert found == recipe.to_json() == orjson.loads(orjson.dumps(recipe))
    assert found.keys() == {field.name for field in fields(Recipe)}
    again = Recipe.from_json(found)
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.to_json() == found
    for name in ("limbs", "twins"):
        assert type(getattr(again, name)) is type(getattr(recipe, name))


def test_unknown_and_missing() -> None:
    found = HMDB51_RECIPE.to_json()
    with pytest.raises(ModelError, match="recipe: unknown hw_ratio, with_kp$"):
        Recipe.from_json({**found, "with_kp": True, "hw_ratio": 1.0})
    with pytest.raises(ModelError, match="recipe: unknown x") as caught:
        Recipe.from_json({**found, "x" * 9999: 1})
    assert len(str(caught.value)) <= 200
    for name in found:
        with pytest.raises(ModelError, match=f"recipe: {name} missing$"):
            Recipe.from_json({key: value for key, value in found.items() if key != name})
    with pytest.raises(ModelError, match="recipe: clips, fit, flip, .*, twins missing"):
        Recipe.from_json({})


NUMBERS: dict[str, tuple[float, float]] = {
    "joints": (0, 257),
    "length": (0, 257),
    "clips": (0, 101),
    "seed": (-1, 2**32),
    "size": (7, 129),
    "padding": (-0.1, 10.1),
    "least_box": (-1.0, 1.1e6),
    "threshold": (-1e-9, 1.1),
    "sigma": (0.09, 10.1),
    "most": (-1, 1001),
}
WHOLE = ("joints", "length", "clips", "seed", "size", "most")
ABSURD: list[tuple[str, Any]] = [
    *((name, value) for name, values in NUMBERS.items() for value in values),
    *((n, value) for n in NUMBERS for value in (math.nan, math.inf, -math.inf, -5, 1 << 70)),
    *((n, value) for n in NUMBERS for value in (True, "8", None, [8], {}, "x" * 999)),
    *((name, 9.0) for name in WHOLE),
    *(
        (name, value)
        for name in ("sampler", "fit", "flip", "precision")
        for value in ("", "none", 0, False, [], {}, ["crop"], "CROP", 1.5)
    ),
    *((name, None) for name in ("sampler", "fit", "precision")),
    *(
        ("limbs", value)
        for value in (
            *([], 5, "01", [5], [[0]], [[0, 1, 2]], [[0, "1"]], [[0, 1.0]], [[0, True]], [None]),
            *([[0, 17]], [[-1, 0]], [[0, 1 << 70]], [[0, 1]] * 257, {"a": 1}, False, 0),
        )
    ),
    *(
        ("twins", value)
        for value in (
            *(None, 5, "01", [], [0], list(range(16)), list(range(18)), [[0]] * 17, [0.0] * 17),
            *([True] * 17, [0] * 17, [*range(1, 17), 0], [*range(16), 17], [*range(16), -1], 0),
        )
    ),
]


@pytest.mark.parametrize(("name", "value"), ABSURD)
def test_absurd_values(name: str, value: Any) -> None:
    """Each is refused, by a short message that names the field, and never travels."""
    found = {**HMDB51_RECIPE.to_json(), name: value}
    with pytest.raises(ModelError, match=f"recipe: .*{name.removesuffix('s')}") as caught:
        Recipe.from_json(found)
    assert len(str(caught.value)) < 200
    about = {"name": "n", "settings": {"recipe": found, "wire": "frames"}}
    with pytest.raises(WireError, match="welcome"):
        Welcome.read(Message("welcome", about))


def test_twins_are_of_what_is_exchanged() -> None:
    """Of joints, where coordinates are flipped; of channels, where heatmaps are."""
    assert Recipe(limbs=((0, 1),)).twins == COCO_TWINS
    with pytest.raises(ModelError, match=r"twins \[0, 2.* do not pair 1$"):
        Recipe(limbs=((0, 1),), flip="mirror")
    with pytest.raises(ModelError, match="twins .* do not pair 17$"):
        Recipe(limbs=((0, 1),), twins=(0,))
    assert Recipe(limbs=((0, 1),), twins=(0,), flip="mirror").channels == 1
    assert Recipe(limbs=((0, 1),), twins=(0,), flip=None).channels == 1
    with pytest.raises(ModelError, match="do not pair"):
        Recipe(flip=None, twins=(1, 2, 0))


# Between processes


@EACH
def test_a_used_recipe_travels(recipe: Recipe) -> None:
    """What it has computed does not."""
    decode(poses(1, recipe.joints), recipe)
    settings = WorkerSettings(recipe, "frames")
    assert orjson.loads(orjson.dumps(settings)) == {"recipe": recipe.to_json(), "wire": "frames"}
    frames = [bytes(frame) for frame in wire.encode(Welcome("n", settings).write())]
    found = Welcome.read(wire.decode(frames))
    assert found == Welcome("n", settings)
    again = found.settings.recipe
    assert hash(again) == hash(recipe)  # so that what is cached by recipe is found
    assert again.to_json() == recipe.to_json()


def test_whole_numbers_of_json_become_what_they_stand_for() -> None:
    found = Recipe.from_json({**HMDB51_RECIPE.to_json(), "least_box": 10, "padding": 1})
    assert found == replace(HMDB51_RECIPE, padding=1.0)
    assert [type(value) for value in (found.least_box, found.padding)] == [float, float]
