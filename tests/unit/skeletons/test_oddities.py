"""What makes scores doubtful: said of the poses that it is true of, and of no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.skeletons.joints import LAYOUTS
from engine.skeletons.poses import PoseSequence
from tests.support.samples import BODY, walking

SHAPE = (480, 640)


def notes(keypoint: Any, score: Any = None, shape: tuple[int, int] = SHAPE) -> tuple[str, ...]:
    about = {"keypoint": keypoint, "keypoint_score": score, "img_shape": shape}
    return PoseSequence.from_annotation(about).notes


@given(st.integers(1, 3), st.integers(2, 30), st.floats(40, 300), st.integers(0, 999))
def test_people_who_stand_are_not_odd(persons: int, frames: int, size: float, seed: int) -> None:
    assert notes(walking(persons, frames, size, seed)) == ()


@pytest.mark.parametrize("away", [1e5, -1e6, 1e7])
def test_a_joint_many_pictures_away(away: float) -> None:
    keypoint, score = walking(), np.ones((1, 12, 17))
    keypoint[0, 3, 9] = away, 100
    assert notes(keypoint, score) == ("far",)
    score[0, 3, 9] = 0  # is not drawn
    assert notes(keypoint, score) == ()


def test_much_that_is_outside() -> None:
    keypoint = np.add(walking(picture=(1280, 960), seed=3), [600, 300])
    assert notes(keypoint) == ("outside",)
    assert notes(keypoint, shape=(960, 1280)) == ()


@given(st.integers(0, 999))
def test_upside_down(seed: int) -> None:
    keypoint = walking(2, 12, 120, seed)
    keypoint[..., 1] = 480 - keypoint[..., 1]
    assert notes(keypoint) == ("upside down",)
    half = walking(1, 12, 120, seed)
    half[:, 6:, :, 1] = 480 - half[:, 6:, :, 1]
    assert notes(half) == ()


@given(st.integers(0, 999))
def test_exchanged_axes(seed: int) -> None:
    keypoint = walking(1, 12, 120, seed, picture=(480, 480))
    assert notes(keypoint[..., ::-1]) == ("sideways",)


@given(st.integers(0, 999), st.sampled_from(["h36m", "kinect"]))
def test_joints_in_another_order(seed: int, kind: str) -> None:
    pelvis, spine, neck, top = (0.25, 0.52), (0.25, 0.36), (0.25, 0.16), (0.25, 0.02)
    if kind == "h36m":
        order: list[Any] = [pelvis, *BODY[[12, 14, 16, 11, 13, 15]], spine, neck, BODY[0], top]
        body = np.array([*order, *BODY[[5, 7, 9, 6, 8, 10]]])
    else:
        left, right = BODY[[5, 7, 9, 9]], BODY[[6, 8, 10, 10]]
        legs = [*BODY[[11, 13, 15, 15]], *BODY[[12, 14, 16, 16]]]
        kinect = np.array([pelvis, spine, neck, top, *left, *right, *legs, neck, *[BODY[9]] * 4])
        joints = np.concatenate([kinect, np.ones((25, 1))], axis=1).astype(np.float32)
        body = LAYOUTS["body25"].picked(joints)[:, :2]
    rng = np.random.default_rng(seed)
    keypoint = 100 + 200 * body[None, None] + rng.normal(0, 1, (1, 12, 17, 2))
    assert notes(keypoint) == ("order",)


FACE_LAST = [*range(5, 17), *range(5)]
BY_SIDE = [0, *range(1, 17, 2), *range(2, 17, 2)]


@given(st.integers(0, 999), st.sampled_from(["openpose18", "body25", FACE_LAST, BY_SIDE]))
def test_the_first_joints_of_another_order(seed: int, order: Any) -> None:
    keypoint = walking(2, 12, 200, seed)
    if isinstance(order, str):
        found = np.zeros((*keypoint.shape[:2], LAYOUTS[order].joints, 2))
        found[:, :, [1, 8]] = keypoint[:, :, [5, 11]]  # the neck, and of one the pelvis
        found[:, :, LAYOUTS[order].coco] = keypoint
        keypoint = found[:, :, :17]
    else:
        keypoint = keypoint[:, :, order]
    assert notes(keypoint) == ("order",)


def test_one_frame() -> None:
    assert notes(walking(2, 1)) == ("one frame",)


@pytest.mark.parametrize("place", [(-320, -240), (0, -40), (1, 1), (630, 470)])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_one_point_for_several_joints(place: tuple[float, float], share: float) -> None:
    keypoint = walking(2, 30)
    absent = np.random.default_rng(0).random(30) < share
    keypoint[1, absent, 7], keypoint[1, absent, 9] = place, place
    assert "one point" in notes(keypoint)
    keypoint = walking(2, 30)
    keypoint[1, :2, 7], keypoint[1, :2, 9] = place, place
    assert "one point" not in notes(keypoint)
    keypoint = walking(2, 30).round()
    keypoint[:] = keypoint[:, :1]  # nobody moves
    assert notes(keypoint) == ()


@given(st.integers(0, 999))
def test_upside_down_without_a_face(seed: int) -> None:
    keypoint = walking(2, 12, 120, seed)
    keypoint[..., 1] = 480 - keypoint[..., 1]
    keypoint[:, :, 1:5] = 0
    assert notes(keypoint) == ("upside down",)


def test_any_order_in_memory() -> None:
    assert notes(np.asfortranarray(walking(2))) == ()
