"""The persons of a data set's videos as samples."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.errors import DatasetError
from engine.base.recipe import HMDB51_RECIPE
from engine.base.records import Cause, PersonFigures
from engine.live.persons import persons_of
from engine.live.streams import StreamLimits, Streams
from engine.live.tracking import Tracker
from engine.live.windows import Grid, Window
from engine.skeletons.samples import Sample
from engine.sources.dataset import Dataset
from engine.sources.pose_frames import PoseFrame
from engine.sources.recorded import frames_of
from tests.support.crowds import detections, shuffled, video, walkers


def told_apart(*annotations: Any) -> tuple[list[Sample], PersonFigures]:
    videos = [Sample(n, str(n), one) for n, one in enumerate(annotations)]
    dataset = Dataset("test", "test", "all", videos)
    found, figures = persons_of(dataset, 51, HMDB51_RECIPE)
    return list(found.samples), figures


def keypoints(sample: Sample) -> Any:
    return sample.poses(51).keypoint


def test_rows_that_are_persons() -> None:
    """A row each, of the annotation's own bits."""
    whole = video(walkers(3, 48).astype(np.float16))
    whole["keypoint"][1, 5:9] = np.nan
    samples, figures = told_apart(whole)
    assert [(s.index, s.id, s.who) for s in samples] == [(n, f"0#person-{n}", n) for n in range(3)]
    for row, sample in enumerate(samples):
        poses = sample.poses(51)
        assert poses.keypoint.dtype == np.float16
        np.testing.assert_array_equal(poses.keypoint, whole["keypoint"][row : row + 1])
        np.testing.assert_array_equal(poses.keypoint_score, whole["keypoint_score"][row : row + 1])
        assert (poses.img_shape, poses.total_frames) == (whole["img_shape"], 48)
        assert sample.label is None
    assert figures == PersonFigures(12, videos=1, persons=3, as_rows=1)


@settings(max_examples=30)
@given(st.integers(2, 4), st.integers(0, 2**32 - 1), st.booleans())
def test_rows_that_are_detections(persons: int, seed: int, cross: bool) -> None:
    """Everybody is found again, whatever rows they are in."""
    truth = walkers(persons, 60, seed, cross=cross)
    if not cross:  # who walks that fast is somewhere else ten frames later
        truth[0, 10:20] = 0
    samples, figures = told_apart(video(detections(shuffled(truth, seed))))
    assert len(samples) == persons
    for one in truth:
        assert sum((keypoints(sample)[0] == one).all() for sample in samples) == 1
    assert {s.who for s in samples} == {f"track-{n}" for n in range(persons)}
    assert {s.id for s in samples} == {f"0#track-{n}" for n in range(persons)}
    assert (figures.tracked, figures.as_rows, figures.persons) == (1, 0, persons)


def test_what_the_file_says_counts() -> None:
    """Whatever the rows look like. What is neither true nor false says nothing."""
    mixed, apart = shuffled(walkers(2, 60)), walkers(2, 60)
    _, figures = told_apart(
        video(mixed, tracks=True),
        video(apart, tracks=np.bool_(False)),
        video(mixed, tracks=[1, 2]),
        video(apart, tracks=None),
    )
    assert (figures.as_rows, figures.tracked) == (2, 2)
    samples, _ = told_apart(video(mixed, tracks=True))
    np.testing.assert_array_equal(keypoints(samples[1])[0], mixed[1])


def test_who_is_seen_too_briefly_is_left_out_and_counted() -> None:
    crowd = walkers(3, 60)
    crowd[1, 11:] = 0  # eleven frames
    crowd[2, 12:] = 0
    short = walkers(2, 5)
    short[1, 2:] = 0  # fewer than half
    nobody = np.zeros((1, 30, 17, 2), np.float32)
    samples, figures = told_apart(video(crowd), video(short), video(nobody), video(nobody))
    assert [s.id for s in samples] == ["0#person-0", "0#person-2", "1#person-0"]
    assert figures == PersonFigures(
        12, videos=4, persons=3, as_rows=4, brief=2, empty=2, first_empty="2"
    )
    with pytest.raises(DatasetError, match="nobody is seen for 12 frames .* any of its 1 videos"):
        told_apart(video(nobody))


def test_a_video_that_cannot_be_read_is_one_error() -> None:
    samples, figures = told_apart({"frame_dir": "junk"}, video(walkers(1, 30)), "junk")
    assert [(s.index, s.id, s.who) for s in samples] == [
        (0, "0", None),
        (1, "1#person-0", 0),
        (2, "2", None),
    ]
    assert [isinstance(s.read(51), Cause) for s in samples] == [True, False, True]
    assert (figures.videos, figures.persons) == (3, 1)


@given(st.floats(1e-30, 3e38), st.sampled_from([True, False, None]))
def test_numbers_of_any_size(scale: float, tracks: bool | None) -> None:
    """Which nobody is found by, or which are refused: no exception, and no warning of numpy's."""
    rng = np.random.default_rng(0)
    keypoint = (rng.uniform(-1, 1, (3, 20, 17, 2)) * scale).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples, figures = told_apart(video(keypoint, tracks=tracks), video(walkers(1, 20)))
    refused = sum(isinstance(sample.read(51), Cause) for sample in samples)
    assert figures.as_rows + figures.tracked + refused == 2


def test_ids_are_unique() -> None:
    videos = [Sample(0, "a", video(walkers(1, 30))), Sample(1, "a#person-0", {})]
    found, _ = persons_of(Dataset("", "", "all", videos), 51, HMDB51_RECIPE)
    assert [s.id for s in found.samples] == ["a#person-0", "a#person-0#2"]


def windows_of(annotation: Any) -> dict[Any, list[Window]]:
    """By person."""
    streams = Streams(lambda first: Grid(1, 8), lambda: Tracker().track, StreamLimits())
    for frame in frames_of(Sample(0, "v", annotation)):
        assert isinstance(frame, PoseFrame)
        streams.add(frame, 0, live=False)
    found: dict[Any, list[Window]] = {}
    while (got := streams.next()) is not None:
        found.setdefault(got[0].who, []).append(got[0])
    assert streams.figures.tracked == any(isinstance(who, str) for who in found)
    return found


@pytest.mark.parametrize("cross", [False, True])
def test_windows_are_of_the_same_persons(cross: bool) -> None:
    truth = walkers(2, 90, cross=cross)
    of_rows, of_tracks = windows_of(video(truth)), windows_of(video(shuffled(truth)))
    assert (set(of_rows), set(of_tracks)) == ({0, 1}, {"track-0", "track-1"})
    first = shuffled(truth)[0, 0]
    names = {0: "track-0", 1: "track-1"}
    if (first == truth[1, 0]).all():
        names = {0: "track-1", 1: "track-0"}
    for row, name in names.items():
        for one, other in zip(of_rows[row], of_tracks[name], strict=True):
            assert (one.first, one.last) == (other.first, other.last)
            np.testing.assert_array_equal(one.poses.keypoint, other.poses.keypoint)
    samples, _ = told_apart(video(shuffled(truth)))
    for sample in samples:
        window = of_tracks[sample.who][0]
        np.testing.assert_array_equal(window.poses.keypoint, keypoints(sample)[:, :48])
