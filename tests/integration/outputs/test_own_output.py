"""An output of one's own: a class, and one line in a table."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from engine.base.options import Options
from engine.base.records import Record
from engine.live.labels import Label
from engine.outputs import table
from engine.outputs.label_lines import PrintedLabels
from engine.outputs.live_summary import LiveSummary
from engine.outputs.output import DatasetOutput, LiveOutput
from engine.outputs.progress_line import ProgressLine
from engine.outputs.run_info import DatasetRun, LiveRun
from engine.outputs.summary import DatasetSummary
from engine.run import main
from tests.support.samples import annotation


class Winners(DatasetOutput):
    """Writes a line for each class: how often it was the first answer."""

    def begin(self, run: DatasetRun) -> None:
        self._run, self._path = run, Path(f"{run.options.summary}.winners")
        self._seen: list[str] = []

    def record(self, record: Record) -> None:
        self._seen.append(record.id)

    def end(self) -> None:
        rows = [
            f"{name} {self._wins(number)}" for number, name in enumerate(self._run.model.classes)
        ]
        totals = self._run.totals
        rows.append(f"{totals.done} of {len(self._run.dataset.samples)}: {sorted(self._seen)}")
        self._path.write_text("\n".join(rows))

    def _wins(self, number: int) -> int:
        return sum(count for (_, best), count in self._run.totals.answers.items() if best == number)


class Streams(LiveOutput):
    """Writes which streams were labelled, and when it was told the time."""

    def begin(self, run: LiveRun) -> None:
        self._run, self._names, self._ticks = run, set[str](), 0

    def record(self, record: Label) -> None:
        self._names.add(record.stream)

    def tick(self, now: float) -> None:
        self._ticks += 1

    def end(self) -> None:
        totals = self._run.totals
        text = f"{sorted(self._names)} {totals.done} {self._ticks > 0}"
        Path(f"{self._run.options.summary}.streams").write_text(text)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps([annotation(48, seed=seed) for seed in range(3)]))
    return path


def only_with_a_summary(output: type[Any]) -> Any:
    return lambda options: output() if options.summary is not None else None


def test_of_a_data_set(
    data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    own = only_with_a_summary(Winners)
    monkeypatch.setattr(table, "OF_DATASETS", [*table.OF_DATASETS, own])
    arguments = ["--dataset", str(data), "--model", str(tiny_model), "--in-process"]
    assert main([*arguments, "--summary", str(tmp_path / "s.json")]) == 0
    *rows, last = (tmp_path / "s.json.winners").read_text().splitlines()
    assert sum(int(row.rpartition(" ")[2]) for row in rows) == 3
    assert last == "3 of 3: ['video_0', 'video_1', 'video_2']"
    assert main(arguments) == 0
    assert "3 ok" in capfd.readouterr().out


def test_of_live_sources(
    data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    own = only_with_a_summary(Streams)
    monkeypatch.setattr(table, "OF_LIVE_SOURCES", [*table.OF_LIVE_SOURCES, own])
    arguments = ["--source", f"replay:{data}", "--model", str(tiny_model)]
    assert main([*arguments, "--summary", str(tmp_path / "s.json")]) == 0
    said = (tmp_path / "s.json.streams").read_text()
    assert said == "['video_0', 'video_1', 'video_2'] 3 True"
    assert "labels    3 in" in capfd.readouterr().out


def test_tables_open_what_is_asked_for() -> None:
    """And nothing else: without options what is printed alone."""
    for lines, printed in (
        (table.OF_DATASETS, {ProgressLine, DatasetSummary}),
        (table.OF_LIVE_SOURCES, {PrintedLabels, LiveSummary}),
    ):
        opened = [open_output(Options()) for open_output in lines]
        assert {type(output) for output in opened if output is not None} == printed
