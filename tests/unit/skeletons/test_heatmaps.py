"""Heatmaps, bit for bit: against the recorded hashes and what must not matter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.constants import REFERENCES, Reference
from engine.base.errors import SampleError
from engine.base.recipe import HMDB51_RECIPE
from engine.preprocessing import preprocess
from engine.skeletons.heatmaps import center_crop, compact, flip, resize
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
    unique = clip_plan(poses.total_frames, HMDB51_RECIPE).unique
    keypoint = poses.keypoint[:, unique].astype(np.float32)
    with np.load(golden / "expected.npz") as arrays:
        keypoint, shape = compact(keypoint, poses.img_shape, HMDB51_RECIPE)
        np.testing.assert_array_equal(keypoint, arrays[f"{index:02d}/keypoint_compact"])
        keypoint, shape = resize(keypoint, shape, HMDB51_RECIPE)
        np.testing.assert_array_equal(keypoint, arrays[f"{index:02d}/keypoint_resize"])
        cropped = center_crop(keypoint.astype(np.float64), shape, HMDB51_RECIPE)
        np.testing.assert_array_equal(cropped, arrays[f"{index:02d}/keypoint_crop"])


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
    flipped = flip(centres, HMDB51_RECIPE)[0, 0]
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
