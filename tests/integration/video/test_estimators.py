"""Real estimators: rtmlib around models that follow a rule, MediaPipe's where it is at hand."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.errors import ModelError
from engine.live.tracking import Tracker

pytest.importorskip("av")
pytest.importorskip("mediapipe")
pytest.importorskip("rtmlib")

from engine.sources.pose_frames import Person, PoseFrame
from engine.sources.video.blazepose import BlazePose, region
from engine.sources.video.capture import Capture
from engine.sources.video.estimators import ESTIMATORS
from engine.sources.video.settings import VideoSettings
from tests.integration.video import films


def test_rtmo(tmp_path: Path) -> None:
    model = films.rtmo(tmp_path / "rtmo.onnx")
    find = ESTIMATORS["rtmlib"](VideoSettings("", estimator="rtmlib", model=str(model)))
    for number in (0, 20):
        [kpts] = find(films.picture(number))
        np.testing.assert_allclose(kpts[:, :2], films.BODY + films.corner(number), atol=1.5)
        np.testing.assert_array_equal(kpts[:, 2], 1)
    assert find(np.zeros((120, 160, 3), np.uint8)) == []


def test_yolox_and_rtmpose(tmp_path: Path) -> None:
    """Where the detector sees somebody: here around a corner of the square. Nobody is there where
    it sees nobody."""
    settings = VideoSettings(
        "",
        estimator="rtmlib",
        model=str(films.rtmpose(tmp_path / "p.onnx")),
        detector=str(films.yolox(tmp_path / "d.onnx")),
    )
    find = ESTIMATORS["rtmlib"](settings)
    for number in (0, 20):
        [kpts] = find(films.picture(number))
        np.testing.assert_allclose(kpts[:, :2], [films.corner(number)] * 17, atol=2.5)
    assert find(np.zeros((120, 160, 3), np.uint8)) == []


@pytest.mark.parametrize("name", ["mediapipe", "rtmlib"])
def test_no_model(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="model"):
        ESTIMATORS[name](VideoSettings("", estimator=name, model=str(path)))


class World:
    """People whose places are known, seen in a part of the picture if they are all in it."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.pixels = np.zeros((size[1], size[0], 3), np.uint8)
        self.people: list[Any] = []
        self.looked = 0
        height, width = self.pixels.shape[:2]
        # each pixel says where it is, so that whoever is shown a part can tell which
        self.pixels[..., 0] = np.arange(width) // 4
        self.pixels[..., 1] = (np.arange(height) // 4)[:, None]

    def __call__(self, pixels: Any) -> list[Any]:
        self.looked += 1
        origin = np.array([4 * int(pixels[0, 0, 0]), 4 * int(pixels[0, 0, 1])], np.float32)
        size = np.array(pixels.shape[1::-1])
        found = []
        for kpts in self.people:
            at = kpts[:, :2] - origin
            if (at >= -4).all() and (at <= size + 4).all() and np.ptp(at) > size.max() / 8:
                found.append(np.concatenate([at, kpts[:, 2:]], axis=1))
        return found


BODY = np.random.default_rng(3).uniform(0, 1, (17, 2)).astype(np.float32) * (30, 80)


def somebody(x: float, y: float) -> Any:
    kpts = np.ones((17, 3), np.float32)
    kpts[:, :2] = BODY + np.float32([x, y])
    return kpts


def test_people_are_followed_and_newcomers_found() -> None:
    world: Any = World((640, 480))
    find = BlazePose(world, people=3)
    assert find(world.pixels) == []
    for number in range(40):
        world.people = [somebody(50 + 3 * number, 100), somebody(400 - 3 * number, 300)]
        found = find(world.pixels)
        if number > 12:  # by then each part has been searched
            np.testing.assert_allclose(
                sorted(k[0, 0] for k in found), sorted(k[0, 0] for k in world.people), atol=4
            )
    world.people = [somebody(100 * n, 200) for n in range(5)]
    for _ in range(30):
        found = find(world.pixels)
    assert len(found) == 3  # at most


def test_a_region_is_within_the_picture() -> None:
    assert region(somebody(-20, -50), 480, 640)[:2] == (0, 0)
    left, top, right, bottom = region(somebody(620, 460), 480, 640)
    assert (right, bottom) == (640, 480)
    assert left < right
    assert top < bottom


@pytest.mark.slow
def test_two_who_embrace_keep_their_ids(shared: Path) -> None:
    """In a real video both are there from the second frame to nearly the last one."""
    model = shared / "models" / "pose_landmarker_lite.task"
    video = shared / "media" / "demo_skeleton.mp4"
    if not model.is_file() or not video.is_file():
        pytest.skip(f"no {model.name} or {video.name} in {shared}")
    find, tracker, seen = (
        ESTIMATORS["mediapipe"](VideoSettings("", model=str(model))),
        Tracker(),
        [],
    )
    with closing(Capture(VideoSettings(str(video)))) as capture:
        for picture in capture:
            height, width = picture.pixels.shape[:2]
            people = tuple(Person(None, kpts) for kpts in find(picture.pixels))
            frame = PoseFrame("s", picture.number, picture.t, (width, height), people)
            seen.append({person.id for person in tracker.track(frame).people})
    both = [{"track-0", "track-1"} <= ids for ids in seen]
    assert len(both) == 72
    assert all(both[5:60])
    assert set().union(*seen[:60]) == {"track-0", "track-1"}
