"""What is decided about a sample's numbers is the same whichever way it goes, and is told."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.base.errors import SampleError, UsageError
from engine.base.records import Failure, Prediction
from engine.cli.dispatch import dispatch
from engine.pipeline import Pipeline
from engine.ray import Scorer
from tests.support.runs import command, options
from tests.support.samples import walking

SHARES = walking(1, 50, 200) / [640, 480]
PIXELS = (SHARES * [640, 480]).astype(np.float32)
SCORES = np.full((1, 50, 17), 0.75, np.float32)


def sample(name: str, keypoint: Any, scores: Any = SCORES) -> dict[str, Any]:
    about = {"frame_dir": name, "label": 1, "img_shape": (480, 640), "total_frames": 50}
    return {**about, "keypoint": keypoint, "keypoint_score": scores}


SAMPLES = [
    sample("pixels", PIXELS),
    sample("shares", SHARES),
    sample("both", SHARES, 100 * SCORES),
    sample("nobody", np.zeros_like(PIXELS)),
    sample("unseen", PIXELS, 0 * SCORES),
    sample("frames first", PIXELS.swapaxes(0, 1), SCORES.swapaxes(0, 1)),
    sample("flags", PIXELS, np.full_like(SCORES, 2)),
]
NOTES = {
    "pixels": (),
    "shares": ("normalised",),
    "both": ("percent", "normalised"),
    "nobody": ("empty",),
    "unseen": ("empty",),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("notes") / "data.pkl"
    names = [one["frame_dir"] for one in SAMPLES]
    split = {"test1": [*names, "gone", "lost"]}
    path.write_bytes(pickle.dumps({"split": split, "annotations": SAMPLES}))
    return path


@pytest.fixture(scope="module")
def in_process(data: Path, tiny_model: Path) -> dict[str, Any]:
    with Pipeline(options(data, tiny_model, in_process=True, tta=False)) as pipeline:
        return {record.id: record for record in pipeline}


def test_records(in_process: dict[str, Any], data: Path, tiny_model: Path) -> None:
    found = {name: r.notes for name, r in in_process.items() if isinstance(r, Prediction)}
    assert found == NOTES
    for name in ("shares", "both"):
        np.testing.assert_array_equal(in_process[name].scores, in_process["pixels"].scores)
    assert "swapaxes" in in_process["frames first"].message
    assert "has 2 to 2; expected 0 to 1" in in_process["flags"].message
    with Pipeline(options(data, tiny_model, workers=1, tta=False)) as pipeline:
        for record in pipeline:
            expected = in_process[record.id]
            if isinstance(record, Failure):
                assert record == expected
            else:
                assert record.notes == expected.notes
                np.testing.assert_array_equal(record.scores, expected.scores)
    with Pipeline(
        options(data, tiny_model, in_process=True, tta=False, limit=2, coordinates="pixels")
    ) as pipeline:
        pixels, shares = pipeline
    assert isinstance(shares, Prediction)
    assert isinstance(pixels, Prediction)
    assert shares.notes == ()
    assert (shares.scores != pixels.scores).any()


def test_rows_of_a_batch(in_process: dict[str, Any], tiny_model: Path) -> None:
    columns = {}
    for name in SAMPLES[0]:
        columns[name] = np.empty(len(SAMPLES), object)
        for row, one in enumerate(SAMPLES):
            columns[name][row] = one[name]
    batch = Scorer(model=str(tiny_model), tta=False)(columns)
    for row, name in enumerate(batch["frame_dir"]):
        record = in_process[name]
        if isinstance(record, Failure):
            assert batch["error"][row] == record.message
        else:
            assert batch["notes"][row] == ",".join(record.notes)
            np.testing.assert_array_equal(batch["scores"][row], record.scores)


def test_a_sequence_alone(in_process: dict[str, Any], tiny_model: Path) -> None:
    def classify(one: dict[str, Any], **more: Any) -> Any:
        arrays = one["keypoint"], one["keypoint_score"], one["img_shape"]
        return engine.classify(*arrays, model=str(tiny_model), tta=False, **more)

    for one in SAMPLES[:3]:
        answer = classify(one)
        assert answer.notes == NOTES[one["frame_dir"]]
        np.testing.assert_array_equal(answer.scores, in_process["pixels"].scores)
    assert classify(SAMPLES[1], coordinates="pixels").notes == ()
    for one, said in (
        (SAMPLES[3], "nobody is in keypoints"),
        (SAMPLES[4], "or their scores are 0"),
        (SAMPLES[5], r"keypoints\.swapaxes\(0, 1\), and scores likewise"),
        (SAMPLES[6], "^scores has 2 to 2"),
        (sample("", 2 * SHARES - 1), "keypoints has x from .* say coordinates=pixels"),
    ):
        with pytest.raises(SampleError, match=said):
            classify(one)


def test_the_command_tells(
    data: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, summary, report = (tmp_path / name for name in ("o.jsonl", "s.json", "r.html"))
    more = ["--in-process", "--no-tta", "--summary", summary, "--report", report]
    arguments = command(data, tiny_model, *more)[3:]
    assert dispatch([*arguments, "--output", str(output), "--limit", "3"]) == 0
    assert "noted" in capsys.readouterr().out
    assert dispatch([*arguments, "--resume", str(output)]) == 3
    said = capsys.readouterr().out
    assert "split     2 names are not in the file: gone, lost\n" in said
    lines = {line["id"]: line for line in map(json.loads, output.read_text().splitlines())}
    assert len(lines) == 7
    assert [name for name in lines if "empty" in lines[name]] == ["nobody", "unseen"]
    assert lines["nobody"]["empty"] is True
    assert len(lines["nobody"]["scores"]) == 51
    assert lines["shares"]["coordinates"] == lines["both"]["coordinates"] == "normalised"
    assert lines["both"]["keypoint_score"] == "percent"
    assert lines["pixels"].keys() == {"index", "id", "label", "top_k", "scores", "clips", "ms"}
    figures = json.loads(summary.read_text())
    assert figures["notes"] == {
        "normalised": {"count": 2, "first": "shares"},
        "percent": {"count": 1, "first": "both"},
        "empty": {"count": 2, "first": "nobody"},
    }
    assert figures["dataset"]["absent"] == {"count": 2, "first": ["gone", "lost"]}
    for text in (
        "2 samples: nobody is seen (first: nobody)",
        "2 samples: coordinates are shares of the picture",
        "1 sample: scores of joints run to 100",
    ):
        assert said.count(f"noted\t{text}") == 1
        assert text in report.read_text()
    assert "2 names are not in the file" in report.read_text()
    with pytest.raises(UsageError, match="coordinates: auto, now pixels"):
        dispatch([*arguments, "--resume", str(output), "--coordinates", "pixels"])
