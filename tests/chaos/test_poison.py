"""Promise 4: a bad sample gets an error record, the others their scores."""

from __future__ import annotations

import json
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.records import Failure, Prediction, Record
from engine.pipeline import Pipeline
from tests.support.joints import command, options
from tests.support.kills import in_children
from tests.support.runs import check
from tests.support.samples import annotation

NAN, INF = float("nan"), float("inf")


def with_value(field: str, value: Any) -> Callable[[int], dict[str, Any]]:
    """An annotation with one entry of an array changed."""

    def make(seed: int) -> dict[str, Any]:
        made = annotation(20, seed=seed)
        made[field] = made[field].astype(np.float64)
        made[field].flat[5] = value
        return made

    return make


def changed(**fields: Any) -> Callable[[int], dict[str, Any]]:
    return lambda seed: annotation(20, seed=seed, **fields)


def without(field: str) -> Callable[[int], dict[str, Any]]:
    return lambda seed: {k: v for k, v in annotation(20, seed=seed).items() if k != field}


def zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


# What is wrong, and what the record says (stage, a part of the message).
POISON: dict[str, tuple[Callable[[int], Any], str, str]] = {
    "no dict": (lambda _: "junk", "read", "is a str, not a dict"),
    "a list": (lambda _: [1, 2], "read", "is a list, not a dict"),
    "nothing": (lambda _: None, "read", "is a NoneType"),
    "an empty dict": (lambda _: {}, "decode", "keypoint is missing"),
    "no keypoint": (without("keypoint"), "decode", "keypoint is missing"),
    "no image shape": (without("img_shape"), "decode", "img_shape (height, width) is missing"),
    "three dimensions": (changed(keypoint=zeros(20, 17, 2)), "decode", "has shape (20, 17, 2)"),
    "five dimensions": (changed(keypoint=zeros(1, 1, 20, 17, 2)), "decode", "has shape"),
    "three coordinates": (changed(keypoint=zeros(1, 20, 17, 3)), "decode", "scores go into"),
    "25 joints": (changed(keypoint=zeros(1, 20, 25, 2)), "decode", "25 joints"),
    "no joints": (changed(keypoint=zeros(1, 20, 0, 2)), "decode", "0 joints"),
    "zero frames": (
        changed(keypoint=zeros(1, 0, 17, 2), keypoint_score=None, total_frames=0),
        "decode",
        "keypoint holds no frames",
    ),
    "more frames than there are": (changed(total_frames=21), "decode", "total_frames is 21"),
    "negative frames": (changed(total_frames=-3), "decode", "total_frames is -3"),
    "half a frame": (changed(total_frames=2.5), "decode", "expected a whole number"),
    "objects": (changed(keypoint=np.full((1, 20, 17, 2), None)), "decode", "dtype object"),
    "text": (changed(keypoint=np.full((1, 20, 17, 2), "x")), "decode", "dtype <U1"),
    "complex numbers": (
        changed(keypoint=zeros(1, 20, 17, 2, dtype=np.complex64)),
        "decode",
        "dtype complex64",
    ),
    "dates": (changed(keypoint=zeros(1, 20, 17, 2, dtype="M8[s]")), "decode", "dtype datetime64"),
    "truth values": (changed(keypoint=zeros(1, 20, 17, 2, dtype=bool)), "decode", "dtype bool"),
    "numbers that wrapped": (
        changed(keypoint=np.full((1, 20, 17, 2), 7, np.uint8)),
        "decode",
        "dtype uint8, which ends before the picture",
    ),
    "ragged lists": (changed(keypoint=[[[1, 2], [3]]]), "decode", "not a regular array"),
    "infinite coordinates": (with_value("keypoint", INF), "decode", "infinite coordinates"),
    "negative infinity": (with_value("keypoint", -INF), "decode", "infinite coordinates"),
    "coordinates beyond float32": (with_value("keypoint", 1e300), "decode", "beyond float32"),
    "a score that is no number": (with_value("keypoint_score", NAN), "decode", "NaN or infinite"),
    "an infinite score": (with_value("keypoint_score", INF), "decode", "NaN or infinite"),
    "scores of another shape": (
        changed(keypoint_score=zeros(1, 19, 17)),
        "decode",
        "keypoint_score has shape",
    ),
    "scores of text": (
        changed(keypoint_score=np.full((1, 20, 17), "x")),
        "decode",
        "keypoint_score has dtype",
    ),
    "a flat image": (changed(img_shape=(0, 320)), "decode", "must be positive"),
    "a negative image": (changed(img_shape=(-240, 320)), "decode", "must be positive"),
    "an image of three sides": (changed(img_shape=(240, 320, 3)), "decode", "expected (height"),
    "an image of text": (changed(img_shape="wide"), "decode", "expected (height"),
    "a huge image": (changed(img_shape=(2**40, 320)), "decode", "32-bit"),
    "a label out of range": (changed(label=51), "decode", "label is 51"),
    "a negative label": (changed(label=-1), "decode", "label is -1"),
    "a label of text": (changed(label="wave"), "decode", "label is wave"),
}

# Odd, and scored as the reference scores it.
ODD: dict[str, Callable[[int], Any]] = {
    "no scores": changed(keypoint_score=None),
    "absent joints": with_value("keypoint", NAN),
    "negative coordinates": changed(keypoint=np.full((1, 20, 17, 2), -50.0)),
    "coordinates far outside": with_value("keypoint", 1e6),
    "nobody": changed(keypoint=zeros(0, 20, 17, 2), keypoint_score=zeros(0, 20, 17)),
    "500 persons": lambda seed: annotation(20, persons=500, seed=seed),
    "a million frames": lambda seed: annotation(
        20,
        seed=seed,
        total_frames=10**6,
        keypoint=np.ones((1, 10**6, 17, 2), np.float16),
        keypoint_score=np.ones((1, 10**6, 17), np.float16),
    ),
    "one frame": changed(total_frames=1),
    "whole numbers": changed(keypoint=np.full((1, 20, 17, 2), 7, np.int16)),
    "no label": changed(label=None),
}


def mixed(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Every kind between good samples, and the kind by the sample's id."""
    samples: list[Any] = []
    kinds: dict[str, str] = {}
    for kind in [*POISON, *ODD]:
        seed = len(samples)
        samples.append(POISON[kind][0](seed) if kind in POISON else ODD[kind](seed))
        name = samples[-1].get("frame_dir") if isinstance(samples[-1], dict) else None
        kinds[name or f"annotation-{seed}"] = kind
        samples.append(annotation(20, seed=seed + 1))
    path = tmp_path / "poison.pkl"
    path.write_bytes(pickle.dumps(samples))
    return path, kinds


def judge(records: dict[str, Record], kinds: dict[str, str]) -> None:
    for name, kind in kinds.items():
        record = records[name]
        if kind in ODD:
            assert isinstance(record, Prediction), (kind, record)
            continue
        _, stage, message = POISON[kind]
        assert isinstance(record, Failure), kind
        assert (record.stage, record.type) == (stage, "SampleError"), kind
        assert message in record.message, kind


def test_the_table(tiny_model: Path, tmp_path: Path) -> None:
    """More than 25 kinds; each fails by itself, with the same words in both ways to run."""
    assert len(POISON) >= 25
    path, kinds = mixed(tmp_path)
    with Pipeline(options(path, tiny_model, in_process=True)) as pipeline:
        alone = {record.id: record for record in pipeline}
    judge(alone, kinds)
    with Pipeline(options(path, tiny_model, workers=2)) as pipeline:
        records = list(pipeline)
    check(records, alone)
    assert pipeline.figures.restarts == 0


def test_the_command(tiny_model: Path, tmp_path: Path) -> None:
    path, kinds = mixed(tmp_path)
    output, events = tmp_path / "o.jsonl", tmp_path / "events.jsonl"
    done = subprocess.run(
        command(path, tiny_model, "--output", output, "--log-json", events),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    lines = [json.loads(line) for line in output.read_bytes().splitlines()]
    assert len(lines) == 2 * len(kinds)
    errors = {line["id"]: line["error"] for line in lines if "error" in line}
    assert set(errors) == {name for name, kind in kinds.items() if kind in POISON}
    assert all(set(e) == {"stage", "type", "message"} for e in errors.values())
    told = [json.loads(line) for line in events.read_bytes().splitlines()]
    assert {line["id"] for line in told if line["event"] == "failed"} == set(errors)


HANGING = """
import time, engine.skeletons.clips as clips
plain = clips.sampled
def decode(poses, recipe):
    if poses.total_frames == 17:
        time.sleep(1e6)
    return plain(poses, recipe)
clips.sampled = decode
"""


def test_a_sample_that_makes_its_worker_hang(
    data: Path, tiny_model: Path, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by its lease's deadline, three times; all others are scored."""
    in_children(tmp_path, monkeypatch, HANGING)
    with Pipeline(options(data, tiny_model, workers=2, lease_timeout=1)) as pipeline:
        records = list(pipeline)
    [convicted] = [r for r in records if isinstance(r, Failure) and r.type == "ProcessDied"]
    assert (convicted.id, convicted.stage) == ("video_2", "decode")
    check(
        [r for r in records if r is not convicted],
        {name: r for name, r in expected.items() if name != "video_2"},
    )
    assert pipeline.figures.restarts == 3


def test_lines_that_are_none(tiny_model: Path, tmp_path: Path) -> None:
    """A .jsonl's bad lines concern themselves."""
    good = annotation(20)
    line = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in good.items()}
    path = tmp_path / "d.jsonl"
    texts = [json.dumps(line).encode(), b"{", b"\xff\xfe", b"[" * 100_000, b'"x"', b"1e999"]
    path.write_bytes(b"\n".join(texts))
    with Pipeline(options(path, tiny_model, workers=1)) as pipeline:
        records = list(pipeline)
    assert sum(isinstance(record, Prediction) for record in records) == 1
    assert len(records) == len(texts)
