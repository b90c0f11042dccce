"""Result files of a run, in each format, and how a run goes on with them."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from engine.run import main
from tests.support.samples import annotation


def test_in_each_format(tiny_model: Path, tmp_path: Path, capfd: Any) -> None:
    """The same records; Parquet's are whole again after the run that goes on."""
    pq = pytest.importorskip("pyarrow.parquet")
    data = tmp_path / "data.pkl"
    videos = [annotation(20, seed=n, frame_dir=f"v{n}") for n in range(3)]
    data.write_bytes(pickle.dumps([*videos, "junk"]))
    base = ["--dataset", str(data), "--model", str(tiny_model), "--in-process", "--no-tta"]

    def run(*more: object) -> int:
        return main([*base, *map(str, more)])

    lines, table, parquet = (tmp_path / f"a.{end}" for end in ("ndjson", "csv", "parquet"))
    assert run("--output", lines) == 3
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert run("--output", table, "--top-k", 1) == 3
    rows = [*csv.DictReader(table.read_text().splitlines())]
    assert [row["id"] for row in rows] == [record["id"] for record in records]
    for row, record in zip(rows, records, strict=True):
        if "error" in record:
            assert row["error_message"] == record["error"]["message"]
        else:
            assert float(row["top_1_score"]) == record["top_k"][0]["score"]

    assert run("--output", parquet, "--limit", 2) == 0
    assert pq.read_table(parquet).num_rows == 2
    capfd.readouterr()
    assert run("--output", parquet) == 2
    assert f"--resume {parquet}.jsonl goes on with them" in capfd.readouterr().err
    assert run("--resume", f"{parquet}.jsonl") == 3
    found = pq.read_table(parquet).to_pylist()
    assert [row["id"] for row in found] == [record["id"] for record in records]
    for row, record in zip(found, records, strict=True):
        for name in ("index", "label", "top_k", "error"):
            assert row[name] == record.get(name)
        assert row["scores"] == pytest.approx(record.get("scores"))
    assert run("--output", parquet, "--overwrite", "--limit", 1) == 0
    assert pq.read_table(parquet).num_rows == 1
