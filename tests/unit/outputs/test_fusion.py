"""Fusion of streams: what is computed, how samples are matched, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.base.errors import DatasetError, UsageError
from engine.outputs.archive import UNKNOWN, ScoreArchive
from engine.outputs.fusion import fuse

WEIGHTS = st.lists(st.floats(0, 1e308), min_size=2, max_size=4).filter(any)


def archive(
    count: int = 5,
    classes: int = 4,
    seed: int = 0,
    *,
    ids: list[str] | None = None,
    labels: list[int] | None = None,
    names: tuple[str, ...] | None = None,
) -> ScoreArchive:
    """Random scores as a softmax gives them."""
    values = np.exp(np.random.default_rng(seed).normal(0, 3, (count, classes)))
    return ScoreArchive(
        np.array(ids or [f"s{i}" for i in range(count)]),
        (values / values.sum(axis=1, keepdims=True)).astype(np.float32),
        np.array([i % classes for i in range(count)] if labels is None else labels),
        names,
    )


def shuffled(stream: ScoreArchive, order: Any) -> ScoreArchive:
    return ScoreArchive(stream.ids[order], stream.scores[order], stream.labels[order])


def test_the_weighted_mean() -> None:
    joint, limb = archive(seed=1), archive(seed=2)
    expected = (3 * joint.scores.astype(np.float64) + limb.scores) / 4
    fused = engine.fuse_scores([joint, limb], [3, 1])
    np.testing.assert_array_equal(fused.scores, expected.astype(np.float32))
    assert fused.scores.dtype == np.float32
    np.testing.assert_array_equal(fused.labels, joint.labels)


@given(WEIGHTS, st.integers(1, 9), st.integers(1, 6), st.data())
def test_what_holds_for_all_weights_and_orders(
    weights: list[float], count: int, classes: int, data: st.DataObject
) -> None:
    streams = [archive(count, classes, seed) for seed in range(len(weights))]
    fused = engine.fuse_scores(streams, weights)
    assert np.abs(fused.scores.sum(axis=1) - 1).max() < 1e-5
    low, high = (f([s.scores for s in streams], axis=0) for f in (np.min, np.max))
    assert (low <= fused.scores).all()
    assert (fused.scores <= high).all()
    # Orders of samples differ: they are found by their ids.
    orders = [data.draw(st.permutations(range(count))) for _ in streams]
    moved = [shuffled(s, list(order)) for s, order in zip(streams, orders, strict=True)]
    again = engine.fuse_scores(moved, weights)
    assert again.ids.tolist() == fused.ids[list(orders[0])].tolist()
    np.testing.assert_array_equal(again.scores, fused.scores[list(orders[0])])
    np.testing.assert_array_equal(again.labels, fused.labels[list(orders[0])])


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_a_stream_with_itself_is_itself(first: float, second: float) -> None:
    stream = archive()
    fused = engine.fuse_scores([stream, stream], [first, second])
    np.testing.assert_array_equal(fused.scores, stream.scores)


def test_samples_that_not_all_have() -> None:
    joint = archive(6, ids=["a", "b", "c", "d", "e", "f"], labels=[0] * 6)
    limb = archive(2, ids=["f", "b"], labels=[0] * 2)
    with pytest.raises(
        UsageError,
        match=r"archive 2 lacks 4 of 6 samples \(a, c, d, …\).*--common goes on with the 2",
    ):
        fuse([joint, limb])
    fusion = fuse([joint, limb], common=True)
    assert (fusion.fused.ids.tolist(), fusion.left_out) == (["b", "f"], 4)
    assert [s.ids.tolist() for s in fusion.streams] == [["b", "f"]] * 2
    with pytest.raises(UsageError, match="no sample in common"):
        fuse([joint, archive(1, ids=["z"])], common=True)


def test_labels_and_classes_of_whoever_knows_them() -> None:
    joint = archive(3, labels=[UNKNOWN, 1, UNKNOWN], names=("class_0", "b", "class_2", "class_3"))
    limb = archive(3, labels=[3, UNKNOWN, UNKNOWN], names=("a", "class_1", "c", "class_3"))
    fused = engine.fuse_scores([archive(3, labels=[UNKNOWN] * 3), joint, limb])
    assert fused.labels.tolist() == [3, 1, UNKNOWN]
    assert fused.classes == ("a", "b", "c", "class_3")


@pytest.mark.parametrize(
    ("other", "weights", "said"),
    [
        (
            archive(labels=[0, 1, 2, 0, 0]),
            None,
            r"'s3' has label 3 in archive 1 and 0 in archive 2",
        ),
        (archive(classes=5), None, "archive 1 has 4 classes, archive 2 5"),
        (archive(names=("a", "x", "c", "d")), None, "class 1 is 'b' in archive 1 and 'x' in arch"),
        (archive(), [1.0], "1 weights for 2 archives"),
        (archive(), [1.0, -1.0], "weights 1,-1: finite numbers are needed, none negative"),
        (archive(), [0.0, 0.0], "not all zero"),
        (archive(), [1.0, float("nan")], "weights 1,nan: finite"),
        (archive(), [float("inf"), 1.0], "weights inf,1: finite"),
        (archive(), "11", "weights '11': a list of numbers"),
        (archive(), ["1", "1"], r"weights \['1', '1'\]: a list of numbers"),
        (None, None, "nothing to be fused; name two"),
    ],
)
def test_what_does_not_fit_together(other: ScoreArchive | None, weights: Any, said: str) -> None:
    streams = [archive(names=("a", "b", "c", "d")), other]
    with pytest.raises(UsageError, match=said):
        engine.fuse_scores([s for s in streams if s is not None], weights)


def test_no_list_of_archives() -> None:
    for one in ([], "ab.npz", archive()):
        with pytest.raises(UsageError, match="name two archives or more, in a list"):
            engine.fuse_scores(one)  # type: ignore[arg-type]


def test_an_archive_is_read_as_it_was_written(tmp_path: Path) -> None:
    for names in (None, ("a", "ä", "c", "d")):
        stream = archive(names=names)
        stream.write(tmp_path / "s.npz")
        found = ScoreArchive.read(tmp_path / "s.npz")
        np.testing.assert_array_equal(found.ids, stream.ids)
        np.testing.assert_array_equal(found.scores, stream.scores)
        np.testing.assert_array_equal(found.labels, stream.labels)
        assert found.classes == names


def test_an_archive_of_ids_and_scores_alone(tmp_path: Path) -> None:
    stream = archive()
    np.savez(tmp_path / "s.npz", id=stream.ids, scores=stream.scores)
    assert (ScoreArchive.read(tmp_path / "s.npz").labels == UNKNOWN).all()


GOOD: dict[str, Any] = {"id": np.array(["a", "b"]), "scores": np.full((2, 2), 0.5, np.float32)}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"scores": None, "logits": np.zeros((2, 20, 2))}, "no array `scores`, but id, logits"),
        ({"id": np.array(["a", "a"])}, "'a' is there twice"),
        ({"id": np.array([1, 2])}, "`id` is int64"),
        ({"id": np.array("a")}, "not a readable .npz"),
        ({"id": np.array(["a"])}, "1 ids, 1 labels and 2 rows"),
        ({"id": np.array(["a", b"b"], object)}, "not a readable .npz"),
        ({"scores": np.zeros((2, 0))}, r"float32 \[N, classes\] is needed"),
        ({"scores": np.array([[0.5, 0.5], [3.0, -2.0]])}, "'b' are no probabilities"),
        ({"scores": np.array([[np.nan, 0.5], [0.5, 0.5]])}, "'a' are no probabilities"),
        ({"scores": np.array([[np.inf, 0.5], [0.5, 0.5]])}, "'a' are no probabilities"),
        ({"label": np.array([0, 2])}, "label 2 of classes 0 to 1"),
        ({"label": np.array([0.0, 1.0])}, "`label` is float64"),
        ({"classes": np.array(["a"])}, "1 names for 2 classes"),
    ],
)
def test_a_damaged_archive(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    arrays = {key: value for key, value in {**GOOD, **changed}.items() if value is not None}
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(DatasetError, match=said) as raised:
        ScoreArchive.read(tmp_path / "s.npz")
    assert str(raised.value).startswith(f"{tmp_path / 's.npz'}: ")


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04 torn", os.urandom(99)):
        (tmp_path / "s.npz").write_bytes(content)
        with pytest.raises(DatasetError, match="not a readable .npz"):
            ScoreArchive.read(tmp_path / "s.npz")
    with pytest.raises(DatasetError, match="No such file"):
        ScoreArchive.read(tmp_path / "none.npz")
