"""Annotations to columns and back: nothing changes, nothing hostile runs, memory stays flat."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import subprocess
import sys
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters import piecemeal
from engine.base.choices import COORDINATES
from engine.base.errors import DatasetError, SampleError, printable
from engine.skeletons.samples import Sample
from engine.sources.annotations import of_root, read_annotations
from engine.sources.dataset import open_dataset
from engine.sources.formats.poses import Reading
from tests.support import ROOT
from tests.support.samples import annotation, walking

pytest.importorskip("pyarrow")

from converters.annotations import main


def write(path: Path, root: Any, protocol: int | None = None) -> Path:
    path.write_bytes(pickle.dumps(root, protocol))
    return path


def convert(source: Path, folder: Path, *more: object) -> Path:
    assert main([str(source), str(folder), *map(str, more)]) == 0
    return folder


def outcome(sample: Sample) -> Any:
    """Everything that a run sees of a sample, its arrays to the bit."""
    try:
        poses = sample.poses(51)
    except SampleError as error:
        return sample.index, sample.id, sample.label, error.stage, printable(error)
    except Exception as error:
        message = printable(f"{type(error).__name__}: {error}")
        return sample.index, sample.id, sample.label, "read", message
    score = poses.keypoint_score
    return (
        sample.index,
        sample.id,
        sample.label,
        poses.notes,
        poses.img_shape,
        poses.total_frames,
        poses.keypoint.dtype,
        poses.keypoint.shape,
        poses.keypoint.tobytes(),
        None if score is None else (score.dtype, score.shape, score.tobytes()),
    )


def assert_same(folder: Path, source: Path, *splits: str | None) -> None:
    for split in splits or (None, "all"):
        found, expected = (open_dataset(str(p), split=split) for p in (folder, source))
        assert found.split == expected.split
        assert [*map(outcome, found.samples)] == [*map(outcome, expected.samples)]


@pytest.mark.parametrize(
    "name",
    [
        "data/jhmdb_hmdb51_2d.pkl",
        "data/hmdb51_mini.pkl",
        "golden/annotations.pkl",
        "golden/annotations.npz",
    ],
)
def test_real_annotations(shared: Path, tmp_path: Path, name: str) -> None:
    folder = convert(shared / name, tmp_path / "out", "--shard-size", "64K")
    splits = read_annotations(shared / name).splits
    index = orjson.loads((folder / "index.json").read_bytes())
    assert list(index["splits"]) == list(splits or {})
    assert_same(folder, shared / name, "all", *(s for s, size in index["splits"].items() if size))


ODD = [
    "junk",
    None,
    [],
    {},
    {"frame_dir": "bare"},
    {"label": 3},
    {"frame_dir": 7, "keypoint": "x"},
    annotation(seed=1, label=51),
    annotation(seed=2, label="wave"),
    annotation(seed=3, label=True),
    annotation(seed=4, label=2**70),
    annotation(seed=5, label=7.0),
    annotation(seed=6, label=None),
    annotation(seed=7, label=10**5000),
    annotation(seed=8, label="\udc80"),
    annotation(seed=9, frame_dir="\udc80"),
    annotation(seed=1),
    annotation(seed=1, frame_dir="a#2"),
    annotation(seed=10, keypoint=np.zeros((1, 20, 25, 2))),
    annotation(seed=11, img_shape=(1,)),
    annotation(seed=12, keypoint_score=None, total_frames=np.int16(3)),
    annotation(seed=13, keypoint=np.zeros((0, 20, 17, 2), ">f4"), keypoint_score=None),
    annotation(
        seed=14,
        keypoint=np.ones((2, 3, 17, 2), np.uint8).tolist(),
        keypoint_score=None,
        total_frames=2,
    ),
    annotation(seed=15, keypoint=np.array([[1], None], object)),
    annotation(seed=16, keypoint=np.full((1, 20, 17, 2), np.nan, "<f8")),
    annotation(seed=17, keypoint=np.asfortranarray(annotation(seed=17)["keypoint"])),
    annotation(seed=18, keypoint=np.full((1, 20, 17, 2), np.inf)),
    annotation(seed=19, total_frames=99),
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_odd_annotations_fail_as_they_did(
    tmp_path: Path, protocol: int, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = {"test1": ["video_1", "7", "video_12", "absent"], "x": {"bare"}}
    source = write(tmp_path / "a.pkl", {"split": splits, "annotations": ODD}, protocol)
    folder = convert(source, tmp_path / "out", "--shard-size", "20K")
    assert_same(folder, source, "test1", "x", "all")
    limited = open_dataset(str(folder), split="all", limit=5).samples
    assert [s.id for s in limited] == [
        s.id for s in open_dataset(str(source), None, "all", 5).samples
    ]
    assert "as a whole" not in capsys.readouterr().err or protocol == 0
    with pytest.raises(DatasetError, match="no split 'y'; it has test1, x"):
        open_dataset(str(folder), split="y")


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 60), st.integers(), st.floats(), st.text(max_size=8)
)
FIELDS = st.dictionaries(
    st.sampled_from(["frame_dir", "label", "img_shape", "total_frames", "keypoint_score", "odd"]),
    SCALARS | st.tuples(st.integers(1, 400), SCALARS) | st.lists(SCALARS, max_size=3),
)
DTYPES = st.sampled_from(["<f2", "<f4", ">f4", "<f8", "u1", "<i4", "<i8", "?", "<U3"])


@st.composite
def annotations(draw: st.DrawFn) -> Any:
    """Whole, with some fields replaced, or none at all."""
    persons, frames = draw(st.integers(0, 2)), draw(st.integers(0, 4))
    keypoint = np.full((persons, frames, 17, 2), draw(st.integers(0, 9)), draw(DTYPES))
    whole = {
        "frame_dir": draw(st.sampled_from("abc")),
        "label": draw(st.integers(0, 60)),
        "img_shape": (240, 320),
        "total_frames": frames,
        "keypoint": keypoint,
    }
    return draw(st.one_of(st.just(whole), FIELDS.map(lambda f: {**whole, **f}), FIELDS, SCALARS))


@given(st.lists(annotations(), min_size=1, max_size=6), st.integers(0, 5), st.booleans())
def test_any_annotations(
    tmp_path_factory: pytest.TempPathFactory, found: list[Any], protocol: int, named: bool
) -> None:
    folder = tmp_path_factory.mktemp("any")
    root = {"annotations": found, "split": {"test1": ["a"], "b": ["b", "c"]}} if named else found
    source = write(folder / "a.pkl", root, protocol)
    convert(source, folder / "out")
    assert_same(folder / "out", source, "all")


def test_jsonl(tmp_path: Path) -> None:
    lines = [
        {**a, "keypoint": a["keypoint"].tolist(), "keypoint_score": None, "split": split}
        for a, split in ((annotation(20, seed=1), ["s", "t"]), (annotation(30, seed=2), "t"))
    ]
    source = tmp_path / "a.jsonl"
    source.write_bytes(b"\n".join([*map(orjson.dumps, lines), b"{", b"[1]"]))
    assert_same(convert(source, tmp_path / "out"), source, "s", "t", "all")


def test_numbers_are_stored_as_they_are_and_looked_at_when_they_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that `--coordinates` is the run's, and notes are those of the file."""
    pixels, about = walking(1, 20, 200), {"img_shape": (480, 640)}
    shares = pixels / [640, 480]
    percent = {"keypoint_score": np.full((1, 20, 17), 80)}
    found = [
        {"frame_dir": "a", "keypoint": shares, **about},
        {"frame_dir": "b", "keypoint": pixels, **percent, **about},
        {"frame_dir": "c", "keypoint": 2 * shares - 1, **about},
        {"frame_dir": "d", "keypoint": 0 * pixels, **about},
        {"frame_dir": "e", "keypoint": pixels.swapaxes(0, 1), **about},
    ]
    split = defaultdict(list, test1=["a", "c", "x", "y"], val=["a", "b"])
    source = write(tmp_path / "a.pkl", {"split": split, "annotations": found})
    folder = convert(source, tmp_path / "out")
    said = capsys.readouterr().out
    assert "annotations  5, 2 of them cannot be scored" in said
    assert "noted        1 annotation: nobody is seen (first: d)" in said
    assert "noted        1 annotation: coordinates are shares of the picture" in said
    assert "noted        1 annotation: scores of joints run to 100" in said
    assert "splits       2 names are not in the file: x, y" in said
    assert_same(folder, source, "test1", "val", "all")
    for coordinates in COORDINATES:
        here, there = (
            open_dataset(str(path), reading=Reading(coordinates=coordinates))
            for path in (folder, source)
        )
        assert here.absent == there.absent == ["x", "y"]
        assert [*map(outcome, here.samples)] == [*map(outcome, there.samples)]


@pytest.mark.parametrize("form", ["pkl", "json"])
def test_one_annotation(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    one = annotation(20, seed=3)
    source = write(tmp_path / "a.pkl", one)
    if form == "json":
        source = tmp_path / "a.json"
        source.write_bytes(orjson.dumps(one, default=lambda array: array.tolist()))
    assert_same(convert(source, tmp_path / "out"), source, "all")
    assert capsys.readouterr().err == ""


def taken(data: bytes) -> tuple[list[Any], Any]:
    """What the piecemeal reader hands over of a pickle."""
    found: list[Any] = []
    splits = piecemeal._read_pickle(io.BytesIO(data), found.append)
    return found, splits


TREES = st.recursive(
    st.one_of(st.integers(), st.text(max_size=3), st.none(), st.binary(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(st.sampled_from(["annotations", "split", "a", "b"]), inner),
    ),
    max_leaves=25,
)


@given(
    st.one_of(st.lists(TREES), TREES, TREES.map(lambda t: {"annotations": [t], "x": t})),
    st.integers(0, 5),
    st.booleans(),
)
def test_any_tree_is_read_as_a_whole_reads_it_or_not_at_all(
    root: Any, protocol: int, optimised: bool
) -> None:
    data = pickle.dumps(root, protocol)
    data = pickletools.optimize(data) if optimised else data
    try:
        expected = of_root(pickle.loads(data))
    except DatasetError:
        with pytest.raises((DatasetError, piecemeal.Irregular)):
            taken(data)
        return
    try:
        found, splits = taken(data)
    except piecemeal.Irregular:
        return
    assert found == expected.annotations
    assert splits == expected.splits


def test_thousands_are_never_held_together() -> None:
    """Pickle appends a thousand items at once; here one leaves when the next is complete."""
    alive: list[int] = []
    data = pickle.dumps(OrderedDict(annotations=[annotation(seed=n) for n in range(1500)]))

    class Held(piecemeal._Unpickler):  # type: ignore[misc]
        def load_setitems(self) -> None:
            super().load_setitems()
            alive.append(len(self.stack))

        dispatch = {**piecemeal._Unpickler.dispatch, pickle.SETITEMS[0]: load_setitems}  # noqa: RUF012

    found: list[str] = []
    reader = Held(io.BytesIO(data), lambda a: found.append(a["frame_dir"]))
    reader.load()
    assert found == [f"video_{n}" for n in range(1500)]
    assert max(alive) <= 3


def test_shared_arrays_are_read_as_a_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array, size = np.ones((1, 5, 17, 2), np.float32), (240, 320)
    rows = [{"frame_dir": f"v{n}", "img_shape": size, "keypoint": array} for n in range(4)]
    source = write(tmp_path / "a.pkl", rows)
    assert_same(convert(source, tmp_path / "out", "--shard-size", 1), source)
    assert "a.pkl: some of its annotations share an array" in capsys.readouterr().err


def test_shared_small_values_are_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size, label, name = (240, 320), np.int64(3), "video"
    rows = [
        annotation(seed=n) | {"img_shape": size, "label": label, "filename": name} for n in range(3)
    ]
    source = write(tmp_path / "a.pkl", {"split": {"test1": [name]}, "annotations": rows})
    assert_same(convert(source, tmp_path / "out"), source)
    assert "whole" not in capsys.readouterr().err


class _Attack:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_nothing_is_executed(
    chdir_tmp: Path, capsys: pytest.CaptureFixture[str], protocol: int
) -> None:
    write(Path("a.pkl"), [annotation(), _Attack()], protocol)
    assert main(["a.pkl", "out"]) == 2
    assert "system, which no annotation file needs" in capsys.readouterr().err
    assert os.listdir() == ["a.pkl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps([annotation()])[:-200], "truncated or not a pickle"),
        (b"", "truncated or not a pickle"),
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "expected a list"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\x00\x00\x00]", "truncated or not a pickle"),
        (b"\x80\x04B\xff\xff\xff\xff.", "truncated or not a pickle"),
        (b"\x80\x02]q\x00h\x05a.", "truncated or not a pickle"),
        (pickle.dumps([]), "holds no annotations"),
        (pickle.dumps({"annotations": 1}), "expected a list"),
        (pickle.dumps({"annotations": [annotation()], "split": {"x": 1}}), "split 'x' is a int"),
        (pickle.dumps(([annotation(), annotation()], 1)), "expected a list"),
    ],
    ids=range(10),
)
def test_damaged_and_hostile_files(
    tmp_path: Path, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    assert main([str(tmp_path / "a.pkl"), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "a.pkl" in error
    assert message in error
    assert os.listdir(tmp_path) == ["a.pkl"]


def test_tuples_of_dicts_where_annotations_are_expected() -> None:
    """They are built where items of the list would be."""
    item = tuple({"a": n, "b": n} for n in range(5))
    with pytest.raises(piecemeal.Irregular, match="unusual way"):
        taken(pickletools.optimize(pickle.dumps({"annotations": [item]})))


def test_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "a.pkl", [annotation()])
    (tmp_path / "full").mkdir()
    write(tmp_path / "full" / "x", 1)
    for arguments, message in (
        (["nowhere.pkl", "out"], "nowhere.pkl: no such file"),
        ([source, tmp_path / "full"], "full is there already"),
        ([source, source], "a.pkl is there already"),
        ([tmp_path / "full", tmp_path / "out"], "full: a folder without poses of a known form"),
        ([source, "s3://bucket/out"], "write a folder on this machine, and copy it there"),
        ([source, tmp_path / "out", "--shard-size", "0"], "at least one byte"),
        ([ROOT / "setup.cfg", tmp_path / "out"], "annotation files end in"),
    ):
        assert main([*map(str, arguments)]) == 2
        assert message in capsys.readouterr().err
    assert main([str(source), "/dev/null/out"]) == 1
    assert "/dev/null/out: Not a directory" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["a.pkl", "full"]
    (tmp_path / "empty").mkdir()
    convert(source, tmp_path / "empty")
    printed = capsys.readouterr().out
    for line in ("annotations  1\n", "shards       1\n", "peak memory"):
        assert line in printed


def test_the_same_annotations_are_the_same_data_set(tmp_path: Path) -> None:
    """Whatever the shards' size, so that runs go on."""
    source = write(tmp_path / "a.pkl", [annotation(seed=n) for n in range(9)])
    identities = {
        open_dataset(str(convert(source, tmp_path / size, "--shard-size", size))).identity()
        for size in ("1K", "10K", "1M")
    }
    other = convert(write(tmp_path / "b.pkl", [annotation(seed=1)]), tmp_path / "other")
    assert len(identities | {open_dataset(str(other)).identity()}) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "megabytes"), [("pkl", 200), ("jsonl", 80)])
def test_memory(tmp_path: Path, ending: str, megabytes: int) -> None:
    """A file is larger than what its conversion and a pass over all poses take, several times."""
    figures = tmp_path / "figures.json"
    program = [
        sys.executable,
        "-m",
        "benchmarks.columns",
        "--form",
        ending,
        "--json",
        figures,
        "--megabytes",
        megabytes,
        "--folder",
        tmp_path,
    ]
    subprocess.run([*map(str, program)], cwd=ROOT, check=True, capture_output=True)
    found = orjson.loads(figures.read_bytes())
    assert found["file"] > 0.9e6 * megabytes
    assert found["converting"]["growth"] < found["file"] / 3
    assert found["streaming"]["growth"] < found["file"] / 5
