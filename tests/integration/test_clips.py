"""Runs of fewer clips: the same records whoever computes them, and files that say what was run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from converters.calibrate import main as calibrate
from engine.base.errors import UsageError
from engine.base.options import Options
from engine.base.records import Prediction, Record
from engine.pipeline import Pipeline
from engine.run import main
from tests.support.decided import decided_model
from tests.support.samples import annotation


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "some.pkl"
    some = [annotation(5 + 9 * (i % 8), seed=i, label=i) for i in range(20)]
    path.write_bytes(pickle.dumps(some))
    return path


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that is sure of some of them, with what is fitted to it beside it."""
    folder = tmp_path_factory.mktemp("model")
    path, logits = decided_model(folder, data), folder / "logits.npz"
    named = ["--dataset", str(data), "--model", str(path)]
    assert main([*named, "--in-process", "--logits", str(logits)]) == 0
    assert calibrate([str(logits), "--model", str(path)]) == 0
    return path


def records(data: Path, model: Path, **more: Any) -> dict[str, Record]:
    with Pipeline(Options(dataset=str(data), model=str(model), **more)) as pipeline:
        return {record.id: record for record in pipeline}


@pytest.fixture(scope="module")
def every(data: Path, model: Path) -> dict[str, Record]:
    return records(data, model, in_process=True)


def test_the_same_records_with_processes_and_without(
    data: Path, model: Path, every: dict[str, Record]
) -> None:
    alone = records(data, model, clips="adaptive", agreement=0.8, in_process=True)
    found = records(data, model, clips="adaptive", agreement=0.8)
    assert found.keys() == alone.keys() == every.keys()
    counts = set()
    for name, record in found.items():
        other, whole = alone[name], every[name]
        assert isinstance(record, Prediction)
        assert isinstance(other, Prediction)
        assert isinstance(whole, Prediction)
        np.testing.assert_array_equal(record.scores, other.scores)
        assert record.clips == other.clips == len(record.logits)
        assert whole.clips == 20
        counts.add(record.clips)
    assert len(counts) > 1


def test_twenty_are_all(data: Path, model: Path, every: dict[str, Record]) -> None:
    chosen = Options(dataset=str(data), model=str(model), clips=20, in_process=True)
    with Pipeline(chosen) as pipeline:
        assert "clips" not in pipeline.identity
        for record in pipeline:
            expected = every[record.id]
            assert isinstance(record, Prediction)
            assert isinstance(expected, Prediction)
            np.testing.assert_array_equal(record.logits, expected.logits)
            np.testing.assert_array_equal(record.scores, expected.scores)


def test_files_say_what_was_run(
    data: Path, model: Path, every: dict[str, Record], tmp_path: Path, capfd: Any
) -> None:
    logits, lines, summary = (tmp_path / name for name in ("l.npz", "o.jsonl", "s.json"))
    named = ["--dataset", str(data), "--model", str(model), "--in-process", "--clips", "certain"]
    files = ["--logits", logits, "--output", lines, "--summary", summary]
    assert main([*named, *map(str, files)]) == 0
    with np.load(logits) as archive:
        found, clips, ids = archive["logits"], archive["clips"], archive["id"]
    assert found.shape == (20, 20, 51)
    for name, row, count in zip(ids, found, clips, strict=True):
        run = ~np.isnan(row).any(axis=1)
        assert run.sum() == count
        expected = every[str(name)]
        assert isinstance(expected, Prediction)
        np.testing.assert_array_equal(row[run], expected.logits[run])
    assert len(set(clips.tolist())) > 1
    said = [json.loads(line)["clips"] for line in lines.read_text().splitlines()]
    assert sorted(said) == sorted(clips.tolist())
    figures = json.loads(summary.read_text())
    assert figures["clips"] == {"rule": "certain", "mean": pytest.approx(clips.mean()), "of": 20}
    assert figures["pipeline"]["clips_run"] == clips.sum()
    assert f"clips\t{clips.mean():.2f} of 20 averaged" in capfd.readouterr().out


def test_a_resumed_run_has_the_same_rule(data: Path, model: Path, tmp_path: Path) -> None:
    named: dict[str, Any] = {"dataset": str(data), "model": str(model), "in_process": True}
    lines = tmp_path / "o.jsonl"
    command = ["--dataset", str(data), "--model", str(model), "--in-process"]
    assert (
        main(
            [
                *command,
                "--limit",
                "3",
                "--clips",
                "adaptive",
                "--agreement",
                "0.8",
                "--output",
                str(lines),
            ]
        )
        == 0
    )
    with Pipeline(Options(**named, clips="adaptive", agreement=0.8, resume=str(lines))) as pipeline:
        assert [type(one.clips) for one in pipeline.resumed if isinstance(one, Prediction)] == [
            int
        ] * 3
        assert len(list(pipeline)) == 17
    with pytest.raises(UsageError, match=r"clips: adaptive, a = [\d.]+, now certain"):
        Pipeline(Options(**named, clips="certain", resume=str(lines)))


def test_one_sequence(model: Path) -> None:
    """Through every door: `classify` loads the network with the rule as well."""
    one = annotation(30, seed=3)
    arrays = one["keypoint"], one["keypoint_score"], one["img_shape"]
    every = engine.classify(*arrays, model=str(model))
    few = engine.classify(*arrays, model=str(model), clips=4)
    assert not np.array_equal(few.scores, every.scores)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"clips": "some"}, "--clips 'some': choose from all, certain, adaptive, or a number"),
        ({"clips": 0}, "--clips 0: must be at least 1"),
        ({"clips": 21}, "--clips 21: a sample has 20"),
        ({"clips": "-3"}, "--clips -3: must be at least 1"),
        ({"clips": 3, "tta": False}, "--clips has no effect with --no-tta: it is for runs of"),
        ({"clips": "certain", "windows": True}, "--clips has no effect with --source or --windows"),
        ({"agreement": 0.9}, "--agreement has no effect without --clips adaptive"),
        ({"clips": "adaptive"}, "20 samples of .* cannot tell that; it takes 200"),
        ({"clips": "certain", "dump_bin": "x"}, "--clips has no effect with --dump-bin"),
    ],
)
def test_what_cannot_be(data: Path, model: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Pipeline(Options(dataset=str(data), model=str(model), in_process=True, **more))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"scores": np.zeros((2, 5), np.float32)}, "no array `logits`"),
        ({"logits": np.zeros((2, 10, 51), np.float32)}, "10 clips a sample; all 20 are needed"),
        ({"logits": np.zeros((30, 20, 5), np.float32)}, "logits of another model"),
        (
            {"logits": np.zeros((30, 20, 51), np.float32), "model": np.array("0" * 64)},
            "logits of another model",
        ),
        ({"logits": np.full((2, 20, 51), np.nan, np.float32)}, "write it with --clips all"),
        ({"logits": np.full((2, 20, 51), np.inf, np.float32)}, "logits that are not finite"),
        ({"logits": np.zeros((19, 20, 51), np.float32)}, "19 samples tell nothing of others; 20"),
        ({}, "No such file"),
    ],
)
def test_what_is_not_calibrated(
    model: Path, tmp_path: Path, capsys: Any, arrays: dict[str, Any], said: str
) -> None:
    path = tmp_path / "a.npz"
    if arrays:
        np.savez(path, **arrays)
    before = sorted(model.parent.iterdir())
    assert calibrate([str(path), "--model", str(model), "--output", str(tmp_path / "o")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert sorted(model.parent.iterdir()) == before


def test_what_is_read_is_not_written(model: Path, tmp_path: Path, capsys: Any) -> None:
    logits = tmp_path / "logits.npz"
    np.savez(logits, logits=np.zeros((20, 20, 51), np.float32))
    before = {path: path.read_bytes() for path in (logits, model)}
    for output in (logits, model):
        named = [str(logits), "--model", str(model), "--output", str(output)]
        assert calibrate(named) == 2
    assert calibrate([str(logits), str(logits), "--model", str(model)]) == 2
    said = capsys.readouterr().err
    assert "is the file of an archive that is read" in said
    assert "is the model" in said
    assert "the same archive twice" in said
    assert before == {path: path.read_bytes() for path in before}
