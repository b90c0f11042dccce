"""Recorded sources: what their files hold, frame by frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.errors import SourceError, UsageError
from engine.sources.pose_frames import MAX_BYTES, PoseFrame, decode, parse
from engine.sources.recorded import frames_of
from engine.sources.source import open_source
from tests.support.samples import annotation


def messages(uri: str) -> list[Any]:
    """Pose frames of a source, and what it refuses."""
    found = open_source(uri).messages(lambda: False)
    return [parse(one) if isinstance(one, dict) else one for one in found]


def openpose_file(folder: Path, number: int, people: list[Any]) -> None:
    path = folder / f"clip_{number:012d}_keypoints.json"
    path.write_text(json.dumps({"version": 1.3, "people": people}))


@pytest.mark.parametrize(("joints", "nose", "left_hip"), [(25, 0, 12), (18, 0, 11)])
def test_openpose(tmp_path: Path, joints: int, nose: int, left_hip: int) -> None:
    flat = np.arange(3 * joints, dtype=float)
    flat[2::3] = 0.5
    for number in range(3):
        openpose_file(
            tmp_path,
            number,
            [
                {"person_id": [-1], "pose_keypoints_2d": flat.tolist()},
                {"person_id": [4], "pose_keypoints_2d": (flat + [1, 1, 0] * joints).tolist()},
            ],
        )
    openpose_file(tmp_path, 3, [])
    frames = messages(f"openpose:{tmp_path}@640x480")
    assert [frame.frame for frame in frames] == [0, 1, 2, 3]
    assert [frame.end for frame in frames] == [False, False, False, True]
    assert frames[3].people == ()
    assert [frame.t for frame in frames] == [number / 30 for number in range(4)]
    first, second = frames[0].people
    assert (first.id, second.id, frames[0].size) == (None, 4, (640, 480))
    np.testing.assert_array_equal(first.kpts[0], flat.reshape(-1, 3)[nose])
    np.testing.assert_array_equal(first.kpts[11], flat.reshape(-1, 3)[left_hip])


def test_an_openpose_file_that_is_broken(tmp_path: Path) -> None:
    openpose_file(tmp_path, 0, [])
    openpose_file(tmp_path, 1, [{"pose_keypoints_2d": [1.0] * 30}])
    openpose_file(tmp_path, 2, [])
    (tmp_path / "clip_3_keypoints.json").write_text("{")
    found = messages(f"openpose:{tmp_path}@640x480")
    assert [type(item) for item in found] == [PoseFrame, SourceError, PoseFrame, SourceError]
    assert "10 joints, which no layout has" in str(found[1])
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="lacks index.json"):
        open_source(f"openpose:{tmp_path}/none@640x480")


def test_frames_of_an_annotation() -> None:
    from engine.skeletons.samples import Sample

    whole = annotation(30, persons=2, seed=4)
    whole["keypoint"][1, 10:20] = 0  # away for a while
    frames = [f for f in frames_of(Sample(0, "v", whole), 25) if isinstance(f, PoseFrame)]
    assert [[p.id for p in frame.people] for frame in frames] == [
        [0] if 10 <= n < 20 else [0, 1] for n in range(30)
    ]
    assert (frames[3].size, frames[3].rate, frames[3].t) == ((320, 240), 25, 3 / 25)
    np.testing.assert_array_equal(frames[5].people[1].kpts[:, :2], whole["keypoint"][1, 5])
    [first, *_] = frames_of(Sample(0, "v", whole))
    assert isinstance(first, PoseFrame)
    assert (first.rate, np.isnan(first.t)) == (None, True), "left to --fps"
    [error] = frames_of(Sample(0, "v", {"junk": 1}))
    assert isinstance(error, SourceError)


def test_a_line_that_is_too_long_is_refused_as_a_whole(tmp_path: Path) -> None:
    path, good = tmp_path / "p.jsonl", b'{"stream": "s"}\n'
    for pad in (MAX_BYTES, MAX_BYTES + 1, MAX_BYTES + 2, 3 * MAX_BYTES + 6):
        path.write_bytes(b"#" * pad + good + good + b"#" * pad + good.strip())
        first, second, third = messages(f"jsonl:{path}")
        assert (first[:1], second, third[:1]) == (b"#", good, b"#")
        for refused in (first, third):
            with pytest.raises(SourceError, match="bytes; at most"):
                decode(refused)
    path.write_bytes(b"#" * (MAX_BYTES + 1) + b"\n" + good)
    assert messages(f"jsonl:{path}")[1:] == [good]
