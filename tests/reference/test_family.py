"""Inputs of every kind of published PoseC3D, bit for bit, as three reference programs draw them."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.recipe import COCO_TWINS, Recipe, exchanged
from engine.skeletons.clips import decode
from engine.skeletons.drawing import draw
from engine.skeletons.heatmaps import place
from engine.skeletons.poses import PoseSequence
from engine.skeletons.sampling import clip_plan
from tests.unit.skeletons.test_heatmaps import exact_exp

PUBLISHED = (
    *((0, 5), (0, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (11, 13), (13, 15)),
    *((6, 12), (12, 14), (14, 16), (0, 1), (0, 2), (1, 3), (2, 4), (11, 12)),
)
DEFAULT = (
    *((0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (5, 7), (7, 9), (0, 6), (6, 8), (8, 10)),
    *((5, 11), (11, 13), (13, 15), (6, 12), (12, 14), (14, 16), (11, 12)),
)
LEFT, RIGHT = (0, 2, 3, 6, 7, 8, 12, 14), (1, 4, 5, 9, 10, 11, 13, 15)
LEFT_D, RIGHT_D = (0, 2, 4, 5, 6, 10, 11, 12), (1, 3, 7, 8, 9, 13, 14, 15)
MODERN: dict[str, Any] = {"flip": "mirror", "precision": "float32"}
LIMBS: dict[str, Any] = {"limbs": PUBLISHED}
MIRRORED: dict[str, Any] = {**LIMBS, "twins": exchanged(17, LEFT, RIGHT)}
PYSKL: dict[str, Any] = {
    **MODERN,
    "sampler": "pyskl",
    "threshold": 1e-3,
    "fit": "stretch",
    "size": 64,
}

RECIPES: dict[tuple[str, str], Recipe] = {
    ("0.24.1", "ntu60_xsub_keypoint"): Recipe(size=64),
    ("0.24.1", "gym_keypoint"): Recipe(size=64),
    ("0.24.1", "ntu60_xsub_limb"): Recipe(size=64, **LIMBS),
    ("0.24.1", "gym_limb"): Recipe(size=64, **LIMBS),
    ("0.24.1", "ucf101"): Recipe(),
    ("1.2.0", "ntu60_xsub_keypoint"): Recipe(size=64, **MODERN),
    ("1.2.0", "gym_keypoint"): Recipe(size=64, **MODERN),
    ("1.2.0", "ntu60_xsub_limb"): Recipe(size=64, **MODERN, **MIRRORED),
    ("1.2.0", "gym_limb"): Recipe(size=64, **MODERN, **MIRRORED),
    ("1.2.0", "ucf101"): Recipe(**MODERN),
    ("1.2.0", "k400_keypoint"): Recipe(size=64, fit="stretch", most=10, **MODERN),
    ("pyskl", "pyskl_ntu60_joint"): Recipe(**PYSKL),
    ("pyskl", "pyskl_ntu60_limb"): Recipe(**PYSKL, **MIRRORED),
    ("pyskl", "pyskl_ntu120_xset_joint"): Recipe(
        **PYSKL, limbs=DEFAULT, twins=exchanged(17, LEFT_D, RIGHT_D)
    ),
    ("pyskl", "pyskl_hmdb51"): Recipe(**{**PYSKL, "size": 56}),
    ("pyskl", "pyskl_k400_limb"): Recipe(**PYSKL, **MIRRORED, most=10),
    ("pyskl", "pyskl_pose_only"): Recipe(
        **{**PYSKL, "flip": None, "length": 32, "clips": 1, "twins": COCO_TWINS}
    ),
}
REFERENCES = ("0.24.1", "1.2.0", "pyskl")
COUNTS = {"0.24.1": 70, "1.2.0": 84, "pyskl": 34}  # entries of all configurations
FIRST = 3  # samples of a configuration in every run


@cache
def configurations(family: Path, reference: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((family / f"inputs_{reference}.json").read_text())
    return found["configs"]


@pytest.fixture(scope="module")
def poses(shared: Path, family: Path, family_script: Any) -> dict[str, Any]:
    """Annotations by name, those of the compressed form of Kinetics-400 too."""
    known = family_script.annotations(family, shared / "data")
    return {**known, **family_script.k400_annotations(family, shared / "data")}


@pytest.mark.parametrize("reference", REFERENCES)
def test_every_configuration_has_a_recipe(family: Path, reference: str) -> None:
    configs = configurations(family, reference)
    assert set(configs) == {name for version, name in RECIPES if version == reference}
    assert sum(len(about["samples"]) for about in configs.values()) == COUNTS[reference]


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(slice(FIRST), id="first"),
        pytest.param(slice(FIRST, None), id="rest", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("reference", "config"), RECIPES)
def test_recorded_inputs(
    family: Path, poses: dict[str, Any], reference: str, config: str, part: slice
) -> None:
    recipe = RECIPES[reference, config]
    samples = configurations(family, reference)[config]["samples"][part]
    for sample in samples:
        assert ("frame_inds" in poses[sample["id"]]) == (recipe.most > 0)
    assert samples
    wrong = []
    with np.load(family / f"inputs_{reference}.npz") as arrays:
        for sample in samples:
            read = PoseSequence.from_annotation(poses[sample["id"]], recipe)
            tensor = decode(read, recipe).tensor()
            assert tensor.dtype == np.float32
            assert tensor.shape == (recipe.views, *recipe.clip_shape)
            assert list(tensor.shape) == sample["shape"]
            stored = f"{config}/{sample['id']}"
            plan = clip_plan(read.total_frames, recipe)
            if f"{stored}/frame_inds" in arrays:
                frames = plan.unique[plan.positions]
                np.testing.assert_array_equal(frames, arrays[f"{stored}/frame_inds"])
            if f"{stored}/keypoint" in arrays:  # as it enters the drawing
                entered = arrays[f"{stored}/keypoint"]
                centres = place(read, plan, recipe).centres.astype(entered.dtype)
                np.testing.assert_array_equal(centres, entered)
                np.testing.assert_array_equal(plan.unique, arrays[f"{stored}/unique_frames"])
            if f"{stored}/sample_index" in arrays:  # whatever processor this is
                found = tensor.reshape(-1)[arrays[f"{stored}/sample_index"]]
                expected = arrays[f"{stored}/sample_value"]
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-38)
            if hashlib.sha256(tensor).hexdigest() != sample["sha256"]:
                wrong.append(sample["id"])
    assert not wrong or not exact_exp(), wrong


@pytest.mark.parametrize(("reference", "precision"), [("0.24.1", "float64"), ("1.2.0", "float32")])
@pytest.mark.parametrize("persons", ["", "group_"], ids=["one", "three"])
def test_recorded_limbs(family: Path, reference: str, precision: Any, persons: str) -> None:
    """Short, upright, outside, around the threshold; and of three persons on one map."""
    recipe = Recipe(joints=2, size=64, limbs=((0, 1),), flip=None, precision=precision)
    with np.load(family / f"limbs_{reference}.npz") as arrays:
        start, end, one, other, expected = (
            arrays[persons + name] for name in ("start", "end", "start_value", "end_value", "map")
        )
    assert start.dtype == np.dtype(precision)
    centres, peaks = np.stack([start, end], axis=-2), np.stack([one, other], axis=-1)
    if persons:  # maps first, as recorded
        centres, peaks = centres.swapaxes(0, 1), peaks.swapaxes(0, 1)
    else:
        centres, peaks = centres[None], peaks[None]
    assert len(centres) == (3 if persons else 1)
    found = draw(centres.astype(np.float64), peaks, recipe)
    assert found.flawed() is None
    np.testing.assert_array_equal(found.dense()[:, 0], expected)
