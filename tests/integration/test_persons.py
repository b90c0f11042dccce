"""A data set scored person by person: each as if alone, with every output of a run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.base.errors import UsageError
from engine.base.options import Options
from engine.base.records import Failure, Prediction
from engine.run import main
from engine.runtime.cluster.payloads import light
from engine.skeletons.poses import PoseSequence
from engine.sources.dataset import open_dataset
from tests.support.crowds import shuffled, video, walkers
from tests.support.runs import alone, check, options

CROWD = walkers(3, 40)
BRIEF = walkers(2, 40, seed=1)
BRIEF[1, 5:] = 0
VIDEOS: list[Any] = [
    video(CROWD, "rows"),
    video(shuffled(CROWD), "mixed"),
    video(BRIEF, "brief"),
    {"frame_dir": "junk", "label": 3},
    video(np.zeros((1, 40, 17, 2), np.float32), "nobody"),
]
IDS = ["rows#person-0", "rows#person-1", "rows#person-2"]
IDS += ["mixed#track-0", "mixed#track-1", "mixed#track-2", "brief#person-0", "junk"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("persons") / "videos.pkl"
    path.write_bytes(pickle.dumps(VIDEOS))
    return path


def test_each_as_if_alone(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    """In one process and through several; mixed rows give the scores of true ones."""
    found = alone(options(data, tiny_model, per="person", in_process=True))
    assert list(found) == IDS
    singles = tmp_path / "singles.pkl"
    apart = [video(CROWD[n : n + 1], f"rows#person-{n}") for n in range(3)]
    singles.write_bytes(pickle.dumps([*apart, video(BRIEF[:1], "brief#person-0")]))
    expected = alone(options(singles, tiny_model, in_process=True))
    for name, single in expected.items():
        record = found[name]
        assert isinstance(record, Prediction)
        assert isinstance(single, Prediction)
        np.testing.assert_array_equal(record.logits, single.logits)
        assert (record.who, record.label, single.who) == (int(name[-1]), None, None)
    of_rows, of_tracks = (
        sorted(record.scores.tolist() for name, record in found.items() if name.startswith(video))
        for video in ("rows", "mixed")
    )
    assert of_rows == of_tracks
    assert isinstance(found["junk"], Failure)
    with engine.Pipeline(options(data, tiny_model, per="person", workers=1)) as pipeline:
        records = list(pipeline)
        assert pipeline.persons is not None
        assert pipeline.persons.persons == 7
    check(records, found)
    assert {record.id: record.who for record in records} == {
        name: record.who for name, record in found.items()
    }


def test_every_output(
    data: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit counts videos, and may be raised when the run goes on."""
    output, summary, scores = (tmp_path / name for name in ("o.jsonl", "s.json", "s.npz"))
    base = ["--dataset", data, "--model", tiny_model, "--no-tta", "--in-process", "--per=person"]
    command = [str(part) for part in [*base, "--resume", output]]
    assert main([*command, "--limit=1"]) == 0
    assert "persons   3 in 1 videos; rows are persons in 1, d" in capsys.readouterr().out
    files = ["--summary", summary, "--scores", scores, "--report", tmp_path / "r.html"]
    assert main([*command, *map(str, files)]) == 3
    out = capsys.readouterr().out
    assert (
        "persons   7 in 5 videos; rows are persons in 3, detections in 1: tracked; 1 seen in fewer "
        "than 12 frames left out; nobody in 1 videos (first: nobody)\n"
    ) in out
    assert "no accuracy: a label is of a video" in out
    assert "resumed\t3 of them" in out
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["id"] for line in lines] == IDS
    assert [line.get("who") for line in lines] == [
        0,
        1,
        2,
        "track-0",
        "track-1",
        "track-2",
        0,
        None,
    ]
    assert json.loads(summary.read_text())["persons"] == {
        "least": 12,
        "videos": 5,
        "persons": 7,
        "as_rows": 3,
        "tracked": 1,
        "brief": 1,
        "empty": 1,
        "first_empty": "nobody",
    }
    with np.load(scores) as archive:
        assert archive["id"].tolist() == IDS[:7]
        assert archive["label"].tolist() == [-1] * 7
    together = [part for part in command if part != "--per=person"]
    assert main(together) == 2
    assert "per: person, now group" in capsys.readouterr().err


def test_what_goes_to_a_cluster(data: Path, tiny_model: Path) -> None:
    from engine.base.recipe import HMDB51_RECIPE
    from engine.live.persons import persons_of

    found, _ = persons_of(open_dataset(str(data)), 51, HMDB51_RECIPE)
    for one in found.samples:
        sent, read = light(one).read(51), one.read(51)
        assert type(sent) is type(read)
        if isinstance(sent, PoseSequence) and isinstance(read, PoseSequence):
            np.testing.assert_array_equal(sent.keypoint, read.keypoint)


def test_where_it_has_no_effect(data: Path, tiny_model: Path, limb_model: Path) -> None:
    with pytest.raises(UsageError, match="--dump-bin writes the clips of whole videos"):
        Options(dump_bin="x", per="person")
    keypoint, size = CROWD[0], (720, 1280)
    with pytest.raises(UsageError, match="all together"):
        engine.classify(keypoint, None, size, model=str(tiny_model), per="person")
