"""``python -m engine.inspect``: what it says of files, and its pictures."""

from __future__ import annotations

import json
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from engine.cli.inspect import main
from engine.outputs.picture import braille, png, svg
from tests.support import pose_files
from tests.support.pose_files import FORMS, clip
from tests.support.samples import annotation

SIZE = (320, 240)


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.out + captured.err


def fact(text: str, topic: str) -> str:
    """The line of a topic."""
    [line] = [line for line in text.splitlines() if line.startswith(topic)]
    return line.removeprefix(topic).strip()


@pytest.mark.parametrize("form", FORMS)
def test_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    about = FORMS[form]
    path = about.write(tmp_path, clip(5, 2 if about.people > 1 else 1), SIZE)
    size = [] if about.sized else ["--size", "320x240"]
    text = said(capsys, path, *size)
    assert fact(text, "frames ") == "5 to 5 a video"
    assert fact(text, "picture") == "320x240 (1)"
    assert fact(text, "videos").startswith("1: ")
    assert fact(text, "joints") != "unknown"
    assert "shares" in fact(text, "coordinates") if about.shares else True
    assert "odd" not in text
    assert "refused" not in text


def test_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = [annotation(seed=seed, persons=2) for seed in (3, 4)]
    annotations.append({**annotation(seed=5), "keypoint": np.zeros((1, 20, 9, 2))})
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"annotations": annotations, "split": {"test1": ["video_3"]}}))
    text = said(capsys, path)
    assert fact(text, "labels") == "3, 4, 5; 0 without"
    assert fact(text, "rows") == "persons, who keep to theirs (2)"
    assert "1: keypoint has 9 joints" in fact(text, "refused")
    assert fact(said(capsys, path, "--split", "test1"), "videos") == "1: video_3"
    assert "looked at" in said(capsys, path, "--limit", "1")


def test_what_looks_odd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = annotation(30)
    height = np.arange(17.0)[None, None, :]
    wrong = {
        "shares": {"keypoint": whole["keypoint"] / [320, 240]},
        "corner": {"img_shape": (1080 * 2, 1920 * 2)},
        "outside": {"img_shape": (60, 60)},
        "many": {"keypoint": whole["keypoint"].swapaxes(0, 1), "keypoint_score": None},
        "empty": {"keypoint": whole["keypoint"] * 0},
        "up": {"keypoint": np.stack([height + 100, 200 - 8 * height], -1) * np.ones((1, 30, 1, 1))},
    }
    for name, more in wrong.items():
        more = {"total_frames": None, **more}
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(pickle.dumps([{**whole, **more, "frame_dir": name}]))
    expected = {
        "shares": ("noted", "coordinates are shares of the picture"),
        "corner": ("odd", "another size?"),
        "outside": ("noted", "is img_shape (height, width) that of the video?"),
        "many": ("odd", "more persons than frames"),
        "empty": ("noted", "nobody is seen"),
        "up": ("noted", "does y point up?"),
    }
    for name, (topic, what) in expected.items():
        lines = said(capsys, tmp_path / f"{name}.pkl").splitlines()
        assert any(what in line for line in lines if line.startswith(topic)), name


def test_nothing_that_can_be_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"image_id": "1.jpg", "keypoints": [1.0, 2.0, 1.0] * 10}]))
    assert "10 joints" in fact(said(capsys, path, "--size", "9x9", code=3), "refused")
    assert "say it: --size" in said(capsys, path, code=2)
    assert "--picture x.gif: a file .svg or .png" in said(
        capsys, path, "--picture", "x.gif", code=2
    )
    assert "neither a path nor a known name" in said(capsys, tmp_path / "none", code=2)


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    path = pose_files.dwpose(tmp_path, clip(3, 2), SIZE)
    out = tmp_path / f"frame.{ending}"
    assert f"wrote {out}" in said(capsys, path, "--picture", out)
    assert out.read_bytes().startswith(b"<svg" if ending == "svg" else b"\x89PNG")


def person() -> Any:
    """Somebody upright, one of whose ankles was not seen."""
    found = np.ones((17, 3), np.float32)
    found[:, 0] = 40 + 10 * (np.arange(17) % 2)
    found[:, 1] = 10 + 5 * np.arange(17)
    found[16] = 0
    return found


def test_pictures_show_what_is_seen() -> None:
    people = np.stack([person()])
    root = ElementTree.fromstring(svg(people, (100, 120)))
    circles = [e for e in root.iter() if e.tag.endswith("circle")]
    assert len(circles) == 16
    assert (circles[0].get("cx"), circles[0].get("cy")) == ("40.0", "10.0")
    content = png(people, (100, 120))
    assert struct.unpack(">II", content[16:24]) == (100, 120)
    start = content.index(b"IDAT") + 4
    [length] = struct.unpack(">I", content[start - 8 : start - 4])
    rows = np.frombuffer(zlib.decompress(content[start : start + length]), np.uint8)
    pixels = rows.reshape(120, 301)[:, 1:].reshape(120, 100, 3)
    assert pixels[10, 40].tolist() == [230, 159, 0]
    assert pixels[0, 0].tolist() == [24, 24, 28]
    lines = braille(people, (100, 120), 20, 6)
    assert len(lines) <= 6
    assert all(len(line) <= 20 for line in lines)
    assert any(line.strip("⠀") for line in lines)


def test_joints_far_outside_are_no_trouble() -> None:
    people = np.full((1, 17, 3), 1e9, np.float32)
    assert svg(people, (9, 9))
    assert png(people, (9, 9))
    assert braille(people, (9, 9), 5, 5)
