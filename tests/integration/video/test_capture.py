"""Pictures of recordings: all of them, in their order, whatever the file is like."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from engine.base.errors import SourceError

av = pytest.importorskip("av")

from engine.sources.video.capture import Capture, Picture  # noqa: E402
from engine.sources.video.settings import VideoSettings, without_password  # noqa: E402
from tests.integration.video.films import HEIGHT, WIDTH, corner, film  # noqa: E402


def pictures(path: Path) -> list[Picture]:
    with closing(Capture(VideoSettings(str(path)))) as capture:
        return list(capture)


def brightest(picture: Picture) -> tuple[int, int]:
    rows, columns = np.nonzero(picture.pixels[..., 0] > 200)
    return int(columns.min()), int(rows.min())


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "libx264")]
)
def test_all_frames_in_order(name: str, codec: str, tmp_path: Path) -> None:
    found = pictures(film(tmp_path / name, 30, codec=codec))
    assert [picture.number for picture in found] == list(range(30))
    assert all(picture.pixels.shape == (HEIGHT, WIDTH, 3) for picture in found)
    assert all(picture.pixels.flags.c_contiguous for picture in found)
    for picture in found:
        x, y = corner(picture.number)
        np.testing.assert_allclose(brightest(picture), (x, y), atol=2)
    times = np.array([picture.t for picture in found])
    np.testing.assert_allclose(np.diff(times), 1 / 30, atol=2e-3)


def test_a_title_in_an_old_encoding(tmp_path: Path) -> None:
    path = film(tmp_path / "a.avi", 3, codec="mpeg4", title="XXXX")
    path.write_bytes(path.read_bytes().replace(b"XXXX", b"Jos\xe9"))
    assert len(pictures(path)) == 3


def test_damaged_in_the_middle(tmp_path: Path) -> None:
    """What can be decoded is, and the rest is counted."""
    path = film(tmp_path / "a.avi", 60, codec="png")
    data = bytearray(path.read_bytes())
    middle = data.index(b"IHDR", len(data) // 2)
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    with closing(Capture(VideoSettings(str(path)))) as capture:
        found = list(capture)
        assert 55 <= len(found) < 60
        assert capture.bad >= 1


def test_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"not a film" * 100)
    with pytest.raises(SourceError, match=r"a\.mp4: "):
        Capture(VideoSettings(str(tmp_path / "a.mp4")))
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 100), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(SourceError, match="has no video in it"):
        Capture(VideoSettings(str(tmp_path / "a.wav")))


def test_played_as_a_camera_would(tmp_path: Path) -> None:
    """At its own speed; who looks too slowly gets the newest frames, and a count of the others."""
    settings = VideoSettings(str(film(tmp_path / "a.mp4", 30)), live=True, paced=True)
    with closing(Capture(settings)) as capture:
        begun, found = time.monotonic(), []
        for picture in capture:
            found.append(picture.number)
            np.testing.assert_allclose(brightest(picture)[0], corner(picture.number)[0], atol=2)
            time.sleep(0.1)
        assert 0.9 < time.monotonic() - begun < 5
        assert found == sorted(set(found))
        assert found[-1] == 29
        assert len(found) + capture.lost == 30
        assert capture.lost > 10


def test_passwords_are_not_shown() -> None:
    assert without_password("rtsp://me:se@cret@host:554/a/b@2") == "rtsp://host:554/a/b@2"
    assert without_password("/a/b@c.mp4") == "/a/b@c.mp4"
    for scheme in ("http", "https", "rtmp"):
        shown = without_password(f"{scheme}://me:secret@host/a?usr=me&pwd=secret&channel=1&token=x")
        assert shown == f"{scheme}://host/a?usr=…&pwd=…&channel=1&token=…"
    assert without_password("http://host?user=me") == "http://host?user=…"
