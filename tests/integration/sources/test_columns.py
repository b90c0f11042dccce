"""Columns as a run meets them: lazy, exact, damaged, elsewhere."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.assets import file_sha256
from engine.base.errors import DatasetError, EngineError, SampleError, UsageError
from engine.base.options import Options
from engine.base.recipe import HMDB51_RECIPE
from engine.base.records import Cause, Failure, Record
from engine.cli.checks import check_outputs
from engine.live.persons import persons_of
from engine.pipeline import Pipeline
from engine.run import main as run
from engine.sources.columns import digest_of, row_of
from engine.sources.dataset import open_dataset
from engine.sources.folders import LocalFolder
from tests.support import ROOT
from tests.support.crowds import shuffled, video, walkers
from tests.support.runs import check, command, options
from tests.support.samples import annotation

pytest.importorskip("pyarrow")

import pyarrow as pa

from converters.annotations import main

COUNT = 12


def convert(source: Path, folder: Path, *more: str) -> Path:
    assert main([str(source), str(folder), *more]) == 0
    return folder


@pytest.fixture(scope="session")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve annotations in a few shards; in `test1` those of even numbers."""
    folder = tmp_path_factory.mktemp("columns")
    rows = [annotation(20 + n, seed=n) for n in range(COUNT)]
    splits = {"test1": [f"video_{n}" for n in range(0, COUNT, 2)], "train1": ["video_1"]}
    (folder / "a.pkl").write_bytes(pickle.dumps({"annotations": rows, "split": splits}))
    return convert(folder / "a.pkl", folder / "a", "--shard-size", "10K")


@pytest.fixture
def copy(columns: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(columns, tmp_path / "copy"))


def test_samples_in_any_order(columns: Path) -> None:
    samples = open_dataset(str(columns), split="all").samples
    for index in (11, 0, 5, 5, -1):
        sample = samples[index]
        assert (sample.id, sample.label) == (f"video_{index % COUNT}", index % COUNT)
        np.testing.assert_array_equal(
            sample.poses(51).keypoint,
            annotation(20 + index % COUNT, seed=index % COUNT)["keypoint"],
        )
    assert [s.index for s in samples[2:9:3]] == [2, 5, 8]
    assert dict(samples[3].annotation)["total_frames"] == 23
    with pytest.raises(IndexError):
        samples[COUNT]


def test_nothing_is_read_before_it_is_needed(
    columns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    before = LocalFolder.read

    def noted(self: LocalFolder, file: str, start: int, length: int) -> bytes | memoryview:
        read.append(file)
        return before(self, file, start, length)

    monkeypatch.setattr(LocalFolder, "read", noted)
    samples = open_dataset(str(columns)).samples
    assert [(s.id, s.label) for s in samples] == [(f"video_{n}", n) for n in range(0, COUNT, 2)]
    assert read == ["index.json", "samples.arrow"]
    samples[1].poses(51)
    assert len(read) == 3


def test_records_are_those_of_the_pickle(
    data: Path, tiny_model: Path, tmp_path: Path, expected: dict[str, Record]
) -> None:
    """In process and streaming, three unusable samples included."""
    folder = convert(data, tmp_path / "out", "--shard-size", "30K")
    for more in ({"in_process": True}, {"workers": 1}):
        with Pipeline(options(folder, tiny_model, **more)) as pipeline:
            check(list(pipeline), expected)


def test_resume(
    data: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, journal = tmp_path / "out", tmp_path / "records.jsonl"
    shared = command(folder, tiny_model, "--in-process", "--resume", journal)[3:]
    convert(data, folder)
    assert run([*shared, "--limit", "3"]) == 0
    # the same annotations in other shards are the same data set
    shutil.rmtree(folder)
    convert(data, folder, "--shard-size", "1K")
    assert run([*shared, "--limit", "9"]) == 3
    lines = [orjson.loads(line) for line in journal.read_bytes().splitlines()]
    assert [line["index"] for line in lines] == list(range(9))
    shutil.rmtree(folder)
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(pickle.loads(data.read_bytes())[:-1]))
    convert(tmp_path / "b.pkl", folder)
    assert run(shared) == 2
    assert "dataset: " in capsys.readouterr().err


def failures(folder: Path) -> list[str]:
    found: list[str] = []
    for sample in open_dataset(str(folder), split="all").samples:
        try:
            sample.poses(51)
        except SampleError as error:
            found.append(f"{error.stage}: {error}")
    return found


def test_a_flipped_bit_costs_its_sample(copy: Path) -> None:
    path = copy / "shard-00001.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    [message] = failures(copy)
    assert message.startswith("read: ")
    assert "shard-00001.arrow is damaged (another checksum)" in message


@given(st.data())
def test_any_damage_to_a_shard_is_noticed(columns: Path, data: st.DataObject) -> None:
    """Samples of the shard may fail, and none has other poses."""
    index = orjson.loads((columns / "index.json").read_bytes())
    [[start, length, _]] = index["shards"][0]["batches"][:1]
    path = columns / "shard-00000.arrow"
    whole = path.read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        content[start + data.draw(st.integers(0, length - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        for sample in open_dataset(str(columns), split="all").samples:
            number = sample.index
            try:
                found = sample.poses(51)
            except SampleError as error:
                assert "damaged" in str(error)  # noqa: PT017
            else:
                expected = annotation(20 + number, seed=number)
                assert found.keypoint.tobytes() == expected["keypoint"].tobytes()
                assert found.keypoint_score is not None
                assert found.keypoint_score.tobytes() == expected["keypoint_score"].tobytes()
    finally:
        path.write_bytes(whole)


def edited(**more: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "index.json"
        path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | more))

    return edit


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size - 9)


def gone(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def flipped(folder: Path) -> None:
    path = folder / "samples.arrow"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut("shard-00001.arrow"), r"says \d+ bytes of shard-00001.arrow, which has \d+"),
        (cut("samples.arrow"), "bytes of samples.arrow"),
        (cut("index.json"), "cannot be read"),
        (gone("shard-00001.arrow"), "lacks shard-00001.arrow"),
        (gone("samples.arrow"), "lacks samples.arrow"),
        (gone("index.json"), "lacks index.json; `python -m converters.annotations` writes"),
        (flipped, "another checksum than samples.arrow"),
        (edited(version=3), r"index.json is of version 3; this engine reads 1 to 2. Copy it anew"),
        (edited(format="x"), "another format"),
        (edited(shards=3), "cannot be read"),
        (edited(shards=[]), "does not describe samples.arrow"),
        (edited(splits={"other": 1}), "does not describe samples.arrow"),
        (edited(shards=[{"file": "../a", "bytes": 1, "sha256": "", "batches": []}]), "shard 0 is"),
        (
            edited(
                shards=[
                    {"file": "shard-00000.arrow", "bytes": 9, "sha256": "", "batches": [[0, 10, 1]]}
                ]
            ),
            "a batch beyond shard-00000.arrow",
        ),
        (edited(samples=None), "cannot be read"),
        (edited(more=1), "cannot be read"),
    ],
    ids=range(16),
)
def test_folders_that_are_refused(copy: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(copy)
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset(str(copy))
    assert str(copy) in str(caught.value)


def test_splits_and_limits(columns: Path) -> None:
    assert len(open_dataset(str(columns), limit=2).samples) == 2
    assert open_dataset("hmdb51", str(columns), "train1").samples[0].id == "video_1"
    with pytest.raises(DatasetError, match="no split 'val'; it has test1, train1"):
        open_dataset(str(columns), split="val")


def test_outputs_are_not_in_the_data(columns: Path, tiny_model: Path) -> None:
    for name in ("index.json", "new.jsonl"):
        given = Options(dataset=str(columns), model=str(tiny_model), output=str(columns / name))
        with pytest.raises(UsageError, match="in the folder of --dataset"):
            check_outputs(given)


@pytest.fixture
def memory(columns: Path) -> Iterator[Any]:
    """fsspec's file system in memory, with the same data."""
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    files.put(str(columns), "/data", recursive=True)
    yield files
    files.rm("/data", recursive=True)


@pytest.mark.parametrize("address", ["memory://data", "memory://data/", "file://{}"])
def test_elsewhere(memory: Any, columns: Path, address: str) -> None:
    here, there = (open_dataset(a) for a in (str(columns), address.format(columns)))
    assert here.identity() == there.identity()
    for a, b in zip(here.samples, there.samples, strict=True):
        assert (a.id, a.label) == (b.id, b.label)
        assert a.poses(51).keypoint.tobytes() == b.poses(51).keypoint.tobytes()


def test_a_run_over_data_elsewhere(memory: Any, tiny_model: Path) -> None:
    chosen = Options(dataset="memory://data", model=str(tiny_model), in_process=True, limit=2)
    with Pipeline(chosen) as pipeline:
        assert [r.id for r in pipeline if not isinstance(r, Failure)] == ["video_0", "video_2"]


@pytest.mark.parametrize("more", [{"in_process": True}, {"workers": 1}])
def test_data_that_is_out_of_reach_ends_the_run(
    memory: Any, tiny_model: Path, more: dict[str, Any]
) -> None:
    """Its samples have not failed: a later run can go on with them."""
    found: list[Record] = []
    message = r"memory://data/shard-\d+.arrow cannot be read any more"
    with Pipeline(Options(dataset="memory://data", model=str(tiny_model), **more)) as pipeline:
        memory.rm(max(memory.glob("/data/shard-*")))
        with pytest.raises(EngineError, match=message):
            found.extend(pipeline)
    assert not [record for record in found if isinstance(record, Failure)]


def test_addresses_that_lead_nowhere(memory: Any) -> None:
    with pytest.raises(DatasetError, match="memory://other lacks index.json"):
        open_dataset("memory://other")
    with pytest.raises(DatasetError, match="nosuch://x: not an address that fsspec knows"):
        open_dataset("nosuch://x")


@pytest.mark.parametrize(("package", "extra"), [("pyarrow", "arrow"), ("fsspec", "remote")])
def test_packages_that_are_missing(columns: Path, package: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from engine.run import main; main(['--dataset', sys.argv[1]])"
    )
    address = f"file://{columns}" if package == "fsspec" else columns
    program = [sys.executable, "-c", code, str(address)]
    result = subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT)
    assert f"pip install '.[{extra}]'" in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def test_pyarrow_is_loaded_for_columns_alone(data: Path) -> None:
    code = (
        "import sys, engine.run, engine.pipeline\n"
        "from engine.sources.dataset import open_dataset\n"
        "open_dataset(sys.argv[1]); print('pyarrow' in sys.modules, 'fsspec' in sys.modules)"
    )
    program = [sys.executable, "-c", code, str(data)]
    result = subprocess.run(program, capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.split() == ["False", "False"]


def test_persons_are_read_when_it_is_their_turn(tmp_path: Path) -> None:
    """From columns, once to find the persons, and for all persons of a video once more; what names
    a person reads nothing."""
    rows = [video(shuffled(walkers(2, 40, n)), f"v{n}") for n in range(3)]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(rows))
    folder = convert(tmp_path / "a.pkl", tmp_path / "a", "--shard-size", "1K")
    found, _ = persons_of(open_dataset(str(folder)), 51, HMDB51_RECIPE)
    shard = folder / "shard-00001.arrow"
    content = shard.read_bytes()
    shard.write_bytes(bytes(len(content)))
    samples = found.samples
    assert [(s.id, s.label, s.who) for s in samples] == [
        (f"v{n}#track-{k}", None, f"track-{k}") for n in range(3) for k in range(2)
    ]
    broken = samples[2].read(51)
    assert isinstance(broken, Cause)
    assert "damaged" in broken.message
    shard.write_bytes(content)
    assert not isinstance(samples[2].read(51), Cause)
    expected, _ = persons_of(open_dataset(str(tmp_path / "a.pkl")), 51, HMDB51_RECIPE)
    for one, other in zip(samples, expected.samples, strict=True):
        np.testing.assert_array_equal(one.poses(51).keypoint, other.poses(51).keypoint)


def of_version_1(folder: Path) -> None:
    """Write a folder as it was before rows said whether they are persons."""
    index = orjson.loads((folder / "index.json").read_bytes()) | {"version": 1}
    digests = []
    for shard in index["shards"]:
        path = folder / shard["file"]
        table = pa.ipc.open_file(path.read_bytes()).read_all().drop_columns(["tracks"])
        shard["batches"] = []
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            for batch in table.to_batches():
                writer.write_batch(batch)
                length = pa.ipc.get_record_batch_size(batch)
                shard["batches"].append((sink.tell() - length, length, len(batch)))
                digests += [digest_of(row_of(batch, number)) for number in range(len(batch))]
        shard |= {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    path = folder / "samples.arrow"
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    field = table.schema.get_field_index("digest")
    table = table.set_column(
        field, table.schema.field(field), pa.array(digests, table.schema.field(field).type)
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    index["samples"] = path.stat().st_size, file_sha256(path)
    (folder / "index.json").write_bytes(orjson.dumps(index))


def test_whether_rows_are_persons_is_kept(tmp_path: Path) -> None:
    said = (True, False, None, "odd")
    rows = [annotation(20, seed=n, tracks=tracks) for n, tracks in enumerate(said)]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(rows))
    folder = convert(tmp_path / "a.pkl", tmp_path / "a")
    assert [s.tracks for s in open_dataset(str(folder)).samples] == [True, False, None, None]
    of_version_1(folder)
    samples = open_dataset(str(folder)).samples
    assert [s.tracks for s in samples] == [None] * 4
    for sample, row in zip(samples, rows, strict=True):
        np.testing.assert_array_equal(sample.poses(51).keypoint, row["keypoint"])
