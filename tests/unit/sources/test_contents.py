"""Tables of contents: skeletons in files of their own."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.errors import DatasetError, SampleError
from engine.base.recipe import Recipe
from engine.base.records import Cause
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import Sample
from engine.sources import contents, pickles
from engine.sources.contents import Contents, ListedAnnotation
from engine.sources.dataset import open_dataset
from tests.support.kinetics import compressed, publish
from tests.support.samples import annotation

K400 = Recipe(size=64, fit="stretch", most=10)
WHOLE = [compressed(annotation(20 + n, persons=1 + n % 3, seed=n)) for n in range(5)]


def read(path: Path, **options: Any) -> list[Sample]:
    return [*open_dataset(str(path), split="val", **options).samples]


@pytest.mark.parametrize("form", ["video", "group"])
def test_as_if_in_one_file(tmp_path: Path, form: Any) -> None:
    found = read(publish(tmp_path, WHOLE, form))
    assert [(one.index, one.id, one.label) for one in found] == [
        (n, f"video_{n}", n) for n in range(5)
    ]
    for one, whole in zip(found, WHOLE, strict=True):
        poses, expected = one.poses(51, K400), PoseSequence.from_annotation(whole, K400)
        np.testing.assert_array_equal(poses.keypoint, expected.keypoint)
        assert poses.keypoint_score is not None
        assert expected.keypoint_score is not None
        np.testing.assert_array_equal(poses.keypoint_score, expected.keypoint_score)
        assert poses.img_shape == expected.img_shape


def test_nothing_is_read_before_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a file of several videos once, while they follow each other."""
    path = publish(tmp_path, WHOLE, "group")
    opened = []
    load = pickles.load

    def counting(source: Any) -> Any:
        opened.append(Path(source.name).name)
        return load(source)

    monkeypatch.setattr(pickles, "load", counting)
    samples = open_dataset(str(path), split="val").samples
    assert [one.id for one in samples][4] == "video_4"
    assert [one.label for one in samples] == [*range(5)]
    assert opened == ["k400.pkl"]
    for one in samples:
        one.poses(51, K400)
    assert opened == ["k400.pkl", "0.pkl", "1.pkl"]


def test_what_a_file_says_goes_first(tmp_path: Path) -> None:
    """As in the reference, but for what is needed before it is read."""
    path = publish(tmp_path, WHOLE[:1])
    file = tmp_path / "kpfiles" / "video_0.pkl"
    own = {"keypoint": WHOLE[0]["keypoint"], "img_shape": (720, 1280), "label": 7, "frame_dir": "x"}
    file.write_bytes(pickle.dumps(own))
    [one] = read(path)
    assert isinstance(one.annotation, ListedAnnotation)
    assert (one.label, one.annotation["frame_dir"]) == (0, "video_0")
    assert one.annotation["img_shape"] == (720, 1280)
    assert {"frame_dir", "label", "keypoint", "frame_inds"} <= set(one.annotation)
    assert len(one.annotation) == len(list(one.annotation))


def test_a_missing_and_a_broken_file(tmp_path: Path) -> None:
    path = publish(tmp_path, WHOLE)
    files = tmp_path / "kpfiles"
    (files / "video_1.pkl").unlink()
    (files / "video_2.pkl").write_bytes(b"\x80\x04")
    (files / "video_3.pkl").write_bytes(pickle.dumps(os.system))
    (files / "video_4.pkl").write_bytes(pickle.dumps({"somebody_else": {}}))
    good, *bad = (one.read(51, K400) for one in read(path))
    assert isinstance(good, PoseSequence)
    messages = []
    for cause in bad:
        assert isinstance(cause, Cause)
        assert cause.stage == "read"
        messages.append(cause.message)
    assert f"kpfiles/video_1.pkl, which is not beside {path}" in messages[0]
    assert "video_2.pkl: truncated or not a pickle" in messages[1]
    assert "video_3.pkl: it names posix.system" in messages[2]
    assert "video_4.pkl has no keypoint of video_4" in messages[3]


def test_a_table_alone(tmp_path: Path) -> None:
    path = publish(tmp_path, WHOLE)
    (tmp_path / "kpfiles").rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="is a table of contents.*Put Kinetics-400's kpfiles"):
        open_dataset(str(path), split="val")
    (tmp_path / "kpfiles").symlink_to(tmp_path / "elsewhere")
    assert len(read(path, limit=2)) == 2


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("data/k400/kpfiles/0.pkl", "kpfiles/0.pkl"),
        ("/home/somebody/data/k400/kpfiles/0.pkl", "kpfiles/0.pkl"),
        ("0.pkl", None),
        ("kpfiles/../kpfiles/0.pkl", None),
        ("../k400/kpfiles/0.pkl", None),
        ("kpfiles", None),
        ("", None),
        ("kpfiles/0.pkl\0", None),
        ("x" * 10_000, None),
        (5, None),
    ],
)
def test_where_a_file_may_be(tmp_path: Path, raw: Any, found: str | None) -> None:
    """The longest end of what the table says, beside the table; nothing leads out of there."""
    folder = tmp_path / "k400"
    table = publish(folder, WHOLE, "group")
    files = Contents(table)
    entry = {"frame_dir": "video_0", "raw_file": raw}
    assert files.has(entry) == (found is not None)
    if found is None:
        with pytest.raises(SampleError, match="its skeletons are in .* which is not beside"):
            files.find(entry)
    else:
        assert files.find(entry) == folder / found


@pytest.mark.parametrize("name", ["../secret", "/secret", "a/../../secret"])
def test_an_identifier_that_leads_out(tmp_path: Path, name: str) -> None:
    table = publish(tmp_path / "k400", WHOLE)
    (tmp_path / "k400" / "secret.pkl").write_bytes(b"")
    (tmp_path / "secret.pkl").write_bytes(b"")
    assert not Contents(table).has({"frame_dir": name})


def test_a_file_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [one] = read(publish(tmp_path, WHOLE[:1]))
    monkeypatch.setattr(contents, "memory_limit", lambda: 1000)
    with pytest.raises(SampleError, match="more than half of the memory"):
        one.poses(51, K400)


def test_other_files_keep_their_broken_annotations(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([annotation(20), {"frame_dir": "x", "label": 1}, "junk"]))
    samples = [*open_dataset(str(path)).samples]
    with pytest.raises(SampleError, match="keypoint is missing"):
        samples[1].poses(51)
    with pytest.raises(SampleError, match="is a str, not a dict"):
        samples[2].poses(51)


def test_rows_that_count() -> None:
    """`anno_inds`, as ``DecompressPose`` takes it."""
    whole = WHOLE[1]
    chosen = np.arange(len(whole["frame_inds"])) % 3 > 0
    less = {
        **whole,
        "keypoint": whole["keypoint"][chosen],
        "frame_inds": whole["frame_inds"][chosen],
    }
    found = PoseSequence.from_annotation({**whole, "anno_inds": chosen}, K400)
    expected = PoseSequence.from_annotation(less, K400)
    np.testing.assert_array_equal(found.keypoint, expected.keypoint)
    for wrong in (chosen[1:], chosen.astype(int), "x"):
        with pytest.raises(SampleError, match="anno_inds has dtype"):
            PoseSequence.from_annotation({**whole, "anno_inds": wrong}, K400)
    with pytest.raises(SampleError, match="no rows"):
        PoseSequence.from_annotation({**whole, "anno_inds": np.zeros(len(chosen), bool)}, K400)
