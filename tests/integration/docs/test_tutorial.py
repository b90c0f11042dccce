"""The tutorial, from its first block to its last: each beside what those before it left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.docs.commands import ROOT

pytest.importorskip("av")
pytest.importorskip("rtmlib")
pytest.importorskip("pandas")

from tests.integration.video import films
from tests.integration.video.rtsp import Camera

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = _BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text())
ESTIMATED = "?estimator=rtmlib&model=rtmo.onnx&people=1"
"""Behind a video or a camera: who looks for people, in place of what would be downloaded."""
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
    "chain",
    [
        {1: r"\(1, 48, 17, 2\)\nkick 0\.\d+\n"},
        pytest.param(
            {
                2: r"1 \w+ \[\('\w+', 0\.\d+\), .*\n +id +label +best +name +score\nindex.*\n0 +1 ",
                3: r"top1_acc\t.*\nwrote table\.csv\n.*wrote report\.html\n$",
            },
            marks=pytest.mark.slow,
        ),
        {4: r"0:01\.\d  clip .*wrote labels\.jsonl\n$", 5: r"clip track-0 1\.\d+ \w+ 0\.\d+\n"},
    ],
    ids=["array", "folder", "video"],
)
def test_blocks_run(folder: Path, chain: dict[int, str]) -> None:
    for number, says in chain.items():
        language, text = BLOCKS[number]
        if language == "python":
            (folder / "script.py").write_text(text)
            command = [sys.executable, "script.py"]
        else:
            command = _command(text.replace("clip.mp4", f"clip.mp4{ESTIMATED}"))
        done = subprocess.run(
            command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert re.search(says, done.stdout, re.DOTALL), done.stdout


@pytest.mark.slow
def test_the_camera_and_its_page(folder: Path, camera: str) -> None:
    command = _command(BLOCKS[6][1].replace("webcam:0", f"{camera}{ESTIMATED}"))
    with subprocess.Popen(
        command, cwd=folder, env=_environment(), stdout=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout is not None
            assert any(re.match(r"\d\d:\d\d:\d\d  ", line) for line in run.stdout)
            with urllib.request.urlopen(PAGE, timeout=20) as answer:
                assert b"<title>" in answer.read()
        finally:
            run.send_signal(signal.SIGINT)
        said = run.stdout.read()
    assert run.returncode == 130
    assert "labels  " in said


def _command(text: str) -> list[str]:
    """A line of the page, with this Python in place of the program that an installation makes."""
    program, *words = text.split()
    assert program == "posec3d"
    return [sys.executable, "-m", "engine", *words]
