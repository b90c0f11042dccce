"""Records in any order become labels in the order of their windows."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.base.records import Failure, Prediction, Record
from engine.live.labels import Label, Labels, Smoother
from engine.live.windows import Window
from engine.skeletons.poses import PoseSequence

CLASSES = ["a", "b", "c"]


def window(stream: str, who: int, last: int) -> Window:
    poses = PoseSequence(np.zeros((1, 48, 17, 2)), None, (10, 10), 48)
    return Window(stream, who, last / 30, last - 47, last, poses, start=(last - 47) / 30)


def prediction(index: int, *scores: float) -> Prediction:
    logits = np.zeros((1, 3), np.float32)
    return Prediction(index, str(index), None, logits, np.array(scores, np.float32), {"infer": 3.0})


def labels(windows: int = 1) -> Labels:
    return Labels(CLASSES, lambda: Smoother(windows, threshold=0.4, margin=0))


def test_a_label() -> None:
    book = labels()
    book.expect(0, window("door", 7, 59), arrived=10.0)
    assert book.waits("door", 7)
    assert not book.waits("door", 8)
    [label] = book.complete(prediction(0, 0.1, 0.7, 0.2), now=10.25)
    assert (label.stream, label.who, label.first, label.last) == ("door", 7, 12, 59)
    assert (label.start, label.t) == (12 / 30, 59 / 30)
    assert (label.label, label.name, label.error) == (1, "b", None)
    assert abs(label.score - 0.7) < 1e-6
    assert (label.latency_ms, label.ms) == (250.0, {"infer": 3.0})
    assert not book.waits("door", 7)
    book.expect(1, window("door", 7, 71), arrived=11.0)
    [none] = book.complete(prediction(1, 0.35, 0.35, 0.3), now=11)
    assert (none.label, none.name) == (None, None)


def test_later_windows_wait_for_earlier_ones_of_the_same_person_only() -> None:
    book = labels(windows=2)
    for index, (who, last) in enumerate([(1, 47), (1, 59), (2, 47), (1, 71)]):
        book.expect(index, window("s", who, last), 0)
    assert book.complete(prediction(1, 0, 1, 0), 0) == []
    [other] = book.complete(prediction(2, 1, 0, 0), 0)
    assert other.who == 2
    assert book.complete(prediction(3, 0, 1, 0), 0) == []
    found = book.complete(prediction(0, 1, 0, 0), 0)
    assert [label.last for label in found] == [47, 59, 71]
    assert [label.name for label in found] == ["a", "a", "b"]  # the mean of two


def test_a_window_without_scores() -> None:
    book = labels()
    for index in range(2):
        book.expect(index, window("s", 1, 47 + index), 0)
    assert book.complete(prediction(1, 0, 0, 1), 0) == []
    failed, good = book.complete(Failure(0, "x", None, "infer", "ProcessDied", "three times"), 0)
    assert failed.error == "ProcessDied (infer): three times"
    assert (failed.label, failed.scores) == (None, None)
    assert good.name == "c"


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_one_label_each_in_order(seed: int, count: int) -> None:
    rng = random.Random(seed)
    book, found = labels(), list[Label]()
    waiting: list[Record] = []
    for index in range(count):
        key = rng.choice("ab"), rng.randrange(2)
        book.expect(index, window(*key, last=index), 0)
        waiting.append(
            prediction(index, 0, 1, 0)
            if rng.random() < 0.8
            else Failure(index, "", None, "infer", "E", "")
        )
        while waiting and rng.random() < 0.5:
            found += book.complete(waiting.pop(rng.randrange(len(waiting))), 0)
    rng.shuffle(waiting)
    for record in waiting:
        found += book.complete(record, 0)
    assert sorted(label.last for label in found) == list(range(count))
    for key in {(label.stream, label.who) for label in found}:
        mine = [label.last for label in found if (label.stream, label.who) == key]
        assert mine == sorted(mine)


def scores(*shares: float) -> Any:
    return np.array([*shares, 1 - sum(shares)], np.float32)


def test_the_mean_of_the_last_names_it() -> None:
    smoother = Smoother(windows=2, threshold=0.3, margin=0.1)
    assert smoother.add(scores(0.8, 0.1))[0] == 0
    label, mean = smoother.add(scores(0.3, 0.6))
    assert label == 0
    np.testing.assert_allclose(mean, [0.55, 0.35, 0.1], atol=1e-6)
    assert smoother.add(scores(0.1, 0.8))[0] == 1


def test_a_narrow_lead_changes_nothing() -> None:
    smoother = Smoother(windows=1, threshold=0.3, margin=0.1)
    assert smoother.add(scores(0.5, 0.4))[0] == 0
    assert smoother.add(scores(0.44, 0.5))[0] == 0
    assert smoother.add(scores(0.35, 0.5))[0] == 1


def test_no_action() -> None:
    smoother = Smoother(windows=1, threshold=0.5)
    assert smoother.add(scores(0.3, 0.3))[0] is None
    assert smoother.add(scores(0.6, 0.3))[0] == 0
    assert smoother.add(scores(0.4, 0.3))[0] is None
    assert smoother.add(scores(0.2, 0.7))[0] == 1


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), min_size=1, max_size=30))
def test_a_label_is_never_below_the_threshold(rows: list[list[float]]) -> None:
    smoother = Smoother(windows=3, threshold=0.3, margin=0.05)
    for row in rows:
        label, mean = smoother.add(np.array(row, np.float32) / np.float32(sum(row)))
        assert label is None or mean[label] >= 0.3
        assert label is not None or mean.max() < 0.3 + 0.05
