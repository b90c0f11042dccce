"""Promise 4, of files: what is damaged or hostile is refused whole, by name, and does nothing."""

from __future__ import annotations

import collections
import io
import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.errors import DatasetError
from engine.base.records import Cause
from engine.skeletons.samples import Sample
from engine.sources.dataset import open_dataset
from tests.support.samples import annotation


class Attack:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


class Bomb:
    """Pickles as a call that would make a huge array of nothing."""

    def __reduce__(self) -> Any:
        return np.ndarray, ((10**12,),)


def a_bomb_of_zeros(path: Path) -> None:
    """An .npz of a kilobyte a member that unpacks to more than the memory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("frame_dir.npy", b"\0" * 1000)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02") + 24  # what the directory says of its size
    content[place : place + 4] = (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(content)


def laughs(depth: int, of: Any = "lol") -> Any:
    """A tuple of twice a tuple of twice …: a few bytes a level, twice as many values."""
    for _ in range(depth):
        of = of, of
    return of


def keyed(depth: int, how: bytes = b"}%bK\x01s") -> bytes:
    """A pickle of which that is a key."""
    return b"\x80\x04](" + how % (b"K\x01" + b"q\x00h\x00\x86" * depth) + b"e."


def lists(depth: int) -> Any:
    """The same as lists, which become one array."""
    found: Any = [0.5] * 100
    for _ in range(depth):
        found = [found, found]
    return found


def a_circle() -> Any:
    found: list[Any] = []
    found.append(found)
    return found


def copies(count: int) -> bytes:
    """A pickle that encodes the same 50 kB of text again and again, at 9 bytes a time."""
    text = b"X" + (50_000).to_bytes(4, "little") + b"x" * 50_000
    head = b"\x80\x02c_codecs\nencode\nq\x00" + text + b"q\x01]"
    return head + b"h\x00h\x01\x85Ra" * count + b"."


def rows_without_data(path: Path) -> None:
    """An .npz of 522 bytes whose header says that there are 400 million rows."""
    target = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        target, {"descr": "<f4", "fortran_order": False, "shape": (400_000_000,)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("frame_dir.npy", target.getvalue())
        archive.writestr("img_shape.npy", target.getvalue())


def a_dictionary_of_gigabytes(path: Path) -> None:
    """A member packed by LZMA, whose decoder takes what the file says."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("frame_dir.npy", b"x" * 1000)
    content = bytearray(path.read_bytes())
    place = content.index(b"frame_dir.npy") + 13 + 4 + 1  # behind version, length and a byte
    content[place : place + 4] = (3 << 30).to_bytes(4, "little")
    path.write_bytes(content)


def more_than_there_is(path: Path) -> None:
    """A member of 4 GB in a file of some hundred bytes: its reader takes 2 GB at once."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("frame_dir.npy", b"\0" * 1000)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02") + 20  # what the directory says of its bytes
    content[place : place + 4] = (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(content)


def rows_of_nothing(path: Path) -> None:
    """Of 4 million ids of no letters in a file of some kilobytes."""
    np.savez_compressed(path, frame_dir=np.zeros(4_000_000, "U1"), img_shape=np.zeros((1, 2)))


def write_pickle(value: Any) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(pickle.dumps(value))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("attack.pkl", write_pickle({"annotations": [Attack()]})),
        ("bomb.pkl", write_pickle([Bomb()])),
        ("memo.pkl", lambda p: p.write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")),
        ("truncated.pkl", lambda p: p.write_bytes(pickle.dumps([annotation(20)])[:-40])),
        ("claims.pkl", lambda p: p.write_bytes(b"\x80\x04B\xff\xff\xff\x7f" + b"x" * 10)),
        ("frame.pkl", lambda p: p.write_bytes(b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f" + b"x")),
        ("empty.pkl", lambda p: p.write_bytes(b"")),
        ("other.pkl", write_pickle({"a": 1})),
        ("counter.pkl", write_pickle(collections.Counter("abc"))),
        ("key.pkl", lambda p: p.write_bytes(keyed(60))),
        ("deep_key.pkl", lambda p: p.write_bytes(keyed(100_000))),
        ("element.pkl", lambda p: p.write_bytes(keyed(60, b"\x8f(%b\x90"))),
        ("frozen.pkl", lambda p: p.write_bytes(keyed(60, b"(%b\x91"))),
        ("called.pkl", lambda p: p.write_bytes(keyed(60, b"cbuiltins\nset\n]%ba\x85R"))),
        ("label.pkl", write_pickle([annotation(2, label=laughs(60))])),
        ("img_shape.pkl", write_pickle([annotation(2, img_shape=laughs(60))])),
        ("total_frames.pkl", write_pickle([annotation(2, total_frames=laughs(60))])),
        ("split.pkl", write_pickle({"annotations": [annotation(2)], "split": {"a": laughs(60)}})),
        ("lists.pkl", write_pickle([annotation(2, keypoint=lists(21))])),
        ("circle.pkl", write_pickle([annotation(2, keypoint=a_circle())])),
        ("copies.pkl", lambda p: p.write_bytes(copies(20_000))),
        ("bytes.pkl", lambda p: p.write_bytes(b"\x80\x05\x96" + b"\0\0\0\x7f" + b"\0" * 4 + b".")),
        ("rows.npz", rows_without_data),
        ("nothing.npz", rows_of_nothing),
        ("letters.npz", lambda p: np.savez(p, frame_dir=np.frombuffer(b"\xff" * 8, "U1"))),
        ("packed.npz", more_than_there_is),
        ("lzma.npz", a_dictionary_of_gigabytes),
        ("bomb.npz", a_bomb_of_zeros),
        ("objects.npz", lambda p: np.savez(p, frame_dir=np.array([Attack()], dtype=object))),
        ("truncated.npz", lambda p: p.write_bytes(b"PK\x03\x04" + b"x" * 100)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_files(chdir_tmp: Path, name: str, write: Callable[[Path], object]) -> None:
    """Refused whole, by name, at once, and nothing in them is executed or allocated."""
    write(chdir_tmp / name)
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match=name):
            open_dataset(str(chdir_tmp / name))
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert not (chdir_tmp / "pwned").exists()


@pytest.mark.parametrize("field", ["label", "img_shape", "total_frames"])
def test_a_value_of_thousands_is_not_spelt_out(field: str, tmp_path: Path) -> None:
    """As many values as a file may have: one sample's error, in a line."""
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([annotation(2, **{field: laughs(14)})]))
    [sample] = open_dataset(str(tmp_path / "a.pkl")).samples
    found = sample.read(51)
    assert isinstance(found, Cause)
    assert found.type == "SampleError"
    assert field in found.message
    assert len(found.message) < 200
    # nor are those that are made in Python, which nobody counts
    found = Sample(0, "a", annotation(2, **{field: laughs(60)})).read(51)
    assert isinstance(found, Cause)
    assert len(found.message) < 200


@pytest.mark.parametrize("frames", [2**31, 2**40])
def test_nobody_for_longer_than_a_message_holds(frames: int, tmp_path: Path) -> None:
    """No bytes, and yet more than a worker can be told."""
    nobody = annotation(2, keypoint=np.zeros((0, frames, 17, 2), "f4"), total_frames=frames)
    nobody["keypoint_score"] = None
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([nobody]))
    [sample] = open_dataset(str(tmp_path / "a.pkl")).samples
    found = sample.read(51)
    assert isinstance(found, Cause)
    assert f"{frames} frames" in found.message


def test_text_among_numbers(tmp_path: Path) -> None:
    """One long text would make all others as long: 4 GB of a megabyte."""
    hostile = annotation(2, keypoint=["x"] * 1000 + ["x" * 1_000_000])
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([hostile]))
    [sample] = open_dataset(str(tmp_path / "a.pkl")).samples
    tracemalloc.start()
    try:
        found = sample.read(51)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert isinstance(found, Cause)
    assert "expected numbers" in found.message


@pytest.mark.parametrize("suffix", [".pkl", ".json", ".jsonl", ".npz", ".npy", ".txt", ""])
def test_a_file_that_has_no_end(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"z{suffix}"
    path.symlink_to("/dev/zero")
    with pytest.raises(DatasetError, match="no regular file, but a device or a pipe"):
        open_dataset(str(path))
