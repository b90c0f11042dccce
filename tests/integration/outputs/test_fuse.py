"""Two networks, one of joints and one of limbs, and the command that fuses their scores."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import engine
from engine.cli.fuse import main
from engine.outputs.accuracy import top_k_accuracy
from tests.support.samples import annotation


@pytest.fixture(scope="module")
def streams(
    tiny_model: Path, limb_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The scores of six samples by either; the second one reads them in another order."""
    folder = tmp_path_factory.mktemp("streams")
    samples = [annotation(30, seed=seed) for seed in range(6)]
    for name, model, order in (("joint", tiny_model, 1), ("limb", limb_model, -1)):
        data = folder / f"{name}.pkl"
        data.write_bytes(pickle.dumps(samples[::order]))
        scores = folder / f"{name}.npz"
        run("engine.run", "--dataset", data, "--model", model, "--in-process", "--scores", scores)
    return folder / "joint.npz", folder / "limb.npz"


def run(*arguments: object) -> str:
    command = [sys.executable, "-m", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_command(streams: tuple[Path, Path], tmp_path: Path) -> None:
    out, summary = tmp_path / "fused.npz", tmp_path / "fused.json"
    printed = run(
        "engine.fuse", *streams, "--weights", "2,1", "--scores", out, "--summary", summary
    )
    rows = printed.splitlines()
    assert rows[0] == "samples\t6 fused"
    assert rows[1].split() == ["weight", "top-1", "top-5", "mean", "class"]
    joint, limb = (np.load(path) for path in streams)
    with joint, limb, np.load(out) as found:
        assert found["id"].tolist() == joint["id"].tolist() == limb["id"].tolist()[::-1]
        mean = (2 * joint["scores"].astype(np.float64) + limb["scores"][::-1]) / 3
        np.testing.assert_array_equal(found["scores"], mean.astype(np.float32))
        np.testing.assert_array_equal(found["classes"], joint["classes"])
        fused = engine.fuse_scores(streams, [2, 1])
        np.testing.assert_array_equal(found["scores"], fused.scores)
        accuracies = [
            top_k_accuracy(archive["scores"], archive["label"].tolist(), 1)
            for archive in (joint, limb, found)
        ]
    assert [row.split()[2] for row in rows[2:4]] == [f"{a:.4f}" for a in accuracies[:2]]
    assert rows[4].split()[:2] == ["fused", f"{accuracies[2]:.4f}"]
    figures = json.loads(summary.read_text())
    assert figures["fused"]["top1_acc"] == accuracies[2]
    assert [stream["weight"] for stream in figures["streams"]] == [2, 1]
    # What came out goes in again.
    assert "samples\t6 fused" in run("engine.fuse", out, streams[0])


def test_samples_that_not_all_have(
    streams: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(streams[1]) as limb:
        np.savez(
            tmp_path / "limb.npz", **{k: a if k == "classes" else a[1:] for k, a in limb.items()}
        )
    arguments = [str(streams[0]), str(tmp_path / "limb.npz")]
    assert main(arguments) == 2
    assert "limb.npz lacks 1 of 6 samples (video_5). " in capsys.readouterr().err
    assert main([*arguments, "--common"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("samples\t5 fused, 1 left out that not all archives have\n")


def test_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(tmp_path / name) for name in ("a.npz", "b.npz")]
    for name in names:
        np.savez(name, id=np.array(["x"]), scores=np.full((1, 2), 0.5, np.float32))
    assert main(names) == 0
    assert "no accuracy: the samples have no labels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--scores", "a.npz"], "--scores a.npz is the file of an archive that is read as well"),
        (["--summary", "./b.npz"], "--summary b.npz is the file of an archive"),
        (["--scores", "x", "--summary", "x"], "--summary x is the file of --scores as well"),
        (["--scores", "no/x.npz"], "no/x.npz: No such file or directory"),
        (["--weights", "1,2,3"], "3 weights for 2 archives"),
        (["./a.npz"], "./a.npz: the same archive twice"),
        (["none.npz"], "none.npz: No such file or directory"),
    ],
)
def test_one_message_and_nothing_written(
    chdir_tmp: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    for name in ("a.npz", "b.npz"):
        np.savez(name, id=np.array(["x"]), scores=np.full((1, 2), 0.5, np.float32))
    before = {path: path.read_bytes() for path in chdir_tmp.iterdir()}
    assert main(["a.npz", "b.npz", *more]) in (1, 2)
    out, err = capsys.readouterr()
    assert err.startswith("engine.fuse: ")
    assert said in err
    assert not out
    assert {path: path.read_bytes() for path in chdir_tmp.iterdir()} == before
