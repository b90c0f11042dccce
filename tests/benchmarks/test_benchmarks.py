"""Benchmarks run to their end and count what they say; no figure is asserted."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import orjson
import pytest

from benchmarks import (
    cores,
    end_to_end,
    lengths,
    live_soak,
    operations,
    peers,
    rows,
    workloads,
)
from benchmarks.memory import PeakMemory
from engine.base.recipe import HMDB51_RECIPE
from engine.network import operations as counted
from engine.network.contexts import of_plan
from engine.network.cuts import Cuts
from engine.skeletons.sampling import clip_plan
from tests.support import ROOT
from tests.support.networks import TINY
from tests.support.samples import annotation


def test_operations() -> None:
    """14.5 billion multiply-adds a clip, as published; sharing saves what the contexts say."""
    assert operations.whole() == pytest.approx(20 * 2 * 14.5e9, rel=0.01)
    assert operations.whole() / operations.shared(80) == pytest.approx(2.0, abs=0.05)
    # T = 48: ten times the same clip, and of its positions none repeats.
    contexts = of_plan(clip_plan(48, HMDB51_RECIPE).positions, (1, 1, 1, 1, 2, 1, 1, 1, 1, 1))
    assert contexts.frames == 48
    assert operations.whole() / operations.shared(48) == pytest.approx(10, abs=0.5)


def test_operations_of_a_file(tiny_model: Path) -> None:
    """Those that the graph has are those that follow from the network's shapes."""
    network = operations.Network(TINY)
    content = tiny_model.read_bytes()
    graph = onnx.load_model_from_string(content)
    assert counted.of_graph(graph) == operations.whole(network)
    cuts = Cuts.of(content)
    found = of_plan(clip_plan(80, HMDB51_RECIPE).positions, cuts.strides)
    expected = operations.shared(80, network)
    assert 2 * counted.of_contexts(cuts, found) == pytest.approx(expected, rel=0.05)


def test_workloads(tmp_path: Path) -> None:
    lengths = workloads.lengths()
    assert (len(lengths), min(lengths) >= 18, max(lengths) <= 650) == (200, True, True)
    assert np.median(lengths) == pytest.approx(80, abs=8)
    assert max(abs(a["total_frames"] - n) for a, n in _motion(tmp_path)) < 30
    name, path = workloads.write(workloads.HMDB51_LIKE, 3, tmp_path)
    assert name == "hmdb51_like"
    assert [a["total_frames"] for a in pickle.loads(path.read_bytes())] == [
        lengths[0],
        lengths[100],
        lengths[199],
    ]


def test_peak_memory() -> None:
    with PeakMemory(os.getpid()) as memory:
        block = np.ones(1 << 27, np.uint8)
        time.sleep(1)
        del block
    assert memory.peak > 1 << 27


def _motion(folder: Path) -> list[tuple[Any, int]]:
    """Motion with the lengths of HMDB51, and these."""
    _, path = workloads.write(workloads.HMDB51_MOTION, None, folder)
    return list(zip(pickle.loads(path.read_bytes()), workloads.lengths(), strict=True))


def test_end_to_end(
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All contestants but torch, on a small network and two samples, and every plot."""
    pytest.importorskip("matplotlib")
    data = tmp_path / "some.pkl"
    data.write_bytes(pickle.dumps([annotation(20, seed=1), annotation(30, seed=2)]))
    monkeypatch.setattr(peers, "_PURE_SAMPLES", 1)
    monkeypatch.setattr(peers, "torch_loader", lambda path: None)
    monkeypatch.setattr(end_to_end, "CONFIGURATIONS", end_to_end.CONFIGURATIONS[:2])
    monkeypatch.setattr(lengths, "LENGTHS", (15, 30))
    monkeypatch.setattr(
        "sys.argv",
        [
            "end_to_end",
            "--workload",
            str(data),
            "--model",
            str(tiny_model),
            "--precision",
            "f32",
            "--rounds",
            "1",
            "--json",
            str(tmp_path / "out.json"),
            "--plots",
            str(tmp_path / "plots"),
        ],
    )
    before = set(os.listdir(tmp_path))
    end_to_end.main()
    found = orjson.loads((tmp_path / "out.json").read_bytes())
    assert set(found["ratios"]) == {
        "of_ceiling/some/f32",
        *(
            f"{engine}_over_{peer}/some/f32"
            for engine in ("end_to_end", "adaptive", "certain")
            for peer in ("pure", "recipe")
        ),
        "adaptive_over_all_clips/some/f32",
        "certain_over_all_clips/some/f32",
    }
    assert all(value > 0 for value in found["ratios"].values())
    assert set(found["rates"]) == {"some", "some, 24 samples"}
    assert set(found["memory"]) == {
        "some, engine, f32, shared, frames",
        "some, engine, f32, shared, keypoints",
        "some, engine, f32, adaptive clips",
        "some, engine, f32, certain clips",
    }
    assert [set(found[key]["f32"]) for key in ("lengths", "roofline")] == [
        {"15", "30"},
        {"trunk", *(f"block {n}" for n in range(1, 3))},
    ]
    assert found["wire"]["clips"]["30"] == 204_718_080
    assert set(os.listdir(tmp_path)) - before == {"out.json", "plots"}
    drawn = sorted((tmp_path / "plots").iterdir())
    assert [p.stem for p in drawn] == ["lengths", "memory", "rates", "roofline", "wire"]
    assert all(p.read_text().count("<svg") == 1 for p in drawn)
    printed = capsys.readouterr().out
    assert "torch is not installed" in printed
    assert "end_to_end_over_pure/some/f32" in printed


def test_live_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few streams for a few seconds, the liar and the flood among them."""
    monkeypatch.setattr(live_soak, "_SILENCE_S", 2.0)
    monkeypatch.setattr(live_soak, "_SAMPLES", 3)
    command = [
        "live_soak",
        "--minutes",
        "0.1",
        "--streams",
        "2",
        "--max-age",
        "60",  # however slow the machine is
        "--json",
        str(tmp_path / "a.json"),
        "--plot",
        str(tmp_path / "a.svg"),
    ]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ending:
        live_soak.main()
    found = orjson.loads((tmp_path / "a.json").read_bytes())
    assert not ending.value.code, found
    assert found["windows"] > 0
    assert found["others"] > 0
    assert (tmp_path / "a.svg").is_file()


def test_overlap(tmp_path: Path, tiny_model: Path) -> None:
    """Each contestant in a process of its own, on the same samples."""
    data = tmp_path / "some.pkl"
    data.write_bytes(pickle.dumps([annotation(20, seed=1), annotation(30, seed=2)]))
    out = tmp_path / "out.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.overlap",
        "--dataset",
        str(data),
        "--model",
        str(tiny_model),
        "--samples",
        "2",
        "--rounds",
        "1",
        "--json",
        str(out),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    found = orjson.loads(out.read_bytes())
    assert set(found["rates"]) == {"streaming", "prepared clips", "in process"}
    assert all(rate > 0 for rates in found["rates"].values() for rate in rates)
    assert set(found["ratios"]) == {"streaming_over_prepared", "streaming_over_in_process"}
    assert found["facts"]["precision"] == "f32"


def test_cores(tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run on one core and one on all, which choose threads by what they may use."""
    pytest.importorskip("matplotlib")
    data = tmp_path / "some.pkl"
    data.write_bytes(pickle.dumps([annotation(20, seed=seed) for seed in range(2)]))
    out, plot = tmp_path / "out.json", tmp_path / "out.svg"
    flags = ["--dataset", str(data), "--model", str(tiny_model), "--samples", "1"]
    cores.main([*flags, "--rounds", "1", "--json", str(out), "--plot", str(plot)])
    found = orjson.loads(out.read_bytes())
    assert list(map(int, found["rates"])) == cores.doubled(len(os.sched_getaffinity(0)))
    assert all(len(rates) == 1 and rates[0] > 0 for rates in found["rates"].values())
    assert "1 core: 1.00 times 1 core, 100% a core" in capsys.readouterr().out
    assert plot.read_text().count("<svg") == 1
    with pytest.raises(SystemExit):
        cores.main([*flags, "--cores", "100000"])


def test_rows(tmp_path: Path, tiny_model: Path) -> None:
    """Every pair is run, and its logits are compared with the others'."""
    out = tmp_path / "out.json"
    rows.main(["--model", str(tiny_model), "--rounds", "1", "--json", str(out)])
    found = orjson.loads(out.read_bytes())
    assert (found["precision"], type(found["equal"])) == ("f32", bool)
    assert {pair["rows"] for pair in found["pairs"]} == {4, 8, 16}
    assert all(len(pair["wall_s"]) == len(pair["cpu_s"]) == 1 for pair in found["pairs"])


def test_startup(tmp_path: Path, tiny_model: Path) -> None:
    """A checkout against itself."""
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "benchmarks.startup", str(ROOT), str(ROOT)]
    command += ["--model", str(tiny_model), "--rounds", "1", "--json", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    found = orjson.loads(out.read_bytes())
    assert set(found["runs"]) == {"processes", "in process", "classify"}
    for runs in found["runs"].values():
        assert [len(runs[name]) for name in ("before", "after")] == [1, 1]
        for start in (*runs["before"], *runs["after"]):
            assert start["first"] > start["network"] > 0
            assert start["cpu"] > 0
