"""Torch checkpoints of both formats, read without torch."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoint import read_checkpoint
from engine.base.assets import file_sha256
from engine.base.errors import ModelError
from tests.support import DATA

FORMATS = ["zip", "legacy"]


def ramp(*shape: int) -> Any:
    return np.arange(np.prod(shape)).reshape(shape) / 8


@pytest.mark.parametrize("form", FORMATS)
def test_tensors(form: str) -> None:
    path = DATA / f"checkpoint_{form}.pth"
    checkpoint = read_checkpoint(path)
    assert checkpoint.sha256 == file_sha256(path)
    expected = {
        "float": ramp(4, 6).astype("f4"),
        "transposed_view": ramp(4, 6).astype("f4").T[1:, ::2],
        "double": ramp(3),
        "half": ramp(2, 2).astype("f2"),
        "bfloat16": ramp(2, 2).astype("f4"),
        "parameter": ramp(2).astype("f4"),
        "scalar": np.array(7, "i8"),
        "empty": np.zeros((0, 3), "f4"),
    }
    assert list(checkpoint.state_dict) == list(expected)
    for name, array in expected.items():
        found = checkpoint.state_dict[name]
        assert found.dtype == array.dtype, name
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("form", FORMATS)
def test_truncated(form: str, tmp_path: Path) -> None:
    whole = (DATA / f"checkpoint_{form}.pth").read_bytes()
    path = tmp_path / "a.pth"
    for end in range(0, len(whole) - 1, 41):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match=r"a\.pth"):
            read_checkpoint(path)


def test_real_checkpoint(shared: Path) -> None:
    state = read_checkpoint(shared / "models" / "posec3d_jhmdb_split1.pth").state_dict
    assert len(state) == 260
    learned = [a for n, a in state.items() if "running" not in n and "num_batches" not in n]
    assert sum(a.size for a in learned) == 3_029_523
    assert state["backbone.conv1.conv.weight"].shape == (32, 17, 1, 7, 7)


class _Attack:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


def as_zip(path: Path, root: Any, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a/data.pkl", pickle.dumps(root, 2))
        archive.writestr("a/data/0", b"\0" * 32)
    return path


def as_legacy(path: Path, root: Any) -> Path:
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, root, []]
    path.write_bytes(b"".join(pickle.dumps(p, 2) for p in parts))
    return path


@pytest.mark.parametrize("write", [as_zip, as_legacy])
def test_nothing_is_executed(chdir_tmp: Path, write: Any) -> None:
    """Unknown objects are inert; only inside state_dict are they an error."""
    harmless = write(chdir_tmp / "a.pth", {"meta": _Attack(), "state_dict": {}})
    assert read_checkpoint(harmless).state_dict == {}
    hostile = write(chdir_tmp / "b.pth", {"state_dict": {"weight": _Attack()}})
    with pytest.raises(ModelError, match=r"state_dict\['weight'\] is a (posix|nt)\.system"):
        read_checkpoint(hostile)
    assert not (chdir_tmp / "pwned").exists()


@pytest.mark.parametrize("root", [[1], {"state_dict": 1}, {"state_dict": {"a": 1}}, {"a": "b"}])
def test_not_a_state_dict(tmp_path: Path, root: Any) -> None:
    with pytest.raises(ModelError, match="not a tensor or a dict of tensors"):
        read_checkpoint(as_zip(tmp_path / "a.pth", root))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "root", [b"}%bK\x01s", b"}X\x04\0\0\0meta%bs", b"]q\x01h\x01a"], ids=["key", "value", "circle"]
)
def test_values_that_are_named_again_and_again(tmp_path: Path, form: str, root: bytes) -> None:
    """A few bytes a level, and twice as many values."""
    doubled = b"K\x01" + b"q\x00h\x00\x86" * 60
    data = b"\x80\x02" + (root % doubled if b"%b" in root else root) + b"."
    path = tmp_path / "a.pth"
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", data)
    else:
        heads = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        path.write_bytes(b"".join(pickle.dumps(head, 2) for head in heads) + data * 2)
    with pytest.raises(ModelError, match=r"a\.pth"):
        read_checkpoint(path)


def test_compressed_members_may_be_bombs(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is compressed"):
        read_checkpoint(as_zip(tmp_path / "a.pth", {}, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x05\x06" + b"\0" * 18])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ModelError):
        read_checkpoint(tmp_path / "a.pth")
    with pytest.raises(ModelError, match="No such file"):
        read_checkpoint(tmp_path / "b.pth")


def test_a_tensor_larger_than_its_storage(tmp_path: Path) -> None:
    """Strides of zero would unpack a few bytes into gigabytes."""
    real = (DATA / "checkpoint_zip.pth").read_bytes()
    with zipfile.ZipFile(DATA / "checkpoint_zip.pth") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    [index] = [name for name in members if name.endswith("data.pkl")]
    shape_and_strides = b"K\x04K\x06\x86q"  # (4, 6)
    assert members[index].count(shape_and_strides) >= 1
    members[index] = members[index].replace(shape_and_strides, b"K\xffK\x06\x86q", 1)
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert len(real) > 0
    with pytest.raises(ModelError, match="more elements than its storage"):
        read_checkpoint(tmp_path / "a.pth")
