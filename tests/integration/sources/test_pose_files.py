"""Pose files of another program through whole runs: as a data set, as columns, and as a source."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from converters.annotations import main as convert
from engine.base.errors import DatasetError
from engine.base.records import Failure, Record
from engine.cli.inspect import main as inspect
from engine.pipeline import Pipeline
from tests.support import pose_files
from tests.support.plugin_backend import NAME, register
from tests.support.pose_files import clip
from tests.support.runs import alone, check, options

SIZE = (320, 240)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos, and one of whose frames one is broken."""
    folder = tmp_path / "poses"
    for name, seed in (("first", 1), ("second", 2), ("third", 3)):
        (folder / name).mkdir(parents=True)
        pose_files.openpose("coco17")(folder / name, clip(60, 2, seed), SIZE)
    (folder / "third" / "clip" / "clip_000000000007_keypoints.json").write_text("{")
    return folder


def test_every_way_has_the_same_bits(
    tmp_path: Path, folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(register(tmp_path / "site-packages")))
    annotations = tmp_path / "annotations.pkl"
    made = [
        {
            "frame_dir": name,
            "img_shape": (240, 320),
            "keypoint": np.array(clip(60, 2, seed)).swapaxes(0, 1)[..., :2],
            "keypoint_score": np.array(clip(60, 2, seed)).swapaxes(0, 1)[..., 2],
        }
        for name, seed in (("first", 1), ("second", 2))
    ]
    annotations.write_bytes(pickle.dumps(made))
    columns = tmp_path / "columns"
    assert convert([str(folder), str(columns), "--size", "320x240"]) == 0
    chosen = {"backend": NAME, "layout": "clips", "in_process": True}
    plain = alone(options(annotations, tiny_model, **chosen))
    for path, more in ((folder, {"size": "320x240"}), (columns, {})):
        found = alone(options(path, tiny_model, **chosen, **more))
        broken = found.pop("third")
        assert isinstance(broken, Failure)
        assert (broken.stage, "clip_000000000007_keypoints.json" in broken.message) == (
            "read",
            True,
        )
        records: list[Record] = list(found.values())
        check(records, plain)
    with pytest.raises(DatasetError, match="say it: --size WIDTHxHEIGHT"):
        Pipeline(options(folder, tiny_model, **chosen))


def test_what_the_converter_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pose_files.dwpose(tmp_path, clip(3), SIZE)
    for source, more, said in (
        (path, ["--size", "9x9"], "has 320x240 pixels; leave --size 9x9 out"),
        (path, ["--joints", "ntu25"], "--joints ntu25: choose from coco17, "),
        (tmp_path / "none", [], "no such file"),
        (tmp_path, ["--size", "9x9"], "leave --size 9x9 out"),
    ):
        assert convert([str(source), str(tmp_path / "columns"), *more]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "columns").exists()


def test_columns_are_inspected(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert([str(folder), str(tmp_path / "columns"), "--size", "320x240"]) == 0
    assert inspect([str(tmp_path / "columns")]) == 0
    said = capsys.readouterr().out
    assert "3: first, second, third" in said
    assert "refused" in said
