"""Promise 8: a run that was killed goes on, and what it writes equals an undisturbed run's."""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.constants import HMDB51
from engine.base.errors import UsageError
from engine.base.options import Options
from engine.outputs.journal import identity_path
from engine.pipeline import Pipeline
from tests.support.joints import command, options
from tests.support.networks import TINY, random_state_dict, write_model
from tests.support.samples import annotation


def run(*arguments: Any, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=120, check=False, **more
    )


def under_way(data: Path, model: Path, output: Path) -> subprocess.Popen[bytes]:
    """A run that has written its first record."""
    process = subprocess.Popen(
        command(data, model, "--output", output),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (output.exists() and output.stat().st_size):
        assert time.monotonic() < deadline, "no record within a minute"
        time.sleep(0.02)
    return process


def records_of(path: Path) -> dict[str, Any]:
    """By id, less the milliseconds. Every line is whole and every id occurs once."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines)
    return {line["id"]: {k: v for k, v in line.items() if k != "ms"} for line in lines}


@pytest.fixture(scope="module")
def whole(many: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run's files."""
    folder = tmp_path_factory.mktemp("whole")
    done = run(many, tiny_model, "--output", folder / "o.jsonl", "--scores", folder / "s.npz")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.full) for s in (1, 2, 3))])
def test_killed_and_resumed(
    many: Path, tiny_model: Path, whole: Path, tmp_path: Path, seed: int
) -> None:
    """Several times; the last line is torn once. The same command starts and goes on."""
    output, scores, rng = tmp_path / "o.jsonl", tmp_path / "s.npz", random.Random(seed)
    for attempt in range(3):
        process = subprocess.Popen(
            command(many, tiny_model, "--resume", output),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = output.read_bytes().count(b"\n") if output.exists() else 0
        target, deadline = before + rng.randint(20, 90), time.monotonic() + 60
        while not output.exists() or output.read_bytes().count(b"\n") < target:
            assert time.monotonic() < deadline, "no progress"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if attempt == 1:
            with output.open("ab") as torn:
                torn.write(b'{"index": 399, "id": "vid')
    written = output.read_bytes().count(b"\n")
    done = run(many, tiny_model, "--resume", output, "--scores", scores)
    assert done.returncode == 0, done.stderr
    assert f"resumed\t{written} of them are from before" in done.stdout
    assert records_of(output) == records_of(whole / "o.jsonl")
    with np.load(scores) as ours, np.load(whole / "s.npz") as theirs:
        np.testing.assert_array_equal(ours["id"], theirs["id"])
        np.testing.assert_array_equal(ours["scores"], theirs["scores"])
    again = run(many, tiny_model, "--resume", output)
    assert again.returncode == 0, again.stderr
    assert "400 ok, 0 failed, of 400" in again.stdout


def test_failures_are_resumed_as_well(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    assert run(data, tiny_model, "--output", output, "--limit", 5).returncode == 3
    done = run(data, tiny_model, "--resume", output)
    assert done.returncode == 3
    assert "8 ok, 3 failed, of 11" in done.stdout
    assert len(records_of(output)) == 11


def test_in_process(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    run(data, tiny_model, "--output", output, "--limit", 5, "--in-process")
    assert run(data, tiny_model, "--resume", output, "--in-process").returncode == 3
    assert len(records_of(output)) == 11


def test_interrupted_and_resumed(many: Path, tiny_model: Path, whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    process = under_way(many, tiny_model, output)
    process.terminate()
    assert process.wait(60) == 130
    assert run(many, tiny_model, "--resume", output).returncode == 0
    assert records_of(output) == records_of(whole / "o.jsonl")


@pytest.fixture
def begun(data: Path, tiny_model: Path, tmp_path: Path) -> Path:
    """The journal of a run of five samples."""
    output = tmp_path / "o.jsonl"
    done = run(data, tiny_model, "--output", output, "--limit", 5)
    assert done.returncode == 3
    return output


def refusal(begun: Path, chosen: Options) -> str:
    """Why a run does not go on, before it starts a process; nothing has changed."""
    before = begun.read_bytes()
    with pytest.raises(UsageError) as caught:
        Pipeline(chosen)
    assert begun.read_bytes() == before
    return str(caught.value)


def test_refused_with_the_difference(
    begun: Path, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    other_data = tmp_path / "other.pkl"
    other_data.write_bytes(data.read_bytes() + b"more")
    other_model = write_model(tmp_path / "other.onnx", random_state_dict(TINY, seed=9), TINY)
    same = {"data": data, "model": tiny_model, "resume": str(begun)}
    for changed, named in (
        ({"data": other_data}, "dataset: "),
        ({"model": other_model}, "model: "),
        ({"reference": "1.x"}, "reference: 0.24.1, now 1.x"),
        ({"layout": "clips"}, "layout: shared, now clips"),
        ({"backend": "onnxruntime"}, "backend: joints, now onnxruntime"),
        ({"precision": "bf16"}, "precision: f32, now bf16"),
    ):
        message = refusal(begun, options(**{**same, **changed}))
        assert named in message
        assert message.count("\n") == 1  # nothing else is said to differ


def test_other_names_of_classes_are_refused(
    begun: Path, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    own, others = tmp_path / "own.txt", tmp_path / "others.txt"
    own.write_text("\n".join(HMDB51))
    others.write_text("\n".join(reversed(HMDB51)))
    same = {"data": data, "model": tiny_model, "resume": str(begun)}
    said = refusal(begun, options(**same, classes=str(others)))
    assert "classes: none, now names of --classes (" in said
    assert said.count("\n") == 1
    assert run(data, tiny_model, "--resume", begun, "--classes", own).returncode == 3
    assert len(records_of(begun)) == 11


def test_another_split_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    path, output = tmp_path / "split.pkl", tmp_path / "o.jsonl"
    annotations = [annotation(20, seed=i) for i in range(4)]
    names = [a["frame_dir"] for a in annotations]
    split = {"test1": names[:2], "test2": names[1:]}
    path.write_bytes(pickle.dumps({"split": split, "annotations": annotations}))
    assert run(path, tiny_model, "--output", output).returncode == 0
    done = run(path, tiny_model, "--resume", output, "--split", "test2")
    assert done.returncode == 2
    assert "split: test1, now test2" in done.stderr
    assert "goes on" not in done.stderr  # which it does not


def scored(lines: list[bytes]) -> bytes:
    return next(line for line in lines if b'"scores"' in line)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines, lines[0]], "line 6 is a second record of sample"),
        (lambda lines: [*lines[:3], b"not JSON", *lines[3:]], "line 4 is not a record"),
        (lambda lines: [scored(lines).replace(b'","label":', b'","label":9')], "line 1 has a lab"),
        (lambda lines: [re.sub(rb'"ms":{[^}]*}', b'"ms":[]', scored(lines))], "line 1 is not a"),
        (lambda lines: [re.sub(rb'"scores":.*?]', b'"scores":[1]', scored(lines))], "line 1 is n"),
        (lambda lines: [*lines, b'{"index": 9, "id": "x", "label": 1, "error": 5}'], "line 6 is"),
        (lambda lines: [*lines, b'{"index": 999, "id": "x", "label": 1, "scores": []}'], "line 6"),
        (
            lambda lines: [
                b'{"index":0,"id":"x","label":0,"error":{"stage":"","type":"","message":""}}'
            ],
            "an id that is not that of sample 0",
        ),
    ],
)
def test_a_damaged_journal_is_refused(
    begun: Path, data: Path, tiny_model: Path, change: Any, message: str
) -> None:
    begun.write_bytes(b"\n".join(change(begun.read_bytes().splitlines())) + b"\n")
    assert message in refusal(begun, options(data, tiny_model, resume=str(begun)))


def test_a_journal_that_was_edited(begun: Path, data: Path, tiny_model: Path) -> None:
    """Lines taken out are run again; an editor's empty line is none."""
    lines = begun.read_bytes().splitlines()
    begun.write_bytes(b"\n".join([*lines[:2], *lines[5:]]) + b"\n\n")
    assert run(data, tiny_model, "--resume", begun).returncode == 3
    assert len(records_of(begun)) == 11


def test_a_run_that_is_still_draining(many: Path, tiny_model: Path, tmp_path: Path) -> None:
    """The one that goes on waits for nobody: it is told so before it loads anything."""
    output = tmp_path / "o.jsonl"
    first = under_way(many, tiny_model, output)
    first.terminate()
    codes = []
    while first.poll() is None or not codes:
        codes.append(run(many, tiny_model, "--resume", output).returncode)
    assert first.wait(60) == 130
    assert set(codes) <= {0, 1}
    assert run(many, tiny_model, "--resume", output).returncode == 0
    assert len(records_of(output)) == 400


def test_one_file_that_cannot_be_written_costs_no_other(
    data: Path, tiny_model: Path, tmp_path: Path, small_disk: Path
) -> None:
    (small_disk / "full").write_bytes(b"x" * 65_000)
    names = {
        "--summary": small_disk / "s.json",
        "--report": tmp_path / "r.html",
        "--scores": small_disk / "s.npz",
        "--logits": tmp_path / "l.npz",
    }
    arguments = [part for pair in names.items() for part in pair]
    done = run(data, tiny_model, "--limit", 5, *arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for option, path in names.items():
        good = option in ("--report", "--logits")
        assert path.exists() == good
        assert (str(path) in done.stderr) != good


def test_standard_output(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Redirected to a file it is no journal, and what is printed is not written over."""
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            command(data, tiny_model, "--limit", 3, "--output", "/dev/stdout"),
            stdout=out,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0
    lines = (tmp_path / "out").read_text().splitlines()
    assert sum(line.startswith("{") for line in lines) == 3
    assert any(line.startswith("dataset") for line in lines)
    assert any("3 ok, 0 failed" in line for line in lines)
    assert not Path("/dev/stdout.run.json").exists()


def test_a_run_that_never_came_to_be_leaves_no_file(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    assert run(data, tmp_path / "no.onnx", "--output", output).returncode == 2
    assert not list(tmp_path.iterdir())


def test_a_journal_without_identity_is_refused(begun: Path, data: Path, tiny_model: Path) -> None:
    chosen = options(data, tiny_model, resume=str(begun))
    identity_path(begun).write_text("{")
    assert "cannot be read (not JSON)" in refusal(begun, chosen)
    identity_path(begun).unlink()
    assert "No such file" in refusal(begun, chosen)


def test_a_run_killed_before_its_first_record(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    output.touch()
    assert run(data, tiny_model, "--resume", output, "--limit", 3).returncode == 0
    assert len(records_of(output)) == 3


def test_one_run_at_a_time(many: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    first = under_way(many, tiny_model, output)
    first.send_signal(signal.SIGSTOP)  # or it might be done before the second has begun
    for option in (("--output", output, "--overwrite"), ("--resume", output)):
        second = run(many, tiny_model, *option)
        assert second.returncode == 1
        assert "another run is writing to it" in second.stderr
    first.send_signal(signal.SIGCONT)
    assert first.wait(60) == 0
    assert len(records_of(output)) == 400


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB; skips where it cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", folder], check=True)


def is_resumable(output: Path, many: Path, model: Path, whole: Path, done: Any) -> None:
    assert done.returncode == 1, done.stderr
    assert f"--resume {output} goes on" in done.stderr
    assert "Traceback" not in done.stderr
    content = output.read_bytes()
    assert content.endswith(b"\n")
    assert 0 < len(records_of(output)) < 400
    elsewhere = output.parent.parent / "elsewhere.jsonl"
    shutil.copy(output, elsewhere)
    shutil.copy(identity_path(output), identity_path(elsewhere))
    assert run(many, model, "--resume", elsewhere).returncode == 0
    assert records_of(elsewhere) == records_of(whole / "o.jsonl")
    assert elsewhere.read_bytes().startswith(content)


def test_a_full_disk(many: Path, tiny_model: Path, whole: Path, small_disk: Path) -> None:
    output = small_disk / "o.jsonl"
    start = time.monotonic()
    done = run(many, tiny_model, "--output", output, "--summary", small_disk / "s.json")
    assert os.strerror(errno.ENOSPC) in done.stderr
    assert time.monotonic() - start < 60  # the run did not go on for nothing
    is_resumable(output, many, tiny_model, whole, done)


def test_a_file_that_may_grow_no_more(
    many: Path, tiny_model: Path, whole: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    output = tmp_path / "folder" / "o.jsonl"
    done = run(many, tiny_model, "--output", output, preexec_fn=limit_files)
    assert os.strerror(errno.EFBIG) in done.stderr
    is_resumable(output, many, tiny_model, whole, done)


def test_a_full_device(data: Path, tiny_model: Path) -> None:
    done = run(data, tiny_model, "--output", "/dev/full")
    assert done.returncode == 1
    assert "/dev/full: No space left on device" in done.stderr
    assert "--resume" not in done.stderr


def test_what_is_said_of_recorded_poses_is_named(tiny_model: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "poses", tmp_path / "o.jsonl"
    folder.mkdir()
    joints = np.random.default_rng(0).uniform(50, 200, (20, 25, 3))
    joints[..., 2] = 0.9
    for number, one in enumerate(joints):
        people = [{"person_id": [-1], "pose_keypoints_2d": one.ravel().tolist()}]
        path = folder / f"clip_{number:012d}_keypoints.json"
        path.write_text(json.dumps({"version": 1.3, "people": people}))
    done = run(folder, tiny_model, "--output", output, "--size", "640x480")
    assert done.returncode == 0, done.stderr
    said = refusal(output, options(folder, tiny_model, size="320x240", resume=str(output)))
    assert ", --size 640x480 (" in said
    assert ", --size 320x240 (" in said
    assert run(folder, tiny_model, "--resume", output, "--size", "640x480").returncode == 0
