"""The command line as a user runs it: a process of its own, real files in and out."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.base.records import Failure, Prediction


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "engine.run", "--in-process", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=120, check=False
    )


def write(path: Path, annotations: list[Any]) -> Path:
    path.write_bytes(pickle.dumps(annotations))
    return path


@pytest.fixture
def mixed(tmp_path: Path, make_annotation: Any) -> Path:
    """Six usable annotations (two of one name, one without label) and six of other kinds."""
    good = [make_annotation(20 + 15 * i, seed=i) for i in range(4)]
    return write(
        tmp_path / "mixed.pkl",
        [
            *good,
            make_annotation(seed=0),
            make_annotation(seed=9, label=None),
            make_annotation(seed=10, keypoint=np.zeros((1, 20, 25, 2)), keypoint_score=None),
            make_annotation(seed=11, keypoint_score=np.full((1, 20, 17), np.nan)),
            make_annotation(seed=12, label=51),
            {"frame_dir": "bare"},
            "junk",
            make_annotation(seed=13, img_shape=(1, 2, 3)),
        ],
    )


def test_a_run_with_good_and_bad_samples(mixed: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = {name: tmp_path / name for name in ("o.jsonl", "s.npz", "l.npz", "s.json")}
    result = run(
        *("--dataset", mixed, "--model", tiny_model, "--top-k", 3),
        *("--output", out["o.jsonl"], "--scores", out["s.npz"]),
        *("--logits", out["l.npz"], "--summary", out["s.json"]),
    )
    assert result.returncode == 3, result.stderr
    assert "Traceback" not in result.stderr
    records = [json.loads(line) for line in out["o.jsonl"].read_text().splitlines()]
    assert [r["index"] for r in records] == list(range(12))
    assert len({r["id"] for r in records}) == 12
    assert records[4]["id"] == "video_0#2"

    errors = {r["id"]: r["error"] for r in records if "error" in r}
    assert list(errors) == ["video_10", "video_11", "video_12", "bare", "annotation-10", "video_13"]
    assert "25 joints" in errors["video_10"]["message"]
    assert errors["annotation-10"]["stage"] == "read"
    assert all(e["stage"] and e["type"] and e["message"] for e in errors.values())

    good = [r for r in records if "error" not in r]
    for record in good:
        assert sum(record["scores"]) == pytest.approx(1, abs=1e-5)
        assert {"decode", "infer"} <= set(record["ms"])
        best = record["top_k"]
        assert len(best) == 3
        assert best[0]["score"] == pytest.approx(max(record["scores"]), rel=1e-6)
        assert best[0]["label"] == int(np.argmax(record["scores"]))
    assert good[0]["scores"] == good[4]["scores"]

    with np.load(out["s.npz"]) as scores, np.load(out["l.npz"]) as logits:
        assert scores["id"].tolist() == logits["id"].tolist() == [r["id"] for r in good]
        assert scores["scores"].shape == (6, 51)
        assert logits["logits"].shape == (6, 20, 51)
    summary = json.loads(out["s.json"].read_text())
    assert (summary["ok"], summary["failed"], summary["of"]) == (6, 6, 12)
    assert summary["labelled"] == 5
    assert f"top1_acc\t{summary['top1_acc']:.4f}\n" in result.stdout
    assert "6 ok, 6 failed" in result.stdout
    assert summary["fps"] == pytest.approx(6 / summary["seconds"])


def test_all_scored_is_zero(tiny_model: Path, tmp_path: Path, make_annotation: Any) -> None:
    path = write(tmp_path / "a.pkl", [make_annotation()])
    result = run("--dataset", path, "--model", tiny_model)
    assert result.returncode == 0, result.stderr
    for key in ("top1_acc\t", "top5_acc\t", "fps\t", "clips/s", "numpy"):
        assert key in result.stdout


def test_python_api_equals_the_command_line(mixed: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "s.npz"
    run("--dataset", mixed, "--model", tiny_model, "--scores", output)
    records = list(engine.predict(str(mixed), model=str(tiny_model), in_process=True))
    assert sum(isinstance(r, Failure) for r in records) == 6
    with np.load(output) as scores:
        for row, record in zip(
            scores["scores"], (r for r in records if isinstance(r, Prediction)), strict=True
        ):
            np.testing.assert_array_equal(row, record.scores)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "nowhere.pkl"), "nowhere.pkl: No such file"),
        (("--dataset", "DATA", "--model", "nowhere.onnx"), "nowhere.onnx: no such file"),
        (("--dataset", "DATA", "--model", "MODEL", "--backend", "tpu"), "'tpu' is not registered"),
        (("--dataset", "DATA", "--model", "DATA"), "models end in"),
        (("--dataset", "MODEL", "--model", "MODEL"), "annotation files end in"),
        (
            ("--dataset", "DATA", "--model", "MODEL", "--backend=onnxruntime", "--precision=bf16"),
            "executes f32",
        ),
    ],
)
def test_usage_is_one_clear_message(
    tiny_model: Path, tmp_path: Path, make_annotation: Any, arguments: Any, message: str
) -> None:
    names = {"MODEL": tiny_model, "DATA": write(tmp_path / "a.pkl", [make_annotation()])}
    result = run(*(names.get(a, a) for a in arguments))
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("engine.run:") == 1


@pytest.mark.parametrize("flag", ["--output", "--scores", "--logits", "--summary"])
def test_unwritable_output(
    tiny_model: Path, tmp_path: Path, make_annotation: Any, flag: str
) -> None:
    """Said before the work."""
    data = write(tmp_path / "a.pkl", [make_annotation()])
    targets = [tmp_path / "no" / "file", tmp_path]
    for target in targets if flag == "--output" else [*targets, Path("/dev/full")]:
        result = run("--dataset", data, "--model", tiny_model, flag, target)
        assert result.returncode == 1
        assert str(target) in result.stderr
        assert "Traceback" not in result.stderr
        assert not result.stdout
    assert Path("/dev/full").is_char_device()


def test_full_disk(tiny_model: Path, tmp_path: Path, make_annotation: Any) -> None:
    data = write(tmp_path / "a.pkl", [make_annotation()])
    result = run("--dataset", data, "--model", tiny_model, "--output", "/dev/full")
    assert result.returncode == 1
    assert "No space left" in result.stderr
    assert "Traceback" not in result.stderr


def test_no_file_is_overwritten_by_mistake(
    tiny_model: Path, tmp_path: Path, make_annotation: Any
) -> None:
    data = write(tmp_path / "a.pkl", [make_annotation()])
    before = data.read_bytes(), tiny_model.read_bytes()
    for more in (
        ("--output", data),
        ("--summary", tiny_model),
        ("--scores", tmp_path / "x", "--logits", tmp_path / "x"),
    ):
        result = run("--dataset", data, "--model", tiny_model, *more)
        assert result.returncode == 2
        assert "as well" in result.stderr
    assert (data.read_bytes(), tiny_model.read_bytes()) == before


def test_reader_of_stdout_goes(tiny_model: Path, tmp_path: Path, make_annotation: Any) -> None:
    data = write(tmp_path / "a.pkl", [make_annotation()])
    process = subprocess.Popen(
        command("--dataset", data, "--model", tiny_model),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(60) == 1
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_odd_names_and_labels(tiny_model: Path, tmp_path: Path, make_annotation: Any) -> None:
    annotations = [make_annotation(frame_dir="\udc80x"), make_annotation(label=2**70)]
    data = write(tmp_path / "a.pkl", annotations)
    result = run("--dataset", data, "--model", tiny_model, "--output", tmp_path / "o.jsonl")
    assert result.returncode == 3, result.stderr
    good, bad = map(json.loads, (tmp_path / "o.jsonl").read_text().splitlines())
    assert good["id"] == "\\udc80x"
    assert "label is" in bad["error"]["message"]


def test_interrupted_run_keeps_what_it_has(
    tiny_model: Path, tmp_path: Path, make_annotation: Any
) -> None:
    data = write(tmp_path / "a.pkl", [make_annotation(seed=i) for i in range(500)])
    output, scores = tmp_path / "o.jsonl", tmp_path / "s.npz"
    process = subprocess.Popen(
        command("--dataset", data, "--model", tiny_model, "--output", output, "--scores", scores),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (output.exists() and output.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    written = len(output.read_text().splitlines())
    assert 0 < written < 500
    with np.load(scores) as archive:
        assert len(archive["id"]) == written
    assert f"{written} ok, 0 failed, of 500" in stdout
    assert stdout.endswith(f"wrote {output}\nwrote {scores}\n")
    assert stderr.endswith(f"engine.run: interrupted; --resume {output} goes on\n")


def test_console_script() -> None:
    script = Path(sys.executable).parent / "posec3d"
    result = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert "--dataset" in result.stdout


def test_without_arguments_it_offers_the_demo() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "engine.run"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert "python -m engine.run --dataset demo" in result.stderr


@pytest.mark.slow
def test_the_offer_is_taken_on_a_terminal(tmp_path: Path) -> None:
    """A real pseudo-terminal; the answer is no, and then an empty line, which is yes."""
    for answer, expected in (
        ("n\n", "nothing to do"),
        ("\x04", "nothing to do"),
        ("\n", "generated motion, split test1"),
    ):
        parent, child = os.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.run"],
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
            env={**os.environ, "ENGINE_LIMIT": "1", "ENGINE_CACHE_DIR": str(tmp_path)},
        )
        os.close(child)
        os.write(parent, answer.encode())
        seen = b""
        try:
            while part := os.read(parent, 4096):
                seen += part
        except OSError:  # the other end is closed
            pass
        assert process.wait(timeout=120) == (0 if answer == "\n" else 2), seen
        os.close(parent)
        assert expected in " ".join(seen.decode().split())
