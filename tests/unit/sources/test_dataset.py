"""Selection, order and ids of samples."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.errors import DatasetError, SampleError
from engine.skeletons.samples import Sample
from engine.sources.dataset import find_dataset, open_dataset
from engine.sources.formats.poses import Reading
from tests.support.samples import annotation, walking


def write(path: Path, root: Any) -> str:
    path.write_bytes(pickle.dumps(root))
    return str(path)


def ids(samples: Sequence[Sample]) -> list[str]:
    return [s.id for s in samples]


@pytest.mark.parametrize("split", ["train1", "test1", "train2", "test2", "train3", "test3"])
def test_recorded_order(golden: Path, split: str) -> None:
    dataset = open_dataset(str(golden / "annotations.pkl"), split=split)
    expected = json.loads((golden / "expected.json").read_text())["split_order"][split]
    assert ids(dataset.samples) == expected
    assert [s.index for s in dataset.samples] == list(range(len(expected)))


def test_real_sizes(shared: Path) -> None:
    path = str(shared / "data" / "jhmdb_hmdb51_2d.pkl")
    for split, size in (("train1", 433), ("test1", 176), ("test3", 175), ("all", 609)):
        assert len(open_dataset(path, split=split).samples) == size
    assert len(open_dataset(path).samples) == 176
    assert ids(open_dataset(path, limit=3).samples) == ids(open_dataset(path).samples)[:3]
    numpy_2 = open_dataset(str(shared / "data" / "hmdb51_mini.pkl"))
    assert len(numpy_2.samples) == 4


def test_bare_list(tmp_path: Path, make_annotation: Any) -> None:
    path = write(tmp_path / "a.pkl", [make_annotation(seed=i) for i in range(3)])
    assert ids(open_dataset(path).samples) == ["video_0", "video_1", "video_2"]
    with pytest.raises(DatasetError, match="bare list"):
        open_dataset(path, split="test1")


def test_filename_key_and_repeats(tmp_path: Path) -> None:
    annotations = [{"filename": n, "frame_dir": "x"} for n in ("a", "b", "a", "a#2", "a")]
    path = write(tmp_path / "a.pkl", {"split": {"s": ["a", "a#2"]}, "annotations": annotations})
    assert ids(open_dataset(path, split="s").samples) == ["a", "a#2", "a#2#2", "a#3"]


def test_unknown_split(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pkl", {"split": {"val": []}, "annotations": [{"frame_dir": "a"}]})
    with pytest.raises(DatasetError, match="no split 'test1'; it has val. --split NAME"):
        open_dataset(path)
    with pytest.raises(DatasetError, match="selects none"):
        open_dataset(path, split="val")
    assert len(open_dataset(path, split="all").samples) == 1


def test_names_of_a_split_that_are_not_there(tmp_path: Path) -> None:
    splits = {"test1": ["b", "a", "c", "d", "b", "e\n"], "val": ["a"]}
    annotations = [{"frame_dir": "a"}, "junk", {"frame_dir": "f"}]
    path = write(tmp_path / "a.pkl", {"split": splits, "annotations": annotations})
    found = open_dataset(path, limit=1)
    assert found.absent == ["b", "c", "d", "e\n"]
    assert found.lacks == "4 names are not in the file: b, c, d, …"
    for split in ("val", "all"):
        assert (open_dataset(path, split=split).absent, found.identity()) == ([], found.identity())
    only = write(tmp_path / "b.pkl", {"split": {"test1": ["x"]}, "annotations": annotations[::2]})
    with pytest.raises(DatasetError, match="selects none of its annotations; it names x"):
        open_dataset(only)


def test_coordinates_that_are_said(tmp_path: Path) -> None:
    shares = walking() / [640, 480]
    path = write(tmp_path / "a.pkl", [{"keypoint": shares, "img_shape": (480, 640)}] * 2)
    for said, notes in (("auto", ("normalised",)), ("pixels", ()), ("normalised", ("normalised",))):
        reading = Reading(coordinates=said)  # type: ignore[arg-type]
        samples = open_dataset(path, reading=reading).samples
        assert [one.poses(51).notes for one in samples] == [notes, notes]
        assert [one.poses(51).notes for one in samples[1:]] == [notes]


@pytest.mark.parametrize(
    ("usual", "split", "expected"),
    [
        ("xsub_val", None, "xsub_val"),
        ("val", None, "test1"),  # the file has no such split
        (None, None, "test1"),
        ("xsub_val", "test1", "test1"),
        ("xsub_val", "all", "all"),
    ],
)
def test_the_split_that_a_model_is_tested_on(
    tmp_path: Path, usual: str | None, split: str | None, expected: str
) -> None:
    splits = {"test1": ["a"], "xsub_val": ["b"]}
    root = {"split": splits, "annotations": [{"frame_dir": "a"}, {"frame_dir": "b"}]}
    found = find_dataset(write(tmp_path / "a.pkl", root))(split, None, usual)
    assert found.split == expected
    assert ids(found.samples) == {**splits, "all": ["a", "b"]}[expected]


def test_a_bare_list_has_no_usual_split(tmp_path: Path) -> None:
    found = find_dataset(write(tmp_path / "a.pkl", [{"frame_dir": "a"}]))
    assert found(None, None, "val").split == "all"


def test_unknown_name() -> None:
    with pytest.raises(DatasetError, match=r"neither a path nor a known name \(demo, hmdb51, "):
        open_dataset("hmdb52")


def test_entries_without_identifier_are_kept_and_fail(tmp_path: Path) -> None:
    root = {"split": {"test1": ["a"]}, "annotations": [{"frame_dir": "a"}, "junk", {"label": 1}]}
    samples = open_dataset(write(tmp_path / "a.pkl", root)).samples
    assert ids(samples) == ["a", "annotation-1", "annotation-2"]
    with pytest.raises(SampleError, match="is a str, not a dict"):
        samples[1].poses(51)


@pytest.mark.parametrize("label", [51, -1, "wave", 1.5, True])
def test_labels(make_annotation: Any, label: Any) -> None:
    sample = Sample(0, "a", make_annotation(label=label))
    with pytest.raises(SampleError, match="label is"):
        sample.poses(51)


def test_no_label(make_annotation: Any) -> None:
    sample = Sample(0, "a", make_annotation(label=None))
    assert sample.label is None
    assert sample.poses(51).total_frames == 20


ODD_NAMES: list[tuple[Any, str | None]] = [
    ("\udc80x", "\\udc80x"),
    (5, "5"),
    (10**5000, None),
    ([["x"]], None),
    (2.5, None),
]


@pytest.mark.parametrize(("name", "identifier"), ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_odd_names(tmp_path: Path, name: Any, identifier: str | None) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([{"frame_dir": name}]))
    [sample] = open_dataset(str(tmp_path / "a.pkl")).samples
    assert sample.id == (identifier or "annotation-0")


@pytest.mark.parametrize("label", [7.0, np.array(7), np.int8(7), [7], np.array([7.0]), "7"])
def test_whole_numbers_of_any_type(make_annotation: Any, label: Any) -> None:
    sample = Sample(0, "a", make_annotation(label=label, img_shape=(240.0, 320.0)))
    assert sample.label == 7
    assert sample.poses(51).img_shape == (240, 320)


def test_label_beyond_any_machine(make_annotation: Any) -> None:
    sample = Sample(0, "a", make_annotation(label=2**70))
    assert sample.label is None
    with pytest.raises(SampleError, match="label is"):
        sample.poses(51)


def test_ann_file_replaces_named_data_only(tmp_path: Path, make_annotation: Any) -> None:
    path = write(tmp_path / "a.PKL", [make_annotation()])
    assert len(open_dataset("hmdb51", ann_file=path).samples) == 1
    with pytest.raises(DatasetError, match="--ann-file cannot replace"):
        open_dataset(path, ann_file=path)


def test_empty_and_pathlike(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no annotations"):
        open_dataset(write(tmp_path / "a.pkl", []))
    with pytest.raises(DatasetError, match="lacks index.json"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("form", ["pkl", "npz", "jsonl"])
def test_what_a_file_says_of_its_rows(tmp_path: Path, make_annotation: Any, form: str) -> None:
    path, rows = tmp_path / f"a.{form}", [make_annotation(seed=n) for n in range(3)]
    said = [True, False, None]
    if form == "pkl":
        said = [np.bool_(True), False, None]
        write(path, [row | {"tracks": tracks} for row, tracks in zip(rows, said, strict=True)])
    elif form == "jsonl":
        lines = [
            {
                **row,
                **{k: row[k].tolist() for k in ("keypoint", "keypoint_score")},
                "tracks": tracks,
            }
            for row, tracks in zip(rows, said, strict=True)
        ]
        path.write_text("\n".join(map(json.dumps, lines)))
    else:
        said = [True, False, False]
        arrays = {"frame_dir": ["a", "b", "c"], "img_shape": [(240, 320)] * 3, "tracks": said}
        arrays |= {f"{n}/keypoint": row["keypoint"] for n, row in enumerate(rows)}
        np.savez(path, **arrays)
    assert [sample.tracks for sample in open_dataset(str(path)).samples] == said


@pytest.mark.parametrize("form", ["pkl", "npz", "json", "jsonl"])
@pytest.mark.parametrize("way", ["replaced", "written over"])
def test_the_digest_is_of_what_was_read(tmp_path: Path, form: str, way: str) -> None:
    """Somebody replaces the file while the model loads."""
    path, other = tmp_path / f"a.{form}", tmp_path / f"b.{form}"
    for file, seed in ((path, 1), (other, 2)):
        one = annotation(5, seed=seed)
        plain = {key: one[key].tolist() for key in ("keypoint", "keypoint_score")} | {
            "frame_dir": one["frame_dir"],
            "img_shape": [240, 320],
            "total_frames": 5,
        }
        if form == "pkl":
            file.write_bytes(pickle.dumps([one]))
        elif form == "npz":
            arrays = {f"0/{key}": one[key] for key in ("keypoint", "keypoint_score")}
            np.savez(file, frame_dir=[one["frame_dir"]], img_shape=[[240, 320]], **arrays)
        else:
            file.write_text(json.dumps(plain if form == "jsonl" else [plain]))
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    found = find_dataset(str(path))
    if way == "replaced":
        other.replace(path)
    else:
        path.write_bytes(other.read_bytes())
    data = found(None, None, None)
    assert (data.samples[0].id, data.identity()) == ("video_1", before)
