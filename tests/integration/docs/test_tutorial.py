"""The tutorial, from its first block to its last: each beside what those before it left."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest

from tests.integration.docs.commands import ROOT

pytest.importorskip("av")
pytest.importorskip("rtmlib")
pytest.importorskip("pandas")

from tests.integration.video import films
from tests.integration.video.rtsp import Camera

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = _BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text())
PAGE = "http://127.0.0.1:8017/"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a film, and a pose estimator that needs no download."""
    folder = tmp_path_factory.mktemp("tutorial")
    films.film(folder / "clip.mp4", 60)
    films.rtmo(folder / "rtmo.onnx")
    return folder


@pytest.fixture(scope="module")
def camera() -> Iterator[str]:
    """What stands for a camera that a machine without one does not have: one of the network."""
    with Camera(frames=100_000) as camera:
        yield f"rtsp://127.0.0.1:{camera.port}/"


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_the_kinds_of_blocks() -> None:
    """One installs; scripts and commands take turns; all of them are run below."""
    assert [language for language, _ in BLOCKS] == ["", *["python", "python", ""], "", "python", ""]
    assert BLOCKS[0][1].startswith("python3 -m venv")


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (1, r"\(1, \d+, 17, 2\)\n\w+ 0\.\d+\n"),
        (2, r"0 \w+ \[\('\w+', 0\.\d+\), .*\n +id +label +best +name +score\nindex .*\n0 +0 "),
        (3, r"top1_acc\t.*\nwrote table\.csv\n.*wrote report\.html\n$"),
        (4, r"0:01\.\d  clip .*wrote labels\.jsonl\n$"),
        (5, r"clip \d+ 1\.\d+ \w+ 0\.\d+\n"),
    ],
)
def test_a_block_runs(folder: Path, number: int, says: str) -> None:
    language, text = BLOCKS[number]
    if language == "python":
        (folder / "script.py").write_text(text)
        command = [sys.executable, "script.py"]
    else:
        estimated = "video:clip.mp4?estimator=rtmlib&model=rtmo.onnx&people=1"
        command = _command(text.replace("video:clip.mp4", f"'{estimated}'"))
    done = subprocess.run(
        command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(says, done.stdout, re.DOTALL), done.stdout


def test_the_camera_and_its_page(folder: Path, camera: str) -> None:
    more = "?estimator=rtmlib&model=rtmo.onnx&people=1"
    command = _command(BLOCKS[6][1].replace("webcam:0", f"'{camera}{more}'"))
    with subprocess.Popen(
        command, cwd=folder, env=_environment(), stdout=subprocess.PIPE, text=True
    ) as run:
        try:
            assert b"<title>" in _served(PAGE)
        finally:
            run.send_signal(signal.SIGINT)
        said, _ = run.communicate()
    assert run.returncode == 130
    assert "labels  " in said


def _command(text: str) -> list[str]:
    """A line of the page, with this Python in place of the program that an installation makes."""
    program, *words = shlex.split(text)
    assert program == "posec3d"
    return [sys.executable, "-m", "engine", *words]


def _served(address: str) -> bytes:
    """A page that will be there soon."""
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return bytes(answer.read())
        except (URLError, ConnectionError):
            assert time.monotonic() < until
            time.sleep(0.2)
