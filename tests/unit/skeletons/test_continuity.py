"""Rows of an annotation: persons, or the n-th detection of each frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.skeletons.continuity import rows_are_persons
from engine.sources.dataset import open_dataset
from engine.sources.recorded import kpts_of
from tests.support.crowds import F32, detections, scored, shuffled, walkers

SEEDS = st.integers(0, 2**32 - 1)
AWAY = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 63), st.integers(1, 40)), max_size=6)


@given(st.integers(1, 4), AWAY, SEEDS)
def test_persons_in_rows_of_their_own(
    persons: int, away: list[tuple[int, int, int]], seed: int
) -> None:
    """Whoever comes and goes."""
    keypoint = walkers(persons, 64, seed)
    for who, start, frames in away:
        keypoint[who % persons, start : start + frames] = 0
    assert rows_are_persons(scored(keypoint))


@given(st.integers(2, 4), SEEDS)
def test_rows_in_a_random_order(persons: int, seed: int) -> None:
    assert not rows_are_persons(scored(shuffled(walkers(persons, 64, seed), seed)))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 60)), min_size=2, max_size=9), SEEDS)
def test_rows_that_move_up(away: list[tuple[int, int]], seed: int) -> None:
    """Of three people one or the other is not found now and then, and those behind move up."""
    keypoint = walkers(3, 64, seed)
    for who, frame in away:
        keypoint[who, frame] = 0
    rows = detections(keypoint)
    assert not rows_are_persons(scored(rows))


@given(SEEDS)
def test_two_who_pass_each_other(seed: int) -> None:
    keypoint = walkers(2, 64, seed, cross=True)
    assert rows_are_persons(scored(keypoint))
    assert not rows_are_persons(scored(shuffled(keypoint, seed)))


def test_broken_tracks_are_still_persons() -> None:
    """A tracker lost everybody three times, and gave them new rows."""
    whole = walkers(2, 64)
    rows = np.zeros((8, *whole.shape[1:]), np.float32)
    for part in range(4):
        span = slice(16 * part, 16 * part + 16)
        rows[2 * part : 2 * part + 2, span] = whole[:, span]
    assert rows_are_persons(scored(rows))


def test_nothing_to_compare() -> None:
    for shape in ((0, 5), (1, 64), (3, 1), (2, 64)):
        assert rows_are_persons(np.zeros((*shape, 17, 3), np.float32))
    noise = np.random.default_rng(0).uniform(0, 500, (3, 64, 17, 3)).astype(np.float32)
    assert rows_are_persons(noise)


def test_long_videos_are_compared_in_blocks() -> None:
    """Of 240 frames, for four people: a change counts in whichever it is, and between two."""
    keypoint = walkers(4, 600)
    assert rows_are_persons(scored(keypoint))
    for start in (1, 239, 240, 241, 242, 480, 481, 482, 599):
        changed = keypoint.copy()
        changed[:2, start:] = keypoint[1::-1, start:]
        assert not rows_are_persons(scored(changed))


def test_real_people_on_top_of_one_another(shared: Path) -> None:
    """Pairs of clips, the second moved and scaled onto the first or beside it."""
    samples = open_dataset(str(shared / "data" / "jhmdb_hmdb51_2d.pkl"), split="all").samples
    rng = np.random.default_rng(0)
    found = 0
    for number in range(60):
        one, other = (kpts_of(samples[int(n)].poses(51))[0] for n in rng.integers(0, 609, 2))
        frames = min(len(one), len(other))
        pair = np.stack([one[:frames], other[:frames]])
        (low, size), (other_low, other_size) = _box(one[0]), _box(other[0])
        seen = pair[1, ..., :2].any(axis=-1, keepdims=True)
        moved = (pair[1, ..., :2] - other_low) * (size[1] / other_size[1]) + low
        moved[..., 0] += (number % 4) / 4 * size[0]
        pair[1, ..., :2] = np.where(seen, moved, 0)
        assert rows_are_persons(pair), number
        pair[:, frames // 2 :] = pair[::-1, frames // 2 :].copy()
        found += not rows_are_persons(pair)
    assert found >= 57  # exchanged once


def _box(kpts: F32) -> tuple[F32, F32]:
    """Corner and size, [2] each, of the box around a pose."""
    points = kpts[kpts[:, 2] > 0.05, :2]
    return points.min(axis=0), points.max(axis=0) - points.min(axis=0) + 1
