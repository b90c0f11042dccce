"""Programs whose standard output cannot be written: files are, and what is only said is missed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.calibrate import main as calibrate
from engine.cli.doctor import main as doctor
from engine.cli.fuse import main as fuse
from engine.cli.inspect import main as inspect
from engine.keys import main as keys
from engine.network.models import open_model

LOST = "standard output: No space left on device\n"


@contextmanager
def full() -> Iterator[None]:
    """Meanwhile there is no room where standard output goes."""
    with open("/dev/full", "w", encoding="utf-8") as stream, redirect_stdout(stream):
        yield


@pytest.mark.parametrize(
    ("program", "main", "arguments"),
    [("inspect", inspect, ["demo", "--limit", "1"]), ("doctor", doctor, ["--json"])],
)
def test_it_is_all_there_is(capfd: Any, program: str, main: Any, arguments: list[str]) -> None:
    with full():
        assert main(arguments) == 1
    assert capfd.readouterr().err.endswith(f"engine.{program}: {LOST}")


@pytest.fixture
def archives(tmp_path: Path) -> list[str]:
    names = [str(tmp_path / name) for name in ("a.npz", "b.npz")]
    for name in names:
        np.savez(name, id=np.array(["x"]), scores=np.full((1, 2), 0.5, np.float32))
    return names


def test_figures_of_a_fusion(archives: list[str], tmp_path: Path, capfd: Any) -> None:
    with full():
        assert fuse(archives) == 1
    assert capfd.readouterr().err == f"engine.fuse: {LOST}"
    files = tmp_path / "scores.npz", tmp_path / "figures.json"
    with full():
        assert fuse([*archives, "--scores", str(files[0]), "--summary", str(files[1])]) == 0
    assert all(path.stat().st_size for path in files)


def test_keys(tmp_path: Path) -> None:
    with full():
        assert keys([str(tmp_path / "keys"), "worker"]) == 0
    assert (tmp_path / "keys" / "workers" / "worker.key").is_file()


def test_a_converter(tmp_path: Path) -> None:
    model = open_model("demo")
    logits = np.random.default_rng(0).normal(size=(20, 20, len(model.classes)))
    np.savez(tmp_path / "logits.npz", logits=logits.astype(np.float32))
    out = tmp_path / "made.json"
    arguments = [str(tmp_path / "logits.npz"), "--model", "demo", "--output", str(out)]
    with full():
        assert calibrate(arguments) == 0
    assert out.stat().st_size
