"""What a run says to whoever watches it."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.base.published import DEFAULT_CHECKPOINT
from tests.support.samples import annotation, walking


def run(
    *arguments: object, module: str = "engine.run", **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def write(path: Path, count: int, **fields: Any) -> Path:
    path.write_bytes(pickle.dumps([annotation(seed=n, **fields) for n in range(count)]))
    return path


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    return write(tmp_path / "unlabelled.pkl", 23, label=None)


def test_a_run_without_labels_says_what_it_saw(
    unlabelled: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """A line a sample, twenty at most, in the order of the data set; then each file."""
    files = {name: tmp_path / f"o.{name}" for name in ("jsonl", "npz", "json", "html", "log")}
    done = run(
        *("--dataset", unlabelled, "--model", tiny_model, "--workers", 1, "--no-tta"),
        *("--output", files["jsonl"], "--scores", files["npz"], "--summary", files["json"]),
        *("--report", files["html"], "--log-json", files["log"]),
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    records = [orjson.loads(line) for line in files["jsonl"].read_bytes().splitlines()]
    best = {record["id"]: record["top_k"][0] for record in records}
    said = [line.split("\t") for line in lines if line.startswith("video_")]
    assert [name for name, *_ in said] == [f"video_{n}" for n in range(20)]
    for name, label, score in said:
        assert (label, score) == (best[name]["name"], f"{best[name]['score']:.2f}")
    assert f"… and 3 more: {files['jsonl']} has all of them" in lines
    assert set(lines[-5:]) == {f"wrote {path}" for path in files.values()}
    assert all(path.stat().st_size for path in files.values())


def test_a_run_with_labels_says_how_many_are_right(tiny_model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "labelled.pkl", 2)
    done = run("--dataset", data, "--model", tiny_model, "--in-process")
    assert done.returncode == 0, done.stderr
    assert "top1_acc\t" in done.stdout
    assert "video_0\t" not in done.stdout
    assert "wrote" not in done.stdout


def test_a_stream_of_lines_is_no_file_that_was_written(tiny_model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "one.pkl", 1)
    done = run("--dataset", data, "--model", tiny_model, "--in-process", "--output", "/dev/stderr")
    assert done.returncode == 0
    assert '"top_k"' in done.stderr
    assert "wrote" not in done.stdout


@pytest.mark.parametrize("live", [False, True])
def test_times_of_labels_are_those_of_a_clock(tiny_model: Path, tmp_path: Path, live: bool) -> None:
    """Of a recording where in it, of what is live the time of day."""
    frames = walking(1, 60)[0].tolist()
    lines = [
        {"frame": n, "t": n / 30, "size": [640, 480], "people": [{"id": 1, "kpts": body}]}
        for n, body in enumerate([[[*joint, 1.0] for joint in frame] for frame in frames])
    ]
    path, output = tmp_path / "poses.jsonl", tmp_path / "labels.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    source = f"replay:{path}@30" if live else f"jsonl:{path}"
    words = "--source", source, "--model", tiny_model, "--threshold", 0, "--output", output
    done = run(*words)
    assert done.returncode == 0, done.stderr
    when = r"^\d\d:\d\d:\d\d  " if live else r"^0:01\.\d  "
    assert re.search(when, done.stdout, re.MULTILINE), done.stdout
    assert done.stdout.endswith(f"wrote {output}\n")


def test_variables_that_nobody_reads_are_named(tiny_model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "one.pkl", 1)
    words = "--dataset", data, "--model", tiny_model, "--in-process"
    done = run(*words, ENGINE_MAX_BACH="3", ENGINE_XYZZY="1", ENGINE_DATA_DIR=str(tmp_path))
    assert done.returncode == 0
    assert "ENGINE_MAX_BACH is no variable of the engine and has no effect; did you mean" in (
        done.stderr
    )
    assert "ENGINE_MAX_BATCH?" in done.stderr
    assert "ENGINE_XYZZY is no variable" in done.stderr
    assert "ENGINE_DATA_DIR" not in done.stderr


def test_a_folder_as_output_is_one_message(tiny_model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "one.pkl", 1)
    words = "--dataset", data, "--model", tiny_model
    for option, name in (
        *(("--output", "."), ("--output", f"{tmp_path}/"), ("--resume", ".")),
        *(("--report", str(tmp_path)), ("--log-json", ".")),
    ):
        done = run(*words, option, name)
        said = f"engine.run: {option} {name} is a folder; name a file in it\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_own_data_without_a_model_may_try_the_demo(tmp_path: Path) -> None:
    """Where the published checkpoint cannot be had: nobody answers at this proxy."""
    data = write(tmp_path / "one.pkl", 1)
    nowhere = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = run("--dataset", data, ENGINE_CACHE_DIR=str(tmp_path), **nowhere)
    assert done.returncode == 2
    assert DEFAULT_CHECKPOINT in done.stderr
    assert "--model demo" in done.stderr
    assert "top-1 0.398" in done.stderr
    words = "--dataset", data, "--model", DEFAULT_CHECKPOINT
    done = run(*words, ENGINE_CACHE_DIR=str(tmp_path), **nowhere)
    assert done.returncode == 2
    assert "--model demo" not in done.stderr, "a model was named"


def test_resuming_is_advised_where_it_would_help(tiny_model: Path, tmp_path: Path) -> None:
    data, output = write(tmp_path / "two.pkl", 2), tmp_path / "o.jsonl"
    words = "--dataset", data, "--model", tiny_model, "--in-process", "--output", output
    assert run(*words).returncode == 0
    done = run(*words)
    assert (done.returncode, done.stderr.count(f"--resume {output} goes on")) == (2, 1)
    live = "--source", "demo", "--model", tiny_model, "--output", output
    done = run(*live)
    assert done.returncode == 2
    assert "--overwrite replaces them" in done.stderr
    assert "--resume" not in done.stderr, "no live run can be resumed"


def test_resuming_is_not_advised_where_nothing_was_written(
    tiny_model: Path, tmp_path: Path
) -> None:
    data = write(tmp_path / "many.pkl", 300)
    words = "--dataset", str(data), "--model", str(tiny_model), "--workers", "1"
    with subprocess.Popen(
        [sys.executable, "-m", "engine.run", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("running") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in said
    assert "--resume" not in said


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_the_doctor_on_any_terminal(encoding: str) -> None:
    done = run(module="engine.doctor", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() == (encoding == "ascii")
    assert re.search(r"^[+✓] CPU ", done.stdout, re.MULTILINE)
    assert re.search(r"^  +[>→] ", done.stdout, re.MULTILINE)
