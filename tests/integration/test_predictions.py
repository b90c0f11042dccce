"""``engine.predict`` as people call it: lists, iterators, folders; answers and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.base.errors import DatasetError, UsageError
from engine.base.records import Failure, Prediction
from engine.skeletons.joints import LAYOUTS
from tests.support.samples import annotation

ANNOTATIONS = [annotation(20 + 5 * n, seed=n) for n in range(3)]


@pytest.fixture
def arguments(tiny_model: Path) -> dict[str, Any]:
    return {"model": tiny_model, "in_process": True, "layout": "shared"}


def scores(records: Any) -> Any:
    return np.stack([record.scores for record in sorted(records, key=lambda one: one.index)])


def test_lists_iterators_and_folders_have_one_answer(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    for one in ANNOTATIONS:
        named = {key: one[key] for key in ("keypoint", "keypoint_score", "img_shape", "label")}
        np.savez(tmp_path / f"{one['frame_dir']}.npz", **named)
    of_list = list(engine.predict(ANNOTATIONS, **arguments))
    assert [one.id for one in of_list] == ["video_0", "video_1", "video_2"]
    for other in (iter(ANNOTATIONS), tuple(ANNOTATIONS), tmp_path, str(tmp_path)):
        found = list(engine.predict(other, **arguments))
        assert [(one.id, one.label) for one in found] == [(one.id, one.label) for one in of_list]
        np.testing.assert_array_equal(scores(found), scores(of_list))


def test_with_processes_an_iterator_is_read_as_it_goes(tiny_model: Path) -> None:
    taken = []

    def endless() -> Any:
        while True:
            taken.append(len(taken))
            yield ANNOTATIONS[len(taken) % 3]

    records = engine.predict(endless(), model=tiny_model, workers=1)
    assert taken == []
    found = [next(records) for _ in range(4)]
    records.close()
    assert len({one.id for one in found}) == 4
    assert len(taken) < 40
    assert next(records, None) is None


def test_what_an_iterator_raises_ends_the_run(tiny_model: Path) -> None:
    def broken() -> Any:
        yield ANNOTATIONS[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(engine.predict(broken(), model=tiny_model, workers=1))


def test_the_answer_of_a_prediction(arguments: dict[str, Any]) -> None:
    [one] = engine.predict(ANNOTATIONS[1:2], **arguments)
    assert isinstance(one, Prediction)
    assert one.label == 1
    assert one.best == one.scores.argmax()
    assert one.name == one.classes[one.best] == one.top(1)[0][0]
    about = ANNOTATIONS[1]["keypoint"], ANNOTATIONS[1]["keypoint_score"], (240, 320)
    answer = engine.classify(*about, model=arguments["model"], layout="shared")
    assert (answer.label, answer.name, answer.score) == (one.best, one.name, one.score)


def test_joints_of_another_layout(arguments: dict[str, Any], tmp_path: Path) -> None:
    """One that has all of COCO's: the answer is the same in all ways in, bit for bit."""
    layout, usual = LAYOUTS["body25"], ANNOTATIONS[0]
    keypoint = np.zeros((*usual["keypoint"].shape[:2], 25, 2), np.float32)
    score = np.zeros(keypoint.shape[:-1], np.float32)
    keypoint[:, :, layout.coco] = usual["keypoint"]
    score[:, :, layout.coco] = usual["keypoint_score"]
    in_layout = {**usual, "keypoint": keypoint, "keypoint_score": score}
    np.savez(tmp_path / "one.npz", keypoint=keypoint, keypoint_score=score, img_shape=(240, 320))
    [expected] = engine.predict([usual], **arguments)
    arguments["layout"] = "body25"
    for dataset in ([in_layout], tmp_path):
        np.testing.assert_array_equal(
            scores(engine.predict(dataset, **arguments)), scores([expected])
        )
    answer = engine.classify(keypoint, score, (240, 320), model=arguments["model"], layout="body25")
    np.testing.assert_array_equal(answer.scores, scores([expected])[0])
    with pytest.raises(UsageError, match=r"did you mean body25\?"):
        engine.classify(keypoint, score, (240, 320), layout="body_25")


def test_what_is_no_data_set_is_said(arguments: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match="for one give a list of it"):
        list(engine.predict(ANNOTATIONS[0], **arguments))
    with pytest.raises(DatasetError, match="leave --size out"):
        list(engine.predict(ANNOTATIONS, **arguments, size="320x240"))


def test_a_table(arguments: dict[str, Any]) -> None:
    pandas = pytest.importorskip("pandas")
    mixed = [ANNOTATIONS[0], "junk", annotation(seed=7, label=None)]
    records = engine.predict(mixed, **arguments)
    table = records.to_frame()
    assert list(table.index) == [0, 1, 2]
    assert list(table["id"]) == ["video_0", "annotation-1", "video_7"]
    assert table["name"].notna().tolist() == [True, False, True]
    assert table.loc[1, "error"] == "read: the annotation is a str, not a dict"
    assert pandas.isna(table.loc[2, "label"])
    assert table.loc[0, "clips"] == 20
    first, failed, _ = engine.predict(mixed, **arguments)
    assert isinstance(failed, Failure)
    assert isinstance(first, Prediction)
    assert (table.loc[0, "best"], table.loc[0, "score"]) == (first.best, first.score)
    assert engine.predict([], **arguments).to_frame().empty


def test_a_table_without_pandas(arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        engine.predict(ANNOTATIONS, **arguments).to_frame()
