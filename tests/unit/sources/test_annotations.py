"""The three file formats hold the same annotations."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from engine.base.errors import DatasetError
from engine.skeletons.samples import Unreadable
from engine.sources.annotations import read_annotations


def assert_same(found: Any, expected: Any) -> None:
    assert len(found.annotations) == len(expected.annotations)
    assert {k: set(v) for k, v in found.splits.items()} == {
        k: set(v) for k, v in expected.splits.items()
    }
    for a, b in zip(found.annotations, expected.annotations, strict=True):
        assert a["frame_dir"] == b["frame_dir"]
        assert a["label"] == b["label"]
        assert tuple(a["img_shape"]) == tuple(b["img_shape"])
        assert a["total_frames"] == b["total_frames"]
        for key in ("keypoint", "keypoint_score"):
            assert (key in a) == (key in b)
            if key in a:
                np.testing.assert_array_equal(np.asarray(a[key]).reshape(b[key].shape), b[key])


def test_npz_equals_pickle(golden: Path) -> None:
    assert_same(
        read_annotations(golden / "annotations.npz"), read_annotations(golden / "annotations.pkl")
    )


def test_jsonl_equals_pickle(make_annotation: Any, tmp_path: Path) -> None:
    annotations = [make_annotation(20 + i, persons=1 + i, seed=i) for i in range(3)]
    splits = {"test1": ["video_2", "video_0"], "train1": ["video_1"]}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"split": splits, "annotations": annotations}))
    with (tmp_path / "a.jsonl").open("wb") as target:
        for a in annotations:
            of = [name for name, ids in splits.items() if a["frame_dir"] in ids]
            lists = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in a.items()}
            target.write(orjson.dumps({**lists, "split": of}) + b"\n\n")
    assert_same(read_annotations(tmp_path / "a.jsonl"), read_annotations(tmp_path / "a.pkl"))


def test_bare_list(make_annotation: Any, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([make_annotation()]))
    found = read_annotations(tmp_path / "a.pkl")
    assert found.splits is None
    assert len(found.annotations) == 1


def test_a_line_that_is_no_json_costs_that_sample_only(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"frame_dir": "a"}\n{"frame_dir": \n[1]\n')
    good, bad, odd = read_annotations(tmp_path / "a.jsonl").annotations
    assert good == {"frame_dir": "a"}
    assert isinstance(bad, Unreadable)
    assert "line 2" in bad.message
    assert odd == [1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "end in .pkl, .npz, .json, .jsonl"),
        ("a.json", b"{", "not JSON"),
        ("a.json", b"\xff", "not JSON"),
        ("a.json", b"[NaN, " * 100_000, "not JSON"),
        ("a.json", b"3", "expected a list"),
        ("a.json", b'{"people": []}', "or one annotation, a dict with `keypoint`"),
        ("a.pkl", b"", "truncated or not a pickle"),
        ("a.pkl", pickle.dumps(1), "expected a list"),
        ("a.pkl", pickle.dumps({"annotations": 1}), "expected a list"),
        ("a.pkl", pickle.dumps({"annotations": [], "split": [1]}), "must map names"),
        ("a.pkl", pickle.dumps({"annotations": [], "split": {"x": 1}}), "split 'x' is a int"),
        ("a.npz", b"", "not a readable .npz"),
        ("a.npz", b"PK\x03\x04 broken", "not a readable .npz"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message) as caught:
        read_annotations(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"img_shape": np.ones((1, 2))}, "no array `frame_dir`"),
        ({"frame_dir": np.array(["a"])}, "no array `img_shape`"),
        ({"frame_dir": ["a"], "img_shape": [[1, 1]], "label": [1, 2]}, "`label` has 2 entries"),
        ({"frame_dir": ["a"], "img_shape": [[1, 1]], "1/keypoint": [0]}, "belongs to no sample"),
        ({"frame_dir": ["a"], "img_shape": np.array([None])}, "plain arrays"),
    ],
)
def test_unusable_archives(tmp_path: Path, arrays: Any, message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DatasetError, match=message):
        read_annotations(tmp_path / "a.npz")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        read_annotations(tmp_path / "a.pkl")


def read_lines(tmp_path: Path, *lines: str) -> Any:
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return read_annotations(tmp_path / "a.jsonl")


def test_absent_joints_and_nobody_in_jsonl(tmp_path: Path) -> None:
    joints = [[1.5, 2.5]] * 16 + [[None, None]]
    one, nobody = read_lines(
        tmp_path,
        "\ufeff" + orjson.dumps({"frame_dir": "a", "keypoint": [[joints]]}).decode(),
        '{"frame_dir": "b", "keypoint": [], "keypoint_score": [], "total_frames": 4}',
    ).annotations
    assert one["keypoint"].shape == (1, 1, 17, 2)
    assert np.isnan(one["keypoint"][0, 0, 16]).all()
    assert nobody["keypoint"].shape == (0, 4, 17, 2)
    assert nobody["keypoint_score"].shape == (0, 4, 17)


def test_jsonl_splits_go_by_the_first_lines_key(tmp_path: Path) -> None:
    found = read_lines(
        tmp_path,
        '{"frame_dir": "a", "split": ["s", "t"]}',
        '{"frame_dir": "b", "filename": "x", "split": "s"}',
        '{"frame_dir": "c", "split": null}',
    )
    assert found.splits == {"s": ["a", "b"], "t": ["a"]}


def test_json(make_annotation: Any, tmp_path: Path) -> None:
    annotations = [make_annotation(20 + i, persons=1 + i, seed=i) for i in range(3)]
    for one in annotations:
        one["keypoint_score"][0, 0, 0] = one["keypoint"][0, 0, 0] = np.nan
    root = {"split": {"test1": ["video_2"]}, "annotations": annotations}
    for name, content in (("whole", root), ("list", annotations), ("one", annotations[0])):
        text = json.dumps(content, default=np.ndarray.tolist)
        (tmp_path / f"{name}.json").write_text("\ufeff" + text, encoding="utf-8")
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(content))
        found, expected = (
            read_annotations(tmp_path / f"{name}.{form}") for form in ("json", "pkl")
        )
        assert found.splits == expected.splits
        for one, other in zip(found.annotations, expected.annotations, strict=True):
            assert one["frame_dir"] == other["frame_dir"]
            for field in ("keypoint", "keypoint_score"):
                np.testing.assert_array_equal(one[field], other[field])


def test_nan_as_python_writes_it(tmp_path: Path) -> None:
    """Lines that are JSON go through the fast reader, others may have what Python calls NaN."""
    found = read_lines(
        tmp_path,
        '{"frame_dir": "NaN", "label": 3}',
        json.dumps({"frame_dir": "a", "keypoint": [[[[float("nan")] * 2] * 17]]}),
        '{"frame_dir": NaN, ',
    ).annotations
    assert found[0] == {"frame_dir": "NaN", "label": 3}
    assert np.isnan(found[1]["keypoint"]).all()
    assert found[1]["keypoint"].shape == (1, 1, 17, 2)
    assert "line 3 is not JSON" in found[2].message


def test_archives_of_odd_arrays(tmp_path: Path) -> None:
    for label in (np.array(3), np.array([[1]])):
        np.savez(tmp_path / "a.npz", frame_dir=["a"], img_shape=[[1, 1]], label=label)
        if label.ndim == 0:
            with pytest.raises(DatasetError, match="not a readable"):
                read_annotations(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", np.zeros(3))
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(DatasetError, match="not a readable"):
        read_annotations(tmp_path / "b.npz")


def test_archive_bomb(tmp_path: Path) -> None:
    """Refused by what the directory announces, before anything is unpacked."""
    np.savez_compressed(tmp_path / "a.npz", frame_dir=["a"])
    data = bytearray((tmp_path / "a.npz").read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    import engine.base.npz as module

    (tmp_path / "b.npz").write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "memory_limit", lambda: 1 << 30)
        with pytest.raises(DatasetError, match="more than half of the memory"):
            read_annotations(tmp_path / "b.npz")
