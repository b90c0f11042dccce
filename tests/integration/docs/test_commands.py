"""The commands of the documentation: all of them are parsed, and those that can be are run."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from converters import onnx2om
from engine.base.records import Prediction
from engine.pipeline import Pipeline
from tests.integration.docs.commands import PAGES, ROOT, Command, blocks, check, commands
from tests.support.runs import options
from tests.support.samples import annotation

NOT_OURS = {
    "source": "a shell's",
    ".": "a shell's",
    "npu-smi": "of an Ascend host",
    "docker": "of an Ascend host",
    "python3.8": "an old Python for mmaction2",
    "git": "needs a network",
    "cd": "a shell's",
}
THEIRS = {"venv", "ais_bench", "ruff", "mypy"}  # modules

PARSED = {
    "hmdb51": "downloads data and weights",
    "ntu60_2d": "as hmdb51",
    "zmq+pull:": "waits for somebody who sends poses",
    "ws:": "waits for a browser",
    "webcam:": "needs a camera",
    "video:": "needs a video; tests/integration/video has one",
    "sequences": "of the tutorial, which test_tutorial runs from its first block",
    "--source demo": "has no end",
    "--cluster": "needs Ray; tests/cluster runs it",
    "--listen": "needs two machines; tests/chaos runs guests on one",
    "engine.join": "as --listen",
    "int8": "takes minutes; tests/integration/converters quantises",
    "LOGITS.npz": "needs a hundred samples; tests/integration/test_clips.py calibrates",
    "OTHER.pkl": "as LOGITS.npz",
    "CONFIG": "needs a checkpoint of mmaction2; tests/integration/converters has small ones",
    "converters.survey": "needs checkouts; tests/unit/converters has small ones",
    "onnx2om": "needs atc; tests/integration/converters has a stand-in",
    "openpose_out/": "a folder of OpenPose's; tests/integration/sources writes one",
    "engine.inspect": "needs a file; tests/unit/test_inspect.py has every format",
    "engine.doctor": "asks every runtime on the machine; tests/integration/backends runs it",
    "benchmarks.": "measures for minutes; tests/benchmarks runs them with less",
    "posec3d bench": "as benchmarks.",
    "tests.fuzz": "throws inputs for minutes; tests/chaos throws fewer",
    "tests.integration.docs": "writes docs/cli.md",
}
"""What is only parsed: a part of the command, and why."""

SCRIPTS = blocks((ROOT / "docs" / "python.md").read_text(), "python")


def runs(command: Command) -> bool:
    return command.module is not None and not any(part in str(command) for part in PARSED)


@pytest.mark.parametrize("command", commands(), ids=str)
def test_a_command_is_parsed(command: Command) -> None:
    module, words = command.module, command.words
    if "=" in words[0] or words[0] in NOT_OURS or module in THEIRS:
        return
    if Path(words[0]).name == "pip" or module == "pip":
        _check_installation(words)
    elif words[0] == "bash" or (words[0] == "python" and words[1].endswith(".py")):
        assert (ROOT / words[1]).is_file()
    elif module == "pytest":
        assert all((ROOT / word).exists() for word in command.arguments if word.startswith("tests"))
    else:
        assert module is not None, f"{command}: not a program of ours"
        assert find_spec(module) is not None
        if command.arguments:  # else it is only named
            check(module, command.arguments)


def _check_installation(words: Sequence[str]) -> None:
    """Extras that are named are there."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for word in words:
        if found := re.fullmatch(r"\.\[(.*)\]", word):
            assert set(found[1].split(",")) <= set(setup["options.extras_require"])


@pytest.fixture
def folder(
    tmp_path: Path, tiny_model: Path, make_annotation: Callable[..., dict[str, Any]]
) -> Path:
    """A folder with the files that the commands name."""
    annotations = [make_annotation(20 + 30 * i, seed=i) for i in range(2)]
    (tmp_path / "annotations.pkl").write_bytes(pickle.dumps(annotations))
    (tmp_path / "posec3d.onnx").write_bytes(tiny_model.read_bytes())
    poses = annotations[0]["keypoint"][0].astype(float).tolist()
    about = {"stream": "door", "size": [320, 240]}
    frames = [
        {**about, "frame": i, "t": i / 30, "people": [{"kpts": [[*joint, 1.0] for joint in frame]}]}
        for i, frame in enumerate(3 * poses)
    ]
    (tmp_path / "poses.jsonl").write_bytes(b"\n".join(map(orjson.dumps, frames)))
    for name in ("joint.npz", "limb.npz"):
        np.savez(tmp_path / name, id=["a", "b"], label=[0, 1], scores=np.full((2, 2), 0.5))
    return tmp_path


@pytest.mark.slow
def test_commands_run(folder: Path) -> None:
    """In the order of the pages, each beside what those before it wrote."""
    to_run = [command for command in commands() if runs(command)]
    to_run = [c for c in to_run if c.module not in THEIRS | {"pip", "pytest"} and c.arguments]
    assert len(to_run) >= 7
    for command in to_run:
        words = command.words
        if "--output" in words:  # of a command before it
            (folder / words[words.index("--output") + 1]).unlink(missing_ok=True)
        less = ["--limit", "2"] if "--dataset" in command.words else []
        _run(folder, ["-m", str(command.module), *command.arguments, *less])
    for name in ("results.jsonl", "labels.jsonl"):
        lines = (folder / name).read_bytes().splitlines()
        assert lines
        assert not any("error" in orjson.loads(line) for line in lines)


@pytest.mark.parametrize(
    "number",
    [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, len(SCRIPTS)))],
)
def test_scripts_in_python_run(folder: Path, number: int) -> None:
    (folder / "script.py").write_text(SCRIPTS[number])
    _run(folder, ["script.py"])


def _run(folder: Path, arguments: Sequence[str]) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"


def test_every_reason_is_needed() -> None:
    said = [str(command) for command in commands()]
    assert [part for part in PARSED if not any(part in command for command in said)] == []


def test_every_page_is_there() -> None:
    assert [page for page in PAGES if not page.is_file()] == []
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180


@pytest.mark.parametrize(
    "frames", [60, *(pytest.param(frames, marks=pytest.mark.slow) for frames in (7, 130))]
)
def test_a_static_file_without_the_engine(strided_model: Path, tmp_path: Path, frames: int) -> None:
    """The script has few lines and needs numpy and ONNX Runtime alone; its scores are ours."""
    script = ROOT / "docs" / "score_static.py"
    text = script.read_text()
    assert len(text.splitlines()) < 40
    assert set(re.findall(r"^import (.*?)(?:  #|$)", text, re.MULTILINE)) == {
        "json, sys",
        "numpy as np, onnxruntime as ort",
    }
    about = ["--layout", "shared", "--onnx", "--unique", "160", "--output", str(tmp_path / "net")]
    assert onnx2om.main([str(strided_model), *about]) == 0
    data = tmp_path / "data.pkl"
    data.write_bytes(pickle.dumps([annotation(frames, 1, 0), annotation(frames, 2, 1)]))
    _, record = Pipeline(options(data, strided_model, in_process=True))
    assert isinstance(record, Prediction)
    found = subprocess.run(
        [sys.executable, str(script), "net_shared_u160.onnx", "data.pkl", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    scores = np.array(found.stdout.split(), float)
    np.testing.assert_allclose(scores, record.scores, rtol=0, atol=1e-5)
