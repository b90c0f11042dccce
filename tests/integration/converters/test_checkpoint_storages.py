"""Checkpoints of tensors that share their storages, as torch writes them and as nobody should."""

from __future__ import annotations

import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoint import read_checkpoint
from engine.base.errors import ModelError

torch = pytest.importorskip("torch")


def with_shared_storage(path: Path, form: str) -> Path:
    """400 tensors of 4 MB, half of them transposed, all of them views of one storage."""
    whole = torch.arange(1 << 20, dtype=torch.float32).reshape(1024, 1024)
    state = {f"t{n}": whole.T if n % 2 else whole for n in range(400)}
    torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    assert path.stat().st_size < 5e6
    return path


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_storage_that_tensors_share(tmp_path: Path, form: str) -> None:
    """It is read once, however many views of it there are."""
    path = with_shared_storage(tmp_path / "a.pth", form)
    tracemalloc.start()
    try:
        state = read_checkpoint(path).state_dict
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * path.stat().st_size
    assert len(state) == 400
    np.testing.assert_array_equal(state["t1"], np.arange(1 << 20, dtype="f4").reshape(1024, 1024).T)


def as_read(path: Path, change: Any) -> Path:
    """The checkpoint of nine storages, its members written by `change` (archive, name, data)."""
    state = {f"t{n}": torch.ones(1 << 16, dtype=torch.bfloat16) for n in range(9)}
    torch.save(state, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            change(archive, name, data)
    return path


def test_storages_that_overlap(tmp_path: Path) -> None:
    """Nine names for one place in the file."""
    places: list[int] = []

    def change(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
        if "/data/" not in name or not places:
            archive.writestr(name, data)
        else:
            archive.writestr(name, b"")
            archive.filelist[-1].header_offset = places[0]
            archive.filelist[-1].file_size = archive.filelist[-1].compress_size = len(data)
            archive.filelist[-1].CRC = zlib.crc32(data)
        if "/data/" in name:
            places.append(archive.filelist[-1].header_offset)

    with pytest.raises(ModelError, match="larger than the file: they overlap"):
        read_checkpoint(as_read(tmp_path / "a.pth", change))


def test_a_storage_that_is_damaged(tmp_path: Path) -> None:
    path = as_read(tmp_path / "a.pth", lambda archive, name, data: archive.writestr(name, data))
    whole = bytearray(path.read_bytes())
    place = whole.index(np.full(64, 0x3F80, "<u2").tobytes())
    whole[place + 64] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ModelError, match=r"data/\d is damaged: its checksum is another"):
        read_checkpoint(path)
