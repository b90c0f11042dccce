"""What a run writes: never over what it reads, through links, and one file's failure its own."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.joints import command
from tests.support.samples import annotation


def run(*arguments: Any, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=120, check=False, **more
    )


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Four samples, and a folder to write into."""
    (tmp_path / "out").mkdir()
    path = tmp_path / "few.pkl"
    path.write_bytes(pickle.dumps([annotation(20, seed=i) for i in range(4)]))
    return path


@pytest.mark.parametrize("option", ["--output", "--log-json"])
def test_another_name_of_an_input(few: Path, tiny_model: Path, tmp_path: Path, option: str) -> None:
    before = few.read_bytes(), tiny_model.read_bytes()
    names = tmp_path / "out" / "data.jsonl", tmp_path / "out" / "model.jsonl"
    for name, of in zip(names, (few, tiny_model), strict=True):
        os.link(of, name)
    with few.open("rb") as opened:
        for name in (*names, f"/proc/self/fd/{opened.fileno()}"):
            more = ["--overwrite"] if option == "--output" else []
            done = run(few, tiny_model, option, name, *more, pass_fds=[opened.fileno()])
            assert (done.returncode, "as well" in done.stderr) == (2, True), done.stderr
    assert (few.read_bytes(), tiny_model.read_bytes()) == before


def test_another_name_of_a_file_in_a_folder_that_is_read(tiny_model: Path, tmp_path: Path) -> None:
    folder, link = tmp_path / "poses" / "deep", tmp_path / "o.jsonl"
    folder.mkdir(parents=True)
    np.save(folder / "a.npy", np.random.default_rng(0).uniform(9, 200, (20, 17, 2)))
    os.link(folder / "a.npy", link)
    before = link.read_bytes()
    for output in (link, folder / "o.jsonl"):
        done = run(
            folder.parent, tiny_model, "--size", "320x240", "--overwrite", "--output", output
        )
        assert (done.returncode, "in the folder of" in done.stderr) == (2, True), done.stderr
    assert link.read_bytes() == before


def test_two_names_of_one_output(few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """By links, by a link to its folder, and by what the run prints into."""
    first, second, folder = tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "also"
    first.touch()
    os.link(first, second)
    folder.symlink_to(tmp_path / "out")
    for one, other in (
        (first, second),
        (tmp_path / "out" / "a", folder / "a"),
    ):
        done = run(few, tiny_model, "--output", one, "--log-json", other)
        assert (done.returncode, "as well" in done.stderr) == (2, True), done.stderr
    with (tmp_path / "printed").open("wb") as printed:
        line = command(few, tiny_model, "--output", printed.name)
        done = subprocess.run(line, stdout=printed, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, "as well" in done.stderr) == (2, True), done.stderr


def test_every_file_is_written_through_links(few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Those that lead to a file, and those that lead to none yet; again when it is resumed."""
    names = {
        "--output": "o.jsonl",
        "--scores": "s.npz",
        "--summary": "s.json",
        "--report": "r.html",
        "--log-json": "e.jsonl",
    }
    (tmp_path / "out" / "s.json").write_text("old")
    for name in names.values():
        (tmp_path / name).symlink_to(Path("out") / name)
    for option in ("--output", "--resume"):
        wanted = {option if o == "--output" else o: tmp_path / n for o, n in names.items()}
        done = run(few, tiny_model, *(part for pair in wanted.items() for part in pair))
        assert done.returncode == 0, done.stderr
        for name in names.values():
            assert (tmp_path / name).is_symlink()
            assert (tmp_path / "out" / name).stat().st_size > 3
    assert json.loads((tmp_path / "out" / "s.json").read_bytes())["ok"] == 4
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(names.values())


@pytest.mark.parametrize("suffix", ["o.jsonl", "o.parquet"])
@pytest.mark.parametrize("end", [b"\r\n", b" \n", b"\t\r\n\r\n", b"\r"])
def test_a_journal_whose_lines_end_in_another_way(
    few: Path, tiny_model: Path, tmp_path: Path, suffix: str, end: bytes
) -> None:
    """Each record that is appended has a line of its own: a third run can go on, too."""
    output = tmp_path / suffix
    journal = output if suffix == "o.jsonl" else tmp_path / "o.parquet.jsonl"
    assert run(few, tiny_model, "--output", output, "--limit", 2).returncode == 0
    journal.write_bytes(end.join(journal.read_bytes().splitlines()) + end)
    for limit, before in ((3, 2), (4, 3)):
        done = run(few, tiny_model, "--resume", output, "--limit", limit)
        assert done.returncode == 0, done.stderr
        assert f"resumed\t{before} of them" in done.stdout
    lines = [json.loads(line) for line in journal.read_bytes().splitlines() if line.strip()]
    assert sorted(line["index"] for line in lines) == [0, 1, 2, 3]


@pytest.mark.parametrize("change", [lambda s: [s[0] + 2, s[1] - 2, *s[2:]], lambda s: [-s[0], *s]])
def test_records_whose_scores_are_none(
    few: Path, tiny_model: Path, tmp_path: Path, change: Any
) -> None:
    output = tmp_path / "o.jsonl"
    assert run(few, tiny_model, "--output", output, "--limit", 2).returncode == 0
    first, *others = output.read_text().splitlines()
    line = json.loads(first)
    line["scores"] = change(line["scores"])[: len(line["scores"])]
    output.write_text("\n".join([json.dumps(line), *others, ""]))
    done = run(few, tiny_model, "--resume", output)
    assert done.returncode == 2
    assert "line 1 is not a record" in done.stderr


def test_ids_of_all_kinds(tiny_model: Path, tmp_path: Path) -> None:
    """The archive holds them as they are, and costs no more than they do; a name of megabytes is
    that sample's error."""
    data, scores, output = tmp_path / "a.pkl", tmp_path / "s.npz", tmp_path / "o.jsonl"
    names = ["a\0", "a", "é" * 1000, *(f"v{i}" for i in range(297)), "x" * 2_000_000]
    data.write_bytes(
        pickle.dumps([annotation(8, seed=i) | {"frame_dir": n} for i, n in enumerate(names)])
    )
    done = run(data, tiny_model, "--scores", scores, "--output", output)
    assert done.returncode == 3, done.stderr
    assert scores.stat().st_size < 1_000_000
    with np.load(scores) as found:
        blob, offsets = found["id_utf8"].tobytes(), found["id_offsets"].tolist()
    ids = [blob[a:b].decode() for a, b in pairwise(offsets)]
    assert ids == names[:-1]
    [bad] = [line for line in map(json.loads, output.read_text().splitlines()) if "error" in line]
    assert (bad["index"], bad["id"]) == (300, "annotation-300")
    assert "has 2000000 bytes; at most 4096" in bad["error"]["message"]


def test_one_file_that_cannot_be_made_costs_no_other(
    few: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Whatever goes wrong: here the memory is not enough for one of them."""
    (tmp_path / "sitecustomize.py").write_text("""
import numpy as np
def savez(*unused, **also_unused):
    raise MemoryError("Unable to allocate 2.4 GiB")
np.savez = savez
""")
    files = {
        "--scores": tmp_path / "s.npz",
        "--summary": tmp_path / "s.json",
        "--report": tmp_path / "r.html",
    }
    path = f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"
    done = run(
        *(few, tiny_model, *(part for pair in files.items() for part in pair)),
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 1
    assert f"{files['--scores']}: MemoryError: Unable to allocate" in done.stderr
    assert "Traceback" not in done.stderr
    assert {option for option, file in files.items() if file.exists()} == {"--summary", "--report"}
