"""People without ids, from frame to frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.live.tracking import Tracker
from engine.skeletons.similarity import similarity_of
from engine.sources.pose_frames import Person, PoseFrame

BODY = np.random.default_rng(0).uniform(0, 100, (17, 2)).astype(np.float32)


def at(x: float, y: float = 100, scale: float = 1, score: float = 1) -> Any:
    kpts = np.full((17, 3), score, np.float32)
    kpts[:, :2] = BODY * scale + (x, y)
    return kpts


def ids(tracker: Tracker, number: int, *poses: Any) -> list[Any]:
    people = tuple(Person(None, pose) for pose in poses)
    frame = tracker.track(PoseFrame("s", number, number / 30, (1000, 500), people))
    return [person.id for person in frame.people]


def test_people_who_walk_keep_their_ids_in_any_order() -> None:
    tracker = Tracker()
    first, second = ids(tracker, 0, at(100), at(600))
    assert first != second
    for number in range(1, 60):
        poses = at(100 + 4 * number), at(600 - 3 * number)
        assert ids(tracker, number, *poses[:: (-1) ** number]) == [first, second][:: (-1) ** number]


def test_out_of_sight_for_a_while() -> None:
    tracker = Tracker(keep=30)
    [who] = ids(tracker, 0, at(100))
    assert ids(tracker, 25, at(105)) == [who]
    assert ids(tracker, 100, at(110)) != [who]


def test_one_who_comes_is_nobody_elses() -> None:
    tracker = Tracker()
    [who] = ids(tracker, 0, at(100))
    found = ids(tracker, 1, at(700), at(103))
    assert found[1] == who
    assert found[0] != who


def test_ids_of_the_source_are_kept() -> None:
    frame = PoseFrame("s", 0, 0, (10, 10), (Person(7, at(0)), Person(None, at(500))))
    assert [p.id for p in Tracker().track(frame).people] == [7, "track-0"]


def test_similarity() -> None:
    assert similarity_of(at(0), at(0)) == pytest.approx(1)
    assert similarity_of(at(0), at(5)) > 0.8
    assert similarity_of(at(0), at(300)) < 0.01
    half = at(0)
    half[:8, 2] = 0  # half of the joints are not seen
    assert similarity_of(half, at(0)) == pytest.approx(1)
    few = at(0)
    few[3:, 2] = 0
    assert 0 < similarity_of(few, at(0)) < 1  # by boxes
    assert similarity_of(at(0, score=0), at(0)) == 0


@given(st.lists(st.lists(st.floats(0, 900), max_size=5), max_size=20))
def test_no_id_twice_in_a_frame(rows: list[list[float]]) -> None:
    tracker = Tracker()
    for number, row in enumerate(rows):
        found = ids(tracker, number, *(at(x) for x in row))
        assert len(set(found)) == len(row)
