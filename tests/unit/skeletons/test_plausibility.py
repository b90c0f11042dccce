"""Whether numbers can be poses: units of coordinates and scores, and the order of axes."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.base.choices import COORDINATES
from engine.base.errors import SampleError
from engine.skeletons.plausibility import judged
from engine.skeletons.poses import PoseSequence
from tests.support.samples import walking

SHAPE = (480, 640)
SIDES = np.array([640, 480])
dtypes = st.sampled_from(["f2", "f4", "f8", ">f4"])


@given(
    persons=st.integers(1, 4),
    frames=st.integers(1, 20),
    size=st.floats(12, 300),
    seed=st.integers(0, 999),
    dtype=dtypes,
    scale=st.floats(1, 4),
)
def test_shares_of_the_picture_are_known_from_pixels(
    persons: int, frames: int, size: float, seed: int, dtype: str, scale: float
) -> None:
    pixels = walking(persons, frames, size, seed).astype(dtype)
    kept = judged(pixels, None, SHAPE, frames)
    assert kept.keypoint is pixels
    assert kept.notes == ()
    shares = (pixels.astype(np.float64) / SIDES).astype(dtype)
    taken = judged(shares, None, SHAPE, frames)
    assert taken.notes == ("normalised",)
    assert taken.keypoint.dtype == np.float32
    np.testing.assert_array_equal(taken.keypoint, (shares.astype("f8") * SIDES).astype("f4"))
    tolerance = 1.0 if dtype == "f2" else 1e-3
    np.testing.assert_allclose(taken.keypoint, pixels, atol=tolerance, rtol=2e-3)
    # whatever the picture's size is: it is what shares are of
    larger = judged(shares, None, (int(480 * scale), int(640 * scale)), frames)
    assert larger.notes == ("normalised",)


@given(st.integers(0, 999), st.sampled_from(["opencv", "videopose"]))
def test_from_minus_one_to_one_has_two_meanings(seed: int, form: str) -> None:
    pixels = walking(1, 12, 200, seed)
    pixels += SIDES / 2 - pixels.mean(axis=(0, 1, 2))
    centred = pixels / SIDES * 2 - 1
    if form == "videopose":
        centred[..., 1] *= 480 / 640
    with pytest.raises(SampleError, match="OpenPose.*VideoPose3D.*--coordinates pixels"):
        judged(centred, None, SHAPE, 12)
    assert judged(centred, None, SHAPE, 12, "pixels").keypoint is centred
    assert judged(centred, None, SHAPE, 12, "normalised").notes == ("normalised",)


def test_a_few_joints_may_be_anywhere() -> None:
    shares = walking(1, 40) / SIDES
    shares[0, :2, 3] = [-0.4, 1.3]  # beyond the picture
    shares[0, 7, :6] = [300, 200]  # a glitch
    shares[0, 9] = 0  # not there
    found = judged(shares, None, SHAPE, 40)
    assert found.notes == ("normalised",)
    assert not found.keypoint[0, 9].any()
    shares[0, 7, 0] = 3e38
    with pytest.raises(SampleError, match="beyond float32, as shares"):
        judged(shares, None, SHAPE, 40)


@pytest.mark.parametrize(
    "placeholder", [(0, 0), (-1, -1), (1, 1), (0.5, 0.5), (np.nan, np.nan), (-1, 0)]
)
def test_placeholders_are_no_shares(placeholder: tuple[float, float]) -> None:
    nobody = np.full((2, 9, 17, 2), placeholder, np.float32)
    found = judged(nobody, None, SHAPE, 9)
    if placeholder == (-1, -1):
        assert found.notes == ("absent", "empty")
        assert not found.keypoint.any()
        return
    assert found.keypoint is nobody
    absent = not np.nan_to_num(nobody).any()
    assert found.notes == (("empty",) if absent else ())


def test_what_is_said_counts() -> None:
    pixels, shares = walking(), walking() / SIDES
    assert judged(shares, None, SHAPE, 12, "pixels").keypoint is shares
    assert judged(shares, None, SHAPE, 12, "normalised").notes == ("normalised",)
    with pytest.raises(SampleError, match="no shares of the picture, as --coordinates normalised"):
        judged(pixels, None, SHAPE, 12, "normalised")


def test_pictures_of_a_few_pixels_have_people_in_their_corner() -> None:
    tiny = walking() / SIDES
    with pytest.raises(SampleError, match=r"img_shape is \(1, 1\): no picture has that size"):
        judged(tiny, None, (1, 1), 12)
    assert judged(tiny, None, (1, 1), 12, "pixels").keypoint is tiny
    assert judged(tiny, None, (16, 640), 12).notes == ()


@given(st.floats(0.5, 5), st.integers(0, 99))
def test_metres(size: float, seed: int) -> None:
    """Somebody of a few pixels, wherever they are; a picture may be as small."""
    metres = walking(size=size, seed=seed, picture=(12, 9))
    metres += 4 - metres.min()
    with pytest.raises(SampleError, match=r"at most .* pixels large .* \(metres\?\)"):
        judged(metres, None, SHAPE, 12)
    assert judged(metres, None, SHAPE, 12, "pixels").keypoint is metres
    assert judged(metres, None, (40, 40), 12).keypoint is metres


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2)])
def test_shares_of_their_own_extent(axes: tuple[int, ...]) -> None:
    points = walking(2, 12)
    low, high = points.min(axes, keepdims=True), points.max(axes, keepdims=True)
    shares = (points - low) / (high - low)
    with pytest.raises(SampleError, match="from just 0 to just 1 in x and in y"):
        judged(shares, None, SHAPE, 12)
    assert judged(shares, None, SHAPE, 12, "normalised").notes == ("normalised",)
    clipped = np.clip(2 * shares - 0.5, 0, 1)  # at the picture's borders
    clipped[0, 0] = shares[0, 0] / 2 + 0.2
    assert judged(clipped, None, SHAPE, 12).notes == ("normalised",)


def test_everybody_in_the_corner() -> None:
    with pytest.raises(SampleError, match="within 3 pixels of the picture's corner"):
        judged(1 + walking() / SIDES, None, SHAPE, 12)


SCORES: list[tuple[float, float, Any]] = [
    (0.0, 1.0, None),
    (-0.2, 1.4999, None),
    (0.0, 99.5, "percent"),
    (5.0, 100.0, "percent"),
    (0.0, 6.0, "keypoint_score has 0 to 6; expected 0 to 1"),
    (0.0, 2.0, "flags that say 2 for visible"),
    (0.0, 255.0, "to 255"),
    (-3.0, 80.0, "-3 to 80"),
]


@pytest.mark.parametrize(("low", "high", "result"), SCORES)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_scores(low: float, high: float, result: Any, dtype: str) -> None:
    pixels = walking()
    score = np.linspace(low, high, 12 * 17).reshape(1, 12, 17).astype(dtype)
    if result is None:
        assert judged(pixels, score, SHAPE, 12).score is score
    elif result == "percent":
        found = judged(pixels, score, SHAPE, 12)
        assert found.score is not None
        assert found.score.dtype == np.float32
        np.testing.assert_allclose(found.score, score / 100, rtol=1e-6)
        assert found.notes == ("percent",)
        assert found.keypoint is pixels
    else:
        with pytest.raises(SampleError, match=result):
            judged(pixels, score, SHAPE, 12)


def test_frames_that_are_not_used_say_nothing() -> None:
    pixels, score = walking(frames=12), np.ones((1, 12, 17))
    pixels[:, 6:], score[:, 6:] = 0.5, 77
    found = judged(pixels, score, SHAPE, 6)
    assert found.keypoint is pixels
    assert found.score is score


@pytest.mark.parametrize("unseen", ["zero", "nan", "score", "persons"])
def test_nobody(unseen: str) -> None:
    pixels, score = walking(2), np.ones((2, 12, 17), np.float32)
    if unseen == "zero":
        pixels[:] = 0
    elif unseen == "nan":
        pixels[..., 0] = np.nan
    elif unseen == "score":
        score[:] = 0.5e-4
    else:
        pixels, score = pixels[:0], score[:0]
    found = judged(pixels, score, SHAPE, 12)
    assert found.notes == ("empty",)
    assert found.keypoint is pixels
    assert found.score is score


@given(st.integers(1, 3), st.integers(5, 60), st.integers(0, 999), st.booleans())
def test_frames_first(persons: int, frames: int, seed: int, shares: bool) -> None:
    right = walking(persons, frames, 120, seed) / (SIDES if shares else 1)
    assert "normalised" in judged(right, None, SHAPE, frames).notes or not shares
    said = f"{frames} persons in {persons} frame.*persons, frames, joints, 2.*swapaxes"
    with pytest.raises(SampleError, match=said):
        judged(right.swapaxes(0, 1), None, SHAPE, persons)


@given(st.integers(4, 40), st.integers(1, 3), st.integers(0, 999))
def test_crowds_are_no_frames(persons: int, frames: int, seed: int) -> None:
    crowd = walking(persons, frames, 60, seed)
    if persons > frames:
        assert judged(crowd, None, SHAPE, frames).keypoint is crowd
    copies = np.repeat(crowd[:1], persons, axis=0)
    assert judged(copies, None, SHAPE, frames).keypoint is copies


wild = st.floats(width=32) | st.floats(-1.5, 1.5, width=32) | st.integers(-1, 3).map(float)


@given(
    arrays("f4", st.tuples(*[st.integers(0, 6)] * 2, st.just(17), st.just(2)), elements=wild),
    st.sampled_from(COORDINATES),
    st.booleans(),
)
def test_any_numbers_are_taken_or_refused(keypoint: Any, coordinates: Any, scored: bool) -> None:
    score = keypoint[..., 0] if scored else None
    about = {"keypoint": keypoint, "keypoint_score": score, "img_shape": SHAPE}
    with np.errstate(all="raise", under="ignore"), contextlib.suppress(SampleError):
        found = PoseSequence.from_annotation(about, coordinates=coordinates)
        assert found.keypoint.shape == keypoint.shape
        assert coordinates != "pixels" or found.keypoint is keypoint


def test_frames_first_by_total_frames() -> None:
    annotation = {"keypoint": walking().swapaxes(0, 1), "img_shape": SHAPE, "total_frames": 12}
    with pytest.raises(SampleError, match="12 persons in 1 frame, which seem to be frames"):
        PoseSequence.from_annotation(annotation)


def test_scores_of_absent_joints_may_be_nan() -> None:
    keypoint, score = walking(), np.ones((1, 12, 17), np.float16)
    keypoint[0, 3, 4] = score[0, 3, 4] = np.nan
    keypoint[0, 3, 5], score[0, 3, 5] = 0, np.nan
    annotation = {"keypoint": keypoint, "keypoint_score": score, "img_shape": SHAPE}
    found = PoseSequence.from_annotation(annotation)
    assert found.notes == ()
    assert found.keypoint_score is not None
    assert found.keypoint_score.dtype == np.float16
    assert found.keypoint_score[0, 3, 3:7].tolist() == [1, 0, 0, 1]
    score[0, 3, 6] = np.nan
    with pytest.raises(SampleError, match="NaN"):
        PoseSequence.from_annotation(annotation)


@given(st.integers(0, 999), st.sampled_from([-1.0, 9999.0, -100.0]), st.booleans())
def test_one_point_beyond_the_picture_is_no_joint(seed: int, away: float, scored: bool) -> None:
    pixels = walking(2, 12, 120, seed).astype(np.float32)
    absent = np.random.default_rng(seed).random(pixels.shape[:3]) < 0.2
    expected = np.where(absent[..., None], np.float32(0), pixels)
    marked = np.where(absent[..., None], np.float32(away), pixels)
    score = np.ones(pixels.shape[:3]) if scored else None
    found = judged(marked, score, SHAPE, 12)
    np.testing.assert_array_equal(found.keypoint, expected)
    assert found.notes == ("absent",)
    few = pixels.copy()
    few[0, 0, :2] = away  # two may be by chance
    assert judged(few, score, SHAPE, 12).keypoint is few


@given(st.integers(0, 999), st.sampled_from(["person", "frames", "x", "y"]))
def test_mixed_units(seed: int, mixed: str) -> None:
    pixels = walking(2, 12, 120, seed)
    shares = pixels / SIDES
    if mixed == "person":
        pixels[1] = shares[1]
        said = "shares of the picture for 12 of 24 people in frames"
    elif mixed == "frames":
        pixels[:, ::2] = shares[:, ::2]
        said = "shares of the picture for 12 of 24 people in frames"
    else:
        axis = "xy".index(mixed)
        pixels[..., axis] = shares[..., axis]
        said = f"{mixed} in shares of the picture and {'yx'[axis]} in pixels"
    with pytest.raises(SampleError, match=said):
        judged(pixels, None, SHAPE, 12)
    assert judged(pixels, None, SHAPE, 12, "pixels").keypoint is pixels


def test_percent_of_one_person_and_shares_of_another() -> None:
    pixels, score = walking(2), np.full((2, 12, 17), 90.0)
    score[1] = 0.9
    with pytest.raises(SampleError, match=r"percent, up to 90, .* scores up to 1 for 12 of 24"):
        judged(pixels, score, SHAPE, 12)


def test_what_is_masked_is_absent() -> None:
    pixels = walking().astype(np.float32)
    hidden = np.zeros(pixels.shape, bool)
    hidden[0, :, 9, 0] = True
    about = {"keypoint": np.ma.array(pixels, mask=hidden), "img_shape": SHAPE}
    found = PoseSequence.from_annotation(about).keypoint
    assert not found[0, :, 9].any()
    np.testing.assert_array_equal(np.delete(found, 9, axis=2), np.delete(pixels, 9, axis=2))


def test_scores_under_another_name_are_named() -> None:
    about = {"keypoint": walking(), "img_shape": SHAPE, "keypoint_scores": np.ones((1, 12, 17))}
    with pytest.raises(SampleError, match="keypoint_scores has scores; the field is called"):
        PoseSequence.from_annotation(about)
    about["keypoint_scores"] = 0.9  # of the box
    assert PoseSequence.from_annotation(about).keypoint_score is None


@given(st.integers(6, 60), st.integers(0, 99))
def test_frames_first_in_any_order(frames: int, seed: int) -> None:
    """Each frame's detections are in an order of its own."""
    right = walking(2, frames, 100, seed).swapaxes(0, 1)
    shuffled = np.random.default_rng(seed).permuted(np.tile([0, 1], (frames, 1)), axis=1)
    wrong = np.take_along_axis(right, shuffled[..., None, None], axis=1)
    with pytest.raises(SampleError, match=f"{frames} persons in 2 frames"):
        judged(wrong, None, SHAPE, 2)


@pytest.mark.parametrize(("dtype", "side"), [("u1", 640), ("i1", 200)])
def test_integers_that_wrap(dtype: str, side: int) -> None:
    about = {"keypoint": walking().astype(dtype), "img_shape": (side, side)}
    with pytest.raises(SampleError, match="which ends before the picture of"):
        PoseSequence.from_annotation(about)
    about["img_shape"] = (100, 100)
    assert PoseSequence.from_annotation(about).keypoint is about["keypoint"]


@pytest.mark.filterwarnings("error")
def test_half_floats_that_end_before_the_picture() -> None:
    about = {"keypoint": walking().astype(np.float16), "img_shape": (10**9, 10**9)}
    assert PoseSequence.from_annotation(about).keypoint.shape == walking().shape
