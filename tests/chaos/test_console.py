"""The console is worth no run: what is said there may be lost; the records come all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.joints import command
from tests.support.joints_backend import PACE


def closed_pipe() -> int:
    """What nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def hung_up() -> int:
    """A terminal that has been closed."""
    parent, child = os.openpty()
    os.close(parent)
    return child


def ids(output: Path) -> set[str]:
    lines = [json.loads(line) for line in output.read_bytes().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines)
    return {line["id"] for line in lines}


@pytest.mark.parametrize(
    ("gone", "streams"),
    [(full, ["stderr"]), (closed_pipe, ["stdout", "stderr"]), (hung_up, ["stdout", "stderr"])],
)
def test_nobody_reads_what_is_said(
    many: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gone: Callable[[], int],
    streams: list[str],
) -> None:
    """From the start; progress is said in the middle, accuracy at the end."""
    monkeypatch.setenv(PACE, "0.02")  # so that a line of progress comes
    output, summary, stream = tmp_path / "o.jsonl", tmp_path / "s.json", gone()
    told = {
        name: stream if name in streams else subprocess.DEVNULL for name in ("stdout", "stderr")
    }
    done = subprocess.run(
        command(many, tiny_model, "--output", output, "--summary", summary),
        **told,
        timeout=120,
        check=False,
    )
    os.close(stream)
    assert done.returncode == 0
    assert len(ids(output)) == 400
    assert json.loads(summary.read_bytes())["ok"] == 400


def test_streams_that_are_closed(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Their numbers are nobody else's: what children say is in no result."""
    output, scores = tmp_path / "o.jsonl", tmp_path / "s.npz"
    line = " ".join(command(data, tiny_model, "--output", output, "--scores", scores))
    done = subprocess.run(f"{line} <&- >&- 2>&-", shell=True, timeout=120, check=False)
    assert done.returncode == 3
    assert len(ids(output)) == 11
    assert scores.exists()


def test_a_run_that_only_prints_ends_with_its_reader(data: Path, tiny_model: Path) -> None:
    stream = closed_pipe()
    done = subprocess.run(
        command(data, tiny_model), stdout=stream, stderr=subprocess.PIPE, timeout=120, check=False
    )
    os.close(stream)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_names_that_a_terminal_cannot_show(
    data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    named = tmp_path / "données.pkl"
    named.write_bytes(data.read_bytes())
    done: Any = subprocess.run(
        command(named, tiny_model), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "donn\\xe9es.pkl" in done.stdout


@pytest.mark.parametrize("gone", [full, closed_pipe])
def test_commands_that_nobody_reads(
    data: Path, tiny_model: Path, tmp_path: Path, gone: Callable[[], int]
) -> None:
    """What is written costs no command its files; of one that only prints it is an error."""
    scores, fused, picture = tmp_path / "a.npz", tmp_path / "f.npz", tmp_path / "p.svg"
    done = command(data, tiny_model, "--in-process", "--scores", scores)
    subprocess.run(done, check=False, capture_output=True)
    copy = tmp_path / "b.npz"
    copy.write_bytes(scores.read_bytes())
    for code, made, module, *arguments in (
        (0, fused, "engine.fuse", scores, copy, "--scores", fused),
        (1, None, "engine.fuse", scores, copy),
        (0, picture, "engine.inspect", data, "--picture", picture),
        (1, None, "engine.inspect", data),
        (0, tmp_path / "keys" / "engine.key_secret", "engine.keys", tmp_path / "keys", "worker"),
        (1, None, "engine.doctor"),
        (0, tmp_path / "columns", "converters.annotations", data, tmp_path / "columns"),
    ):
        stream = gone()
        told = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(stream)
        assert told.returncode == code, (module, told.stderr)
        assert "Traceback" not in told.stderr
        assert "Exception ignored" not in told.stderr
        assert ("standard output: " in told.stderr) == (code == 1)
        assert made is None or made.exists()
