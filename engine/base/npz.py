"""Archives of plain arrays (``.npz``) that somebody else may have written."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import DatasetError
from engine.base.files import open_whole
from engine.base.host import memory_limit

_TIMES: Final = 100  # as large as its file is what an archive unpacks to, or below
_PACKED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LAST_LETTER: Final = 0x10FFFF
_LITTLE: Final = 1 << 24  # bytes, which are no matter


@contextmanager
def opened_npz(source: IO[bytes]) -> Iterator[dict[str, NDArray[Any]]]:
    """All arrays of an archive, by name, for a block that makes something of them. No pickled
    objects are read.

    Raises `OSError` for a file that cannot be read, and `DatasetError`, which does not name it, for
    one that is damaged or hostile, that unpacks to more than half of the memory, or whose arrays
    the block cannot use: what stands in them makes its readers raise nearly anything.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            names = members_of(archive, source.seek(0, os.SEEK_END))
            arrays = {name.removesuffix(".npy"): _read(archive, name) for name in names}
        yield arrays
    except (DatasetError, OSError):
        raise
    except Exception as error:
        kind = type(error).__name__
        raise DatasetError(f"not a readable .npz of plain arrays ({kind}: {error})") from None


@contextmanager
def npz_file(path: Path) -> Iterator[dict[str, NDArray[Any]]]:
    """As `opened_npz`, of a file. Raises `DatasetError` that names it, whatever is wrong."""
    try:
        with open_whole(path) as source, opened_npz(source) as arrays:
            yield arrays
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from None
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None


def members_of(archive: zipfile.ZipFile, size: int) -> list[str]:
    """The names of the arrays of an archive of `size` bytes, whatever else is in it. Raises
    `DatasetError` for one that unpacks to more than half of the memory, or to far more than its
    file has, and for one that numpy would not write."""
    if not all(member.compress_type in _PACKED for member in archive.infolist()):
        # another kind's decoder takes as much memory as a field says
        raise DatasetError("is packed in a way that numpy does not pack; write it with numpy.savez")
    if sum(member.compress_size for member in archive.infolist()) > size:
        raise DatasetError("announces more bytes than the file has, or the same ones several times")
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > memory_limit() // 2:
        raise DatasetError(f"unpacks to {unpacked / 1e9:.1f} GB, more than half of the memory")
    if unpacked > max(_TIMES * size, _LITTLE):
        raise DatasetError(
            f"unpacks to {unpacked / 1e6:.0f} MB, more than {_TIMES} times what the file has; if "
            "that is right, write it with numpy.savez, without compression"
        )
    return [name for name in archive.namelist() if name.endswith(".npy")]


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as source:
        shape, fortran, dtype = read_header(source)
        if dtype.hasobject:
            raise ValueError(f"`{name}` holds pickled objects")
        return array_of(source.read(), shape, fortran, dtype)


def read_header(source: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order (whether Fortran's) and dtype that a ``.npy`` begins with. Raises `ValueError`
    and nearly anything else."""
    version = np.lib.format.read_magic(source)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(source)
    return np.lib.format.read_array_header_2_0(source)


def array_of(
    data: bytes, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The array that a header describes, of the bytes after it and in them: what is announced and
    not there takes no memory. Raises `DatasetError`."""
    count = prod(shape)
    if dtype.itemsize == 0 or count < 0 or len(data) < count * dtype.itemsize:
        raise DatasetError(f"an array of shape {shape!s:.60} with {len(data)} bytes")
    flat: NDArray[Any] = np.frombuffer(data, dtype, count)
    return check_text(flat).reshape(shape, order="F" if fortran else "C")


def check_text(array: NDArray[Any]) -> NDArray[Any]:
    """The array, flat or not. Raises `DatasetError` for text that no text can be: numpy looks at
    none of its letters, and Python at no letter that is there already."""
    if array.dtype.kind == "U":
        letters = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
        if array.size and np.frombuffer(array.tobytes(), letters).max() > _LAST_LETTER:
            raise DatasetError("text with letters that do not exist")
    return array
