"""The demo: a generator that is deterministic, plausible and fair, and weights that work."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.constants import HMDB51
from engine.base.errors import DatasetError
from engine.skeletons.poses import PoseSequence
from engine.sources.dataset import open_dataset
from engine.sources.demo import generation
from engine.sources.demo.actions import ACTIONS
from engine.sources.demo.body import PARAMETERS, Body, points
from engine.sources.demo.generation import CLASSES, SPLITS, TEST_SAMPLES, _banded, sample
from engine.sources.demo.motion import NEUTRAL, Motion, mirrored

BONES = {  # of the right side; the left one is the same
    "upper_arm": (6, 8),
    "forearm": (8, 10),
    "thigh": (12, 14),
    "shin": (14, 16),
}


def test_the_classes_are_hmdb51s() -> None:
    assert len(CLASSES) == len(set(CLASSES)) >= 16
    assert set(CLASSES) <= set(HMDB51)
    assert TEST_SAMPLES >= 400
    assert TEST_SAMPLES % len(CLASSES) == 0


@pytest.mark.parametrize("split", SPLITS)
def test_samples_are_valid_and_depend_on_their_number_alone(split: str) -> None:
    found = {number: sample(split, number) for number in range(48)}
    for number in reversed(range(48)):
        annotation = found[number]
        again = sample(split, number)
        assert annotation["label"] == HMDB51.index(CLASSES[number % len(CLASSES)])
        np.testing.assert_array_equal(annotation["keypoint"], again["keypoint"])
        np.testing.assert_array_equal(annotation["keypoint_score"], again["keypoint_score"])
        poses = PoseSequence.from_annotation(annotation)
        assert 18 <= poses.total_frames <= 300
        height, width = poses.img_shape
        assert (poses.keypoint >= 0).all()
        assert (poses.keypoint <= (width, height)).all()
        seen = poses.keypoint[(poses.keypoint_score > 0.3)]
        assert np.ptp(seen[:, 1]) > 0.2 * height  # somebody is there


def test_the_data_are_the_same_everywhere() -> None:
    """The scores of the card belong to these samples: whole pixels of the first 24."""
    digest = hashlib.sha256()
    for number in range(24):
        annotation = sample("test1", number)
        # sines differ in the last bits between processors, so not every bit
        mean = annotation["keypoint"].astype(np.float64).mean(axis=(1, 2))
        digest.update(np.rint(mean).astype("<i4").tobytes())
        digest.update(str(annotation["total_frames"]).encode())
    assert digest.hexdigest()[:16] == DIGEST


DIGEST = "08683a5f23d034fc"


@given(st.integers(0, 10_000), st.floats(-50, 50), st.floats(0.1, 60), st.integers(1, 20))
def test_splits_never_share_a_band(seed: int, low: float, span: float, pairs: int) -> None:
    bands = 2 * pairs
    width = span / bands
    for split, own in SPLITS.items():
        value = _banded(low, low + span, bands, split, np.random.RandomState(seed))
        band = int((value - low) / width + 1e-9 * (1 if own else -1))
        assert low <= value <= low + span + 1e-9
        assert band % 2 == own or abs((value - low) / width - round((value - low) / width)) < 1e-6


@given(st.integers(0, 2**31 - 1))
def test_bones_keep_their_length_and_somebody_stands_on_the_ground(seed: int) -> None:
    rng = np.random.RandomState(seed)
    angles = {name: rng.uniform(-180, 180, 5) for name in PARAMETERS}
    angles["lift"], angles["ahead"] = np.zeros(5), np.zeros(5)
    body = Body(**{name: length * rng.uniform(0.8, 1.2) for name, length in vars(Body()).items()})
    placed = points(body, angles)
    for name, (a, b) in BONES.items():
        for offset in (0, 1):
            length = np.linalg.norm(placed[:, a - offset] - placed[:, b - offset], axis=1)
            np.testing.assert_allclose(length, getattr(body, name))
    np.testing.assert_allclose(placed[..., 2].min(axis=1), 0, atol=1e-12)


def test_a_standing_body_looks_ahead_with_its_right_on_the_right() -> None:
    still = {name: np.full(1, value) for name, value in NEUTRAL.items()}
    [placed] = points(Body(), still)
    assert 1.5 < placed[:, 2].max() < 1.8
    assert (placed[2::2, 0] > placed[1::2, 0]).all()  # right points (even numbers) are at +x
    assert placed[0, 1] > placed[3:5, 1].max()  # the nose before the ears
    raised = {**still, "right_raise": np.full(1, 90.0), "right_plane": np.full(1, 90.0)}
    [placed] = points(Body(), raised)
    assert placed[10, 0] > 0.6  # to the side


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: str(action.__name__))
def test_motions_pass_through_their_poses_and_repeat(action: Any) -> None:
    for seed in range(5):
        motion: Motion = action(np.random.RandomState(seed))
        assert 0.2 < motion.length < 6
        at_keys = motion.angles(np.array(motion.times, float))
        for row, pose in enumerate(motion.poses):
            for name, value in {**NEUTRAL, **pose}.items():
                assert at_keys[name][row] == pytest.approx(value, abs=1e-6)
            assert mirrored(mirrored(pose)) == pose
        if motion.period is not None:
            times = np.linspace(0, motion.period, 50)
            first, second = motion.angles(times), motion.angles(times + 3 * motion.period)
            for name in PARAMETERS:
                np.testing.assert_allclose(first[name], second[name], atol=1e-6)


def test_opening_it(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset("demo", limit=30)
    assert (dataset.name, dataset.split, len(dataset.samples)) == ("demo", "test1", 30)
    assert len({s.id for s in dataset.samples}) == 30
    monkeypatch.setattr(generation, "TEST_SAMPLES", 40)  # each one is made here
    assert len(open_dataset("demo").samples) == 40
    assert len(open_dataset("demo", limit=10_000).samples) == 40
    assert len(open_dataset("demo", split="train", limit=50).samples) == 50
    with pytest.raises(DatasetError, match="no split 'val'; it has train, test1"):
        open_dataset("demo", split="val")
    with pytest.raises(DatasetError, match="not a named file"):
        open_dataset("demo", ann_file="x.pkl")
