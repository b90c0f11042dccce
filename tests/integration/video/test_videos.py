"""Videos and cameras as sources: a process of their own, and what becomes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from engine.base.errors import SourceError, UsageError
from engine.sources.pose_frames import PoseFrame, decode, parse
from engine.sources.source import Lost, open_source
from engine.sources.video import watcher
from tests.support.leaks import descendants

av = pytest.importorskip("av")
pytest.importorskip("rtmlib")

from tests.integration.video import films  # noqa: E402
from tests.integration.video.rtsp import Camera  # noqa: E402
from tests.integration.video.web import served  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return films.rtmo(tmp_path_factory.mktemp("model") / "rtmo.onnx")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return films.film(tmp_path / "film.mp4", 40)


def uri(source: object, model: Path, *more: str) -> str:
    return "&".join([f"{source}?estimator=rtmlib", f"model={model}", *more])


def estimator() -> int:
    """The process that looks at the video."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for pid in descendants(os.getpid()):
            if "engine.sources.video.estimation" in psutil.Process(pid).cmdline():
                return pid
        time.sleep(0.05)
    raise AssertionError("no such process")


def frames(messages: Iterator[Any]) -> list[PoseFrame]:
    return [parse(decode(m)) for m in messages if isinstance(m, bytes)]


def test_every_frame_of_a_file(film: Path, model: Path) -> None:
    source = open_source(uri(f"video:{film}", model))
    assert (source.name, source.live, source.video) == (f"video:{film}", False, str(film))
    found = frames(source.messages(lambda: False))
    assert [frame.frame for frame in found] == list(range(40))
    assert [frame.end for frame in found] == [False] * 39 + [True]
    assert {(f.stream, f.size, f.rate) for f in found} == {("film", (160, 120), 30)}
    for frame in found:
        [person] = frame.people
        within = person.kpts[3, :2] - films.BODY[3] - films.corner(frame.frame)  # the square
        assert -2 <= within.min() <= within.max() <= films.SIDE + 2


def test_a_file_played_as_a_camera_would(film: Path, model: Path) -> None:
    source = open_source(uri(f"video:{film}", model, "live"))
    assert source.live
    messages = list(source.messages(lambda: False))
    lost = sum(message.frames for message in messages if isinstance(message, Lost))
    found = frames(iter(messages))
    assert len(found) + lost == 40
    assert abs(found[-1].t - time.time()) < 60


def test_told_to_stop(film: Path, model: Path) -> None:
    stopping = False
    messages = open_source(uri(f"video:{film}", model)).messages(lambda: stopping)
    next(messages)
    stopping = True
    assert len(list(messages)) < 40
    assert not descendants(os.getpid())


def test_its_process_dies(film: Path, model: Path) -> None:
    messages = open_source(uri(f"video:{film}", model, "live")).messages(lambda: False)
    next(messages)
    os.kill(estimator(), signal.SIGKILL)
    with pytest.raises(SourceError, match=r"the process of the pose estimator has ended \(SIGKILL"):
        list(messages)


def test_it_goes_with_its_parent(film: Path, model: Path) -> None:
    code = (
        "import sys, time; from engine.sources.source import open_source\n"
        "next(open_source(sys.argv[1]).messages(lambda: False)); print('on', flush=True)\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, uri(f"video:{film}", model, "live")], stdout=subprocess.PIPE
    )
    # it ends with the generator there, so the parent is stopped while it looks
    with parent:
        assert parent.stdout is not None
        pid = estimator()
        parent.kill()
    until = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_a_camera_is_opened_anew(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs up after a second; numbers go on with the time."""
    monkeypatch.setattr(watcher, "_LONGEST_PAUSE_S", 0.1)
    with Camera(frames=25) as camera:
        address = f"rtsp://me:secret@127.0.0.1:{camera.port}/cam?channel=1"
        source = open_source(address + f"&estimator=rtmlib&model={model}")
        assert "secret" not in source.name
        stopping, found = threading.Event(), []
        for message in source.messages(stopping.is_set):
            if isinstance(message, bytes):
                found.append(parse(decode(message)))
            if len(camera.asked) == 2 and isinstance(message, bytes):
                stopping.set()
        assert all(url.endswith("/cam?channel=1") for url in camera.asked)
    numbers = [frame.frame for frame in found]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] - numbers[0] >= 25  # the pause is among them
    assert {frame.rate for frame in found} == {25}
    assert "secret" not in found[0].stream
    assert all(38 <= person.kpts[0, 1] <= 58 for frame in found for person in frame.people)
    assert any(frame.people for frame in found)


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp", "http", "https"])
def test_a_camera_that_never_answered(scheme: str, model: Path) -> None:
    source = open_source(uri(f"{scheme}://127.0.0.1:9/cam", model))
    assert source.live
    with pytest.raises(SourceError, match="127.0.0.1:9/cam: "):
        list(source.messages(lambda: False))
    with pytest.raises(UsageError, match=f"{scheme}://HOST/PATH is needed"):
        open_source(uri(f"{scheme}:nowhere", model))


@pytest.mark.slow
def test_of_the_web(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A film is read as a file is; a camera is opened anew when it hangs up."""
    monkeypatch.setattr(watcher, "_LONGEST_PAUSE_S", 0.1)
    film, asked = films.film(tmp_path / "film.mkv", 20), list[str]()
    with served(film, asked) as port:
        here = f"127.0.0.1:{port}"
        source = open_source(uri(f"http://me:secret@{here}/film.mkv", model))
        assert (source.name, source.live) == (f"http://{here}/film.mkv", False)
        found = frames(source.messages(lambda: False))
        of_file = frames(open_source(uri(f"video:{film}", model)).messages(lambda: False))
        assert [(f.frame, f.t, f.end) for f in found] == [(f.frame, f.t, f.end) for f in of_file]
        assert len(found) == 20

        source = open_source(f"http://{here}/cam?channel=1&pwd=secret&{uri('', model)[1:]}")
        assert source.live
        assert "secret" not in source.name
        stopping, seen = threading.Event(), list[PoseFrame]()
        for message in source.messages(stopping.is_set):
            if isinstance(message, bytes):
                seen.append(parse(decode(message)))
                if asked.count("/cam?channel=1&pwd=secret") >= 2:
                    stopping.set()
        assert any(frame.people for frame in seen)
        numbers = [frame.frame for frame in seen]
        assert numbers == sorted(set(numbers))


def test_a_path_alone(film: Path, model: Path) -> None:
    """`--source x.mp4`, whatever the case of its ending."""
    loud = film.rename(film.with_suffix(".MP4"))
    source = open_source(uri(loud, model))
    assert (source.name, source.live, source.video) == (f"video:{loud}", False, str(loud))
    with pytest.raises(UsageError, match=r"--source nowhere.mp4: no such file"):
        open_source("nowhere.mp4")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("video:nowhere.mp4", "no such file"),
        ("video:film.mp4?estimator=yolo", "known: mediapipe, rtmlib"),
        ("video:film.mp4?colour=red", "unknown colour; known: detector, estimator, live, model"),
        ("video:film.mp4?model=nowhere.task", "model=nowhere.task: no such file"),
        ("video:film.mp4?estimator=rtmlib", "needs model=RTMO.onnx"),
        ("video:film.mp4?estimator=rtmlib&model=film.mp4&detector=x", "detector=x: no such file"),
        ("video:film.mp4?model=film.mp4&people=0", "a number from 1 to 200"),
        ("webcam:77", "there is no /dev/video77"),
    ],
)
def test_refused(source: str, said: str, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(film.parent)
    with pytest.raises(UsageError, match=said):
        open_source(source)


def test_drawn(film: Path, model: Path, tiny_model: Path, tmp_path: Path) -> None:
    """From a video to labels and to a video with them."""
    target = tmp_path / "drawn.mp4"
    command = [
        sys.executable,
        "-m",
        "engine.run",
        "--source",
        uri(f"video:{film}", model),
        "--model",
        tiny_model,
        "--threshold",
        "0",
        "--output",
        tmp_path / "labels.jsonl",
        "--save-video",
        target,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    [label] = map(orjson.loads, (tmp_path / "labels.jsonl").read_bytes().splitlines())
    assert (label["stream"], label["who"], label["last"]) == ("film", "track-0", 39)
    with av.open(str(target)) as container:
        drawn = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert container.streams.video[0].codec_context.name == "h264"
    assert len(drawn) == 40
    for number in (0, 20, 39):
        pixels, (x, y) = drawn[number].astype(int), films.corner(number)
        orange = pixels[..., 0] - pixels[..., 2] > 80
        assert orange[y : y + films.SIDE, x : x + films.SIDE].any()  # joints
        assert orange[y - 14 : y + 10, x + 45 :].any()  # text
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_nothing_to_draw_over(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    command = [
        sys.executable,
        "-m",
        "engine.run",
        "--source",
        f"jsonl:{tmp_path / 'a.jsonl'}",
        "--model",
        tiny_model,
        "--save-video",
        tmp_path / "a.mp4",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert b"--save-video draws over the one video" in done.stderr
