"""Heatmaps, bit for bit: against the recorded hashes and against a plain drawing loop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.constants import REFERENCES, Reference
from engine.base.errors import SampleError
from engine.skeletons import heatmaps
from engine.skeletons.clips import preprocess
from engine.skeletons.heatmaps import center_crop, compact, draw, flip, resize
from engine.skeletons.poses import PoseSequence
from engine.skeletons.sampling import clip_plan
from engine.sources.annotations import read_annotations

EXPECTED: dict[Reference, str] = {"0.24.1": "expected", "1.x": "expected_v1"}


def exact_exp() -> bool:
    """Whether numpy's float32 exp is the one that the hashes were made with (AVX2 or better)."""
    features = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
    return bool(features.get("AVX2") and features.get("FMA3"))


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("index", range(20))
def test_recorded_tensors(golden: Path, index: int, reference: Reference) -> None:
    annotation = read_annotations(golden / "annotations.pkl").annotations[index]
    tensor = preprocess(annotation, reference)
    assert tensor.shape == (20, 17, 48, 56, 56)
    assert tensor.dtype == np.float32
    name = EXPECTED[reference]
    if exact_exp():
        expected = json.loads((golden / f"{name}.json").read_text())["samples"][index]
        assert hashlib.sha256(tensor.tobytes()).hexdigest() == expected["sha256"]
    with np.load(golden / f"{name}.npz") as arrays:
        places = arrays[f"{index:02d}/sample_index"]
        np.testing.assert_allclose(
            tensor.reshape(-1)[places], arrays[f"{index:02d}/sample_value"], rtol=1e-6
        )


@pytest.mark.parametrize("index", range(20))
def test_recorded_coordinates(golden: Path, index: int) -> None:
    annotation = read_annotations(golden / "annotations.pkl").annotations[index]
    poses = PoseSequence.from_annotation(annotation)
    unique = clip_plan(poses.total_frames).unique
    keypoint = poses.keypoint[:, unique].astype(np.float32)
    with np.load(golden / "expected.npz") as arrays:
        keypoint, shape = compact(keypoint, poses.img_shape)
        np.testing.assert_array_equal(keypoint, arrays[f"{index:02d}/keypoint_compact"])
        keypoint, shape = resize(keypoint, shape)
        np.testing.assert_array_equal(keypoint, arrays[f"{index:02d}/keypoint_resize"])
        np.testing.assert_array_equal(
            center_crop(keypoint, shape), arrays[f"{index:02d}/keypoint_crop"]
        )


def plain_draw(centres: np.ndarray[Any, Any], score: np.ndarray[Any, Any]) -> Any:
    """GeneratePoseTarget with one Python loop an axis, in the reference's types."""
    persons, frames, joints, _ = centres.shape
    canvas = np.zeros((frames, joints, 56, 56), np.float32)
    reach = 3 * 0.6
    for p, u, j in np.ndindex(persons, frames, joints):
        mx, my = centres[p, u, j]
        v = score[p, u, j]
        if float(v) < 1e-4:
            continue
        for y in range(max(int(my - reach), 0), min(int(my + reach) + 1, 56)):
            for x in range(max(int(mx - reach), 0), min(int(mx + reach) + 1, 56)):
                dx = np.float32(x) - np.float32(mx)
                dy = np.float32(y) - np.float32(my)
                e = np.float32(dx * dx) + np.float32(dy * dy)
                g = np.exp(np.array([-e / np.float32(2) / np.float32(0.36)], np.float32))[0]
                canvas[u, j, y, x] = max(canvas[u, j, y, x], np.float32(g * v))
    return canvas


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), persons=st.integers(0, 3), frames=st.integers(1, 3))
def test_plain_drawing(seed: int, persons: int, frames: int) -> None:
    rng = np.random.default_rng(seed)
    # Most joints inside, some at and beyond every border, some exactly on a pixel.
    centres = rng.uniform(-6, 62, (persons, frames, 17, 2))
    centres = np.where(rng.random(centres.shape) < 0.2, np.round(centres), centres)
    score = rng.choice([0, 5e-5, 1e-4, 0.5, 1.7, -1], (persons, frames, 17)).astype(np.float32)
    found = draw(centres, score)
    assert found.flawed() is None
    np.testing.assert_array_equal(found.dense(), plain_draw(centres, score))


def test_a_crowd_is_drawn_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, 56, (40, 7, 17, 2))
    score = rng.uniform(0, 1, (40, 7, 17)).astype(np.float32)
    at_once = draw(centres, score)
    monkeypatch.setattr(heatmaps, "_JOINTS_AT_ONCE", 2000)  # two frames and a bit
    pieces = draw(centres, score)
    for name in ("starts", "cells", "values"):
        np.testing.assert_array_equal(getattr(pieces, name), getattr(at_once, name))


def test_order_of_persons_does_not_matter(make_annotation: Any) -> None:
    annotation = make_annotation(persons=4, seed=3)
    swapped = {key: annotation[key][::-1] for key in ("keypoint", "keypoint_score")}
    np.testing.assert_array_equal(preprocess(annotation), preprocess({**annotation, **swapped}))


@pytest.mark.parametrize("frames", [1, 2, 9, 10, 47, 48, 49, 95, 96, 97, 1000])
@pytest.mark.parametrize("shape", [(240, 320), (320, 240)])
def test_every_length(make_annotation: Any, frames: int, shape: tuple[int, int]) -> None:
    tensor = preprocess(make_annotation(frames, persons=2, img_shape=shape))
    assert np.isfinite(tensor).all()
    assert 0 < (tensor != 0).mean() < 0.1
    assert (tensor.reshape(20, -1) != 0).any(axis=1).all()


def test_nobody(make_annotation: Any) -> None:
    assert not preprocess(make_annotation(30, persons=0)).any()
    empty = make_annotation(30)
    empty["keypoint"] *= 0
    empty["keypoint_score"] *= 0
    assert not preprocess(empty).any()


def test_missing_is_zero_or_nan(make_annotation: Any) -> None:
    absent = make_annotation(30)
    absent["keypoint"] = absent["keypoint"].astype(np.float32)
    absent["keypoint"][0, 5:9, 3] = 0
    unknown = {**absent, "keypoint": absent["keypoint"].copy()}
    unknown["keypoint"][0, 5:9, 3] = np.nan
    np.testing.assert_array_equal(preprocess(absent), preprocess(unknown))


def test_flip() -> None:
    centres = np.arange(34, dtype=np.float64).reshape(1, 1, 17, 2)
    flipped = flip(centres)[0, 0]
    assert flipped[0].tolist() == [0, 1]  # x of exactly zero stays
    assert flipped[1].tolist() == [56 - 4, 5]  # the right eye becomes the left one
    assert flipped[16].tolist() == [56 - 30, 31]
    assert centres[0, 0, 1, 0] == 2


def test_a_1x_flip_is_the_mirror_image(make_annotation: Any) -> None:
    tensor = preprocess(make_annotation(60), "1.x")
    twin = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    np.testing.assert_array_equal(tensor[10:], tensor[:10, twin, ..., ::-1])


@pytest.mark.parametrize("value", [3.0e38, -3.0e38])
def test_no_box_fits(make_annotation: Any, value: float) -> None:
    annotation: Mapping[str, Any] = make_annotation(30)
    keypoint = annotation["keypoint"].astype(np.float64)
    keypoint[0, 0, 0] = value
    keypoint[0, 0, 1] = -value
    with pytest.raises(SampleError, match="no box fits"):
        preprocess({**annotation, "keypoint": keypoint})


def test_huge_but_finite_coordinates(make_annotation: Any) -> None:
    annotation = make_annotation(30)
    keypoint = annotation["keypoint"].astype(np.float64)
    keypoint[0, 0, 0] = 1e30
    assert np.isfinite(preprocess({**annotation, "keypoint": keypoint})).all()
