"""Promise 5: bytes in flight are bounded, and memory does not grow with the data."""

from __future__ import annotations

import pickle
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.base import host
from engine.base.records import Prediction
from engine.outputs.totals import SampleTotals
from engine.pipeline import Pipeline
from engine.skeletons import samples
from tests.support.leaks import descendants
from tests.support.runs import check, command, options
from tests.support.samples import annotation


def rss(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def memory_of_a_run(output: Path, *arguments: Any) -> list[tuple[int, int]]:
    """(records written, memory of all its processes) over a run."""
    seen: list[tuple[int, int]] = []
    with subprocess.Popen(
        command(*arguments, "--output", output),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None:
            done = output.read_bytes().count(b"\n") if output.exists() else 0
            seen.append((done, sum(rss(pid) for pid in {process.pid, *descendants(process.pid)})))
            time.sleep(0.05)
        assert process.stderr is not None
        assert process.returncode == 0, process.stderr.read()
    return seen


def write(path: Path, count: int) -> Path:
    made = [annotation(30 + seed % 60, seed=seed) for seed in range(60)]
    path.write_bytes(pickle.dumps([made[i % len(made)] for i in range(count)]))
    return path


@pytest.mark.parametrize(
    "kind",
    [pytest.param("frames", marks=pytest.mark.slow), pytest.param("clips", marks=pytest.mark.full)],
)
def test_memory_is_flat_over_ten_times_the_data(
    tiny_model: Path, tmp_path: Path, kind: str, capsys: Any
) -> None:
    """The peak around the first tenth of a run, and that of its end."""
    few = 24 if kind == "frames" else 12
    path = write(tmp_path / "d.pkl", 10 * few)
    more = ["--workers", 2, "--wire", kind, "--max-memory", "2G"]
    seen = memory_of_a_run(tmp_path / "o.jsonl", path, tiny_model, *more)
    early = max(size for done, size in seen if few / 2 <= done <= 2 * few)
    late = max(size for done, size in seen if done >= 8.5 * few)
    with capsys.disabled():
        print(f"\n{kind}: {early / 1e6:.0f} MB, after ten times the data {late / 1e6:.0f} MB")
    assert abs(late / early - 1) < 0.1


def test_what_the_parent_keeps_of_a_record(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No logits, unless a file wants them."""
    path = write(tmp_path / "d.pkl", 3)
    chosen = options(path, tiny_model, in_process=True)
    with Pipeline(chosen) as pipeline:
        totals, keeping = SampleTotals(0.0), SampleTotals(0.0, keep_logits=True)
        for record in pipeline:
            totals.add(record, 1.0)
            keeping.add(record, 1.0)
    assert [p.logits.nbytes for p in totals.predictions] == [0, 0, 0]
    assert all(p.logits.nbytes > 0 for p in keeping.predictions)


@pytest.mark.parametrize("kind", ["frames", "keypoints", "clips"])
def test_bytes_in_flight_stay_below_the_limit(
    data: Path, tiny_model: Path, expected_of: Any, kind: Any
) -> None:
    limit = 4_000_000 if kind != "clips" else 900_000_000
    layout, few = ("clips", 5) if kind == "clips" else ("auto", None)
    chosen = options(data, tiny_model, workers=2, wire=kind, max_memory=limit, limit=few)
    with Pipeline(chosen) as pipeline:
        check(list(pipeline), expected_of(layout, few))
    assert 0 < pipeline.figures.peak_bytes <= limit


def test_a_sample_larger_than_the_limit_runs_alone(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.pkl"
    lengths = [20, 1000, 20, 1000, 1000, 20]
    path.write_bytes(pickle.dumps([annotation(n, seed=i) for i, n in enumerate(lengths)]))
    limit, together = 1_000_000, []
    with Pipeline(options(path, tiny_model, workers=2, max_memory=limit)) as pipeline:
        runner: Any = pipeline._driver
        for record in pipeline:
            assert isinstance(record, Prediction)
            out = [lease.task.cost for lease in runner._table.leases]
            together.append(len(out))
            assert sum(out) <= limit or len(out) == 1
    assert pipeline.figures.peak_bytes > limit
    assert len(together) == len(lengths)


@pytest.mark.parametrize("in_process", [False, True], ids=["streaming", "in process"])
def test_more_poses_than_a_message_holds(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: bool
) -> None:
    """Refused with the figure, in every mode; the others are scored."""
    monkeypatch.setattr(samples, "MAX_POSES", 100_000)
    path = tmp_path / "d.pkl"
    path.write_bytes(
        pickle.dumps([annotation(20), annotation(2000, seed=1), annotation(20, seed=2)])
    )
    chosen = options(path, tiny_model, in_process=in_process)
    with Pipeline(chosen) as pipeline:
        records = {record.id: record for record in pipeline}
    assert "of poses; at most" in records["video_1"].message  # type: ignore[union-attr]
    assert sum(isinstance(r, Prediction) for r in records.values()) == 2


def test_the_default_follows_the_limit(
    data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "memory_limit", lambda: 400_000_000)
    with Pipeline(options(data, tiny_model, workers=1)) as pipeline:
        runner: Any = pipeline._driver
        assert runner._table.budget == 100_000_000
