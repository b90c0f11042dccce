"""What is wrong with a sample is said alike, whichever way it goes: in one process, through
several, as a row of a batch, or alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import engine
from engine.base.errors import SampleError
from engine.base.records import Cause, Failure, Prediction, Record
from engine.pipeline import Pipeline
from engine.ray import Columns, Scorer
from engine.skeletons import samples
from tests.support.runs import options
from tests.support.samples import annotation

MAX_POSES = 100_000  # bytes, in place of a gigabyte
JOINTS = np.zeros((1, 20, 25, 2))
FAR = np.zeros((1, 20, 17, 2), np.float32)
FAR[0, 0, 0], FAR[0, 0, 1] = 3e38, -3e38

WRONG: dict[str, tuple[dict[str, Any], Cause]] = {
    "checked": (
        annotation(20, seed=1, keypoint=JOINTS),
        Cause(
            "decode",
            "SampleError",
            "keypoint has 25 joints; this model takes 17 in COCO order. Convert the skeleton "
            "layout first",
        ),
    ),
    "drawn": (
        annotation(20, seed=2, keypoint=FAR, keypoint_score=None),
        Cause("decode", "SampleError", "no box fits around that"),
    ),
    "unforeseen": (
        annotation(20, seed=3, total_frames=10**5000),
        Cause("read", "ValueError", "Exceeds the limit (4300 digits) for integer string"),
    ),
    "too large": (
        annotation(2000, seed=4),
        Cause("decode", "SampleError", "of poses; at most"),
    ),
}
FINE = [annotation(20, seed=10), annotation(70, persons=2, seed=11)]


@pytest.fixture(scope="module", autouse=True)
def _less_poses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "MAX_POSES", MAX_POSES)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("causes") / "data.pkl"
    wrong = [fields for fields, _ in WRONG.values()]
    path.write_bytes(pickle.dumps([FINE[0], *wrong, FINE[1]]))
    return path


@pytest.fixture(scope="module")
def records(data: Path, tiny_model: Path) -> dict[str, dict[str, Record]]:
    found = {}
    for way, more in {"in process": {"in_process": True}, "streaming": {"workers": 1}}.items():
        with Pipeline(options(data, tiny_model, **more)) as pipeline:
            found[way] = {record.id: record for record in pipeline}
    return found


def columns(rows: list[dict[str, Any]]) -> Columns:
    """Objects in every column, as where rows differ in shape."""
    found = {}
    for name in rows[0]:
        found[name] = np.empty(len(rows), object)
        for place, row in enumerate(rows):
            found[name][place] = row[name]
    return found


@pytest.fixture(scope="module")
def batch(tiny_model: Path) -> Columns:
    wrong = [fields for fields, _ in WRONG.values()]
    return Scorer(model=str(tiny_model))(columns([FINE[0], *wrong, FINE[1]]))


@pytest.mark.parametrize("kind", list(WRONG))
def test_the_same_cause(records: dict[str, dict[str, Record]], kind: str) -> None:
    fields, cause = WRONG[kind]
    plain, streamed = (found[fields["frame_dir"]] for found in records.values())
    assert plain == streamed
    assert isinstance(plain, Failure)
    assert (plain.stage, plain.type) == (cause.stage, cause.type)
    assert cause.message in plain.message


@pytest.mark.parametrize("kind", list(WRONG))
def test_a_row_of_a_batch(records: dict[str, dict[str, Record]], batch: Columns, kind: str) -> None:
    fields, _ = WRONG[kind]
    record = records["in process"][fields["frame_dir"]]
    assert isinstance(record, Failure)
    [row] = np.flatnonzero(batch["frame_dir"] == fields["frame_dir"])
    assert batch["error"][row] == str(Cause(record.stage, record.type, record.message))
    assert batch["best"][row] == -1
    assert np.isnan(batch["scores"][row]).all()


def test_the_others_are_scored(records: dict[str, dict[str, Record]], batch: Columns) -> None:
    for fields in FINE:
        [row] = np.flatnonzero(batch["frame_dir"] == fields["frame_dir"])
        assert batch["error"][row] == ""
        for found in records.values():
            record = found[fields["frame_dir"]]
            assert isinstance(record, Prediction)
            np.testing.assert_array_equal(batch["scores"][row], record.scores)


@pytest.mark.parametrize("kind", ["checked", "drawn", "too large"])
def test_a_sequence_alone(tiny_model: Path, kind: str) -> None:
    fields, cause = WRONG[kind]
    arguments = fields["keypoint"], fields["keypoint_score"], fields["img_shape"]
    with pytest.raises(SampleError) as caught:
        engine.classify(*arguments, model=str(tiny_model))
    assert caught.value.stage == cause.stage
    said = cause.message.replace("keypoint ", "keypoints ")
    assert said in str(caught.value)


@pytest.fixture(scope="module")
def infinite(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose numbers are finite, and whose logits are none where somebody is seen."""
    model = onnx.load(str(tiny_model))
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    for weight in model.graph.initializer:
        if weight.name == first.input[1]:
            sign = np.sign(numpy_helper.to_array(weight))
            weight.CopyFrom(numpy_helper.from_array(sign * np.float32(3e38), weight.name))
    path = tmp_path_factory.mktemp("model") / "infinite.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _in_process(path: Path, model: Path) -> Cause:
    with Pipeline(options(path, model, in_process=True)) as pipeline:
        return _cause(list(pipeline))


def _streaming(path: Path, model: Path) -> Cause:
    with Pipeline(options(path, model, workers=1)) as pipeline:
        return _cause(list(pipeline))


def _cause(found: list[Record]) -> Cause:
    [record] = found
    assert isinstance(record, Failure)
    return Cause(record.stage, record.type, record.message)


@pytest.mark.parametrize("way", [_in_process, _streaming])
def test_scores_that_are_not_finite(
    infinite: Path, tmp_path: Path, way: Callable[[Path, Path], Cause]
) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(FINE[:1]))
    expected = Cause("score", "SampleError", "the network's logits are not finite")
    assert way(path, infinite) == expected


def test_scores_that_are_not_finite_of_rows_and_alone(infinite: Path) -> None:
    batch = Scorer(model=str(infinite))(columns(FINE))
    assert batch["error"].tolist() == ["the network's logits are not finite"] * 2
    assert batch["best"].tolist() == [-1, -1]
    fields = FINE[0]
    with pytest.raises(SampleError, match="not finite") as caught:
        engine.classify(
            fields["keypoint"], fields["keypoint_score"], fields["img_shape"], model=str(infinite)
        )
    assert caught.value.stage == "score"
