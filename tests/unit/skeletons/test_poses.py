"""What an annotation may look like, and what is said of one that does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.errors import SampleError
from engine.skeletons.poses import PoseSequence
from tests.support.samples import walking


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i4"])
def test_dtypes(make_annotation: Any, dtype: str) -> None:
    annotation = make_annotation()
    annotation["keypoint"] = annotation["keypoint"].astype(dtype)
    poses = PoseSequence.from_annotation(annotation)
    assert poses.keypoint.shape == (1, 20, 17, 2)
    assert poses.total_frames == 20


def test_optional_fields(make_annotation: Any) -> None:
    annotation = make_annotation()
    del annotation["keypoint_score"], annotation["total_frames"]
    annotation["img_shape"] = np.array([240, 320])
    poses = PoseSequence.from_annotation(annotation)
    assert poses.keypoint_score is None
    assert poses.total_frames == 20
    assert poses.img_shape == (240, 320)


def test_what_programs_hold(make_annotation: Any) -> None:
    """Coordinates in a row, nested lists, and numbers in lists and arrays of one."""
    annotation = make_annotation()
    plain = PoseSequence.from_annotation(annotation)
    for changed in (
        {"keypoint": annotation["keypoint"].reshape(1, 20, 34)},
        {"keypoint": annotation["keypoint"].tolist()},
        {"keypoint_score": annotation["keypoint_score"] > 0},
        {"img_shape": [240.0, np.float32(320)], "total_frames": np.array([20])},
        {"img_shape": np.array([[240], [320]]), "total_frames": [20.0]},
    ):
        poses = PoseSequence.from_annotation({**annotation, **changed})
        np.testing.assert_array_equal(poses.keypoint, plain.keypoint)
        assert (poses.img_shape, poses.total_frames) == (plain.img_shape, 20)


@given(st.integers(1, 3), st.floats(40, 300), st.integers(0, 999))
def test_coordinates_in_a_row(persons: int, size: float, seed: int) -> None:
    """x and y of a joint one after the other; every x before every y is refused."""
    keypoint = walking(persons, 12, size, seed)
    flat = {"keypoint": keypoint.reshape(persons, 12, 34), "img_shape": (480, 640)}
    np.testing.assert_array_equal(PoseSequence.from_annotation(flat).keypoint, keypoint)
    apart = np.moveaxis(keypoint, -1, -2).reshape(persons, 12, 34)
    with pytest.raises(SampleError, match="every x before every y"):
        PoseSequence.from_annotation({**flat, "keypoint": apart})


def _with(field: str, value: Any) -> Any:
    return lambda a: {**a, field: value}


def _without(field: str) -> Any:
    return lambda a: {k: v for k, v in a.items() if k != field}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("keypoint"), "keypoint is missing"),
        (_without("img_shape"), "img_shape .* is missing"),
        (_with("keypoint", np.zeros((20, 17, 2))), r"shape \(20, 17, 2\)"),
        (_with("keypoint", np.zeros((1, 20, 17, 3))), "scores go into keypoint_score"),
        (_with("keypoint", np.zeros((1, 20, 25, 2))), "25 joints"),
        (_with("keypoint", np.zeros((1, 0, 17, 2))), "keypoint_score has shape"),
        (
            lambda a: {**a, "keypoint": np.zeros((1, 0, 17, 2)), "keypoint_score": None},
            "keypoint holds no frames",
        ),
        (_with("keypoint", np.full((1, 20, 17, 2), "a")), "dtype <U1"),
        (_with("keypoint", np.full((1, 20, 17, 2), None)), "dtype object"),
        (_with("keypoint", [[1, 2], [3]]), "not a regular array"),
        (_with("keypoint", "text"), "dtype <U4"),
        (_with("keypoint", np.full((1, 20, 17, 2), np.inf)), "infinite"),
        (_with("keypoint", np.full((1, 20, 17, 2), 1e300)), "infinite"),
        (_with("keypoint_score", np.ones((1, 20, 18))), "keypoint_score has shape"),
        (_with("keypoint_score", np.full((1, 20, 17), np.nan)), "NaN"),
        (_with("total_frames", 0), "total_frames is 0"),
        (_with("total_frames", 21), "total_frames is 21"),
        (_with("total_frames", "20 frames"), "expected a whole number"),
        (_with("total_frames", True), "expected a whole number"),
        (_with("img_shape", (240, 320, 3)), r"expected \(height, width\)"),
        (_with("img_shape", 240), r"expected \(height, width\)"),
        (_with("img_shape", (0, 320)), "must be positive"),
        (_with("img_shape", (240.5, 320)), "whole number"),
    ],
)
def test_refused(make_annotation: Any, change: Any, message: str) -> None:
    with pytest.raises(SampleError, match=message) as caught:
        PoseSequence.from_annotation(change(make_annotation()))
    assert caught.value.stage == "decode"
