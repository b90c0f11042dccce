"""A folder of arrays is a data set: a sample a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.errors import DatasetError
from engine.base.records import Cause
from engine.skeletons.samples import ANY_CLASSES
from engine.sources.dataset import open_dataset
from engine.sources.formats.poses import Reading
from tests.support.samples import annotation


def fields(seed: int, **more: Any) -> dict[str, Any]:
    whole = annotation(12, persons=1 + seed % 2, seed=seed, **more)
    return {key: whole[key] for key in ("keypoint", "keypoint_score", "img_shape", "label")}


def as_json(about: dict[str, Any]) -> str:
    return json.dumps({key: np.asarray(value).tolist() for key, value in about.items()})


def test_a_sample_a_file(tmp_path: Path) -> None:
    written = {f"{name}": fields(seed) for seed, name in enumerate(("a", "b", "c"))}
    np.savez(tmp_path / "a.npz", **written["a"])
    np.savez_compressed(tmp_path / "b.npz", **written["b"])
    (tmp_path / "c.json").write_text(as_json(written["c"]))
    (tmp_path / "notes.md").write_text("not a sample")
    samples = open_dataset(str(tmp_path)).samples
    assert [one.id for one in samples] == ["a", "b", "c"]
    for one in samples:
        poses = one.read(ANY_CLASSES)
        assert not isinstance(poses, Cause)
        assert one.label == written[one.id]["label"]
        assert poses.img_shape == (240, 320)
        np.testing.assert_array_equal(poses.keypoint, written[one.id]["keypoint"])
        np.testing.assert_array_equal(poses.keypoint_score, written[one.id]["keypoint_score"])


def test_bare_arrays_need_a_size(tmp_path: Path) -> None:
    keypoint = fields(0)["keypoint"]
    np.save(tmp_path / "one.npy", keypoint[0].astype(np.float32))
    (tmp_path / "two.json").write_text(json.dumps(keypoint.astype(float).tolist()))
    with pytest.raises(DatasetError, match="--size WIDTHxHEIGHT"):
        open_dataset(str(tmp_path))
    samples = open_dataset(str(tmp_path), reading=Reading.of("320x240", None)).samples
    assert [(one.id, one.label) for one in samples] == [("one", None), ("two", None)]
    for one in samples:
        poses = one.read(ANY_CLASSES)
        assert not isinstance(poses, Cause)
        np.testing.assert_array_equal(poses.keypoint, keypoint)


def test_frames_that_do_not_count(tmp_path: Path) -> None:
    for name, total in (("a", 5), ("b", 99), ("c", "many")):
        np.savez(tmp_path / f"{name}.npz", **fields(0), total_frames=total)
    found = [one.read(ANY_CLASSES) for one in open_dataset(str(tmp_path)).samples]
    assert [poses.keypoint.shape[1] for poses in found if not isinstance(poses, Cause)] == [
        5,
        12,
        12,
    ]


@pytest.mark.parametrize("label", ["wave", -1, 2.5, [1, 2]])
def test_a_label_that_is_none(tmp_path: Path, label: Any) -> None:
    np.savez(tmp_path / "a.npz", **{**fields(0), "label": label})
    (tmp_path / "b.json").write_text(as_json({**fields(0), "label": label}))
    assert [one.label for one in open_dataset(str(tmp_path)).samples] == [None, None]


def test_a_file_that_is_damaged_costs_its_sample(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", **fields(0))
    (tmp_path / "torn.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:500])
    good, torn = open_dataset(str(tmp_path)).samples
    assert not isinstance(good.read(ANY_CLASSES), Cause)
    refused = torn.read(ANY_CLASSES)
    assert isinstance(refused, Cause)
    assert "torn.npz" in refused.message
