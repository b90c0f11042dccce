"""Result files by the ending of their names: what is in them, and what is not replaced."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.errors import OutputError, UsageError
from engine.base.options import Options
from engine.base.records import Failure, Prediction
from engine.cli.checks import check_outputs
from engine.live.labels import Label
from engine.outputs.formats import csv_row, format_of, journal_of, result_of
from engine.outputs.journal import identity_path, record_json
from engine.outputs.label_lines import label_json
from engine.outputs.line_file import LineFile

CLASSES = ["run", 'jump, "high"', "walk"]
SCORES = np.array([0.25, 0.5, 0.25], np.float32)
LINES = [
    record_json(
        Prediction(
            *(0, "a,b", 2, np.zeros((1, 3), np.float32), SCORES, {"total": 1.5}),
            who=3,
            notes=("empty", "percent"),
            clips=1,
        ),
        CLASSES,
        2,
    ),
    record_json(Failure(1, "c", None, "read", "SampleError", "no\nkeypoint"), CLASSES, 2),
]


def written(path: Path, lines: Any = LINES, kind: Any = "records", top_k: int = 2) -> None:
    file = LineFile(path, kind)
    file.begin(top_k, {"of": "these"} if kind == "records" else None)
    for line in lines:
        file.append(line)
    file.end()
    file.close()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "jsonl") for name in ("a", "a.jsonl", "a.JSON", "a.ndjson", "/dev/null")),
        ("/dev/x.csv", "jsonl"),
        ("a.csv", "csv"),
        ("a.Parquet", "parquet"),
    ],
)
def test_formats(name: str, kind: str) -> None:
    assert format_of(Path(name)) == kind


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl.gz", "a.xlsx", "a.npz"])
def test_other_endings(name: str) -> None:
    with pytest.raises(UsageError, match=r"end in .jsonl, .json, .ndjson, .csv, .parquet, or in n"):
        check_outputs(Options(output=name))


def test_parquet_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"a.parquet needs pyarrow; pip install '.\[arrow\]'"):
        check_outputs(Options(output="a.parquet"))


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    written(path)
    assert len(path.read_text().splitlines()) == 3, "a line a record"
    good, bad = csv.DictReader(path.read_text().splitlines())
    assert (good["id"], good["label"], good["top_1_name"]) == ("a,b", "2", 'jump, "high"')
    assert (good["top_1_score"], good["ms_total"], good["error_stage"]) == ("0.5", "1.5", "")
    noted = ("who", "empty", "coordinates", "keypoint_score")
    assert [good[name] for name in noted] == ["3", "True", "", "percent"]
    assert (bad["label"], bad["top_1_label"], bad["error_message"]) == ("", "", "no keypoint")
    assert not identity_path(path).exists()


def test_json_lines(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl")
    found = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert found[0]["scores"] == [0.25, 0.5, 0.25]
    assert found[1]["error"]["message"] == "no\nkeypoint"
    assert identity_path(tmp_path / "a.jsonl").is_file()


def test_parquet(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    written(path)
    journal = [json.loads(line) for line in journal_of(path).read_text().splitlines()]
    good, bad = pq.read_table(path).to_pylist()
    assert good["scores"] == journal[0]["scores"]
    assert good["top_k"] == journal[0]["top_k"]
    assert good["ms"]["total"] == 1.5
    assert (good["clips"], bad["clips"]) == (journal[0]["clips"], None)
    noted = ("who", "empty", "coordinates", "keypoint_score")
    assert [good[name] for name in noted] == ["3", True, None, "percent"]
    assert bad["error"] == journal[1]["error"]
    assert bad["scores"] is None
    assert result_of(journal_of(path)) == path
    assert identity_path(journal_of(path)).is_file()
    file = LineFile(path, "records")
    file.begin(2, {})
    assert not path.exists(), "what is there is of this run"
    file.close()


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_labels(tmp_path: Path, name: str) -> None:
    about = "s", 3, 1.5, 0, 44, 1, CLASSES[1], 0.5, SCORES, 12.5
    label = Label(*about, start=0.0)
    failed = Label("s", "x", 1.5, 0, 44, None, None, 0.0, None, 1.0, start=0.0, error="why")
    written(tmp_path / name, [label_json(one, CLASSES, 1) for one in (label, failed)], "labels", 1)
    if name == "a.csv":
        good, bad = csv.DictReader((tmp_path / name).read_text().splitlines())
        assert (good["who"], good["name"], good["top_1_label"]) == ("3", CLASSES[1], "1")
    elif name == "a.parquet":
        pq = pytest.importorskip("pyarrow.parquet")
        good, bad = pq.read_table(tmp_path / name).to_pylist()
        assert (good["who"], good["top"]) == (
            "3",
            [{"label": 1, "name": CLASSES[1], "score": 0.5}],
        )
    else:
        good, bad = (json.loads(line) for line in (tmp_path / name).read_text().splitlines())
        assert (good["who"], good["top"][0]["label"]) == (3, 1)
    assert bad["error"] == "why"
    assert "top" not in label_json(label, CLASSES, 0)


def test_a_pipe_gets_lines(tmp_path: Path) -> None:
    pipe = tmp_path / "a.csv"
    os.mkfifo(pipe)
    said = list[str]()
    reader = threading.Thread(target=lambda: said.extend(pipe.read_text().splitlines()))
    reader.start()
    written(pipe)
    reader.join()
    assert [json.loads(line)["id"] for line in said] == ["a,b", "c"]


@pytest.mark.parametrize("name", ["a", "a.jsonl", "a.csv", "a.parquet"])
def test_records_are_not_replaced_unasked(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    check_outputs(Options(output=str(path)))
    path.touch()
    check_outputs(Options(output=str(path)))  # nothing would be lost
    path.unlink()
    written(path)
    with pytest.raises(UsageError, match=r"records of an earlier run: --overwrite repl") as caught:
        check_outputs(Options(output=str(path)))
    assert ("--resume" in str(caught.value)) == (name != "a.csv")
    check_outputs(Options(output=str(path), overwrite=True))
    path.unlink()
    if name == "a.parquet":  # whose run was killed
        with pytest.raises(UsageError, match=r"--resume .*/a.parquet.jsonl goes on with them"):
            check_outputs(Options(output=str(path)))


def test_a_file_that_is_not_ours_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "thesis.json"
    path.write_text('{"title": "…"}')
    for chosen in ({"output": str(path)}, {"segments": str(path), "windows": True}):
        with pytest.raises(UsageError, match="is there, and no run has written it; --overwrite"):
            check_outputs(Options(**chosen))
        check_outputs(Options(**chosen, overwrite=True))


def test_what_can_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a .csv has no scores to go on with"):
        check_outputs(Options(resume=str(tmp_path / "a.csv")))
    for name in ("a.jsonl", "a.parquet", "a.parquet.jsonl"):
        check_outputs(Options(resume=str(tmp_path / name)))
    with pytest.raises(UsageError, match=r"--resume .*a.parquet is the file of --summary as well"):
        check_outputs(
            Options(resume=str(tmp_path / "a.parquet.jsonl"), summary=str(tmp_path / "a.parquet"))
        )
    with pytest.raises(OutputError):
        check_outputs(Options(resume="/dev/null"))
    check_outputs(Options(output="/dev/null"))


def test_nothing_ends_a_line_of_csv_but_its_end() -> None:
    ends = ["\r", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
    row = csv_row([f"a{end}b" for end in ends])
    assert len(row.decode().splitlines()) == 1
    [cells] = csv.reader([row.decode()])
    assert {" ".join(cell.split()) for cell in cells} == {"a b"}
