"""Folders: sizes and byte ranges of the files in one, on this machine or at an fsspec address.

Comes in: a path, or an address such as ``s3://bucket/data``. Goes out: bytes.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from engine.base.errors import DatasetError

INDEX = "index.json"
"""The file of a folder of columns that says what else is in it."""


class Folder(Protocol):
    """`name`: for messages."""

    name: str

    def sizes(self, files: Sequence[str]) -> list[int]:
        """Bytes of each. Raises `OSError`, and elsewhere what the file system raises."""

    def read(self, file: str, start: int, length: int) -> bytes | memoryview:
        """A range that the file has. Raises as `sizes` does."""


class LocalFolder:
    """Files are mapped, one at a time: what was read before takes no memory."""

    def __init__(self, path: Path) -> None:
        self.name, self._path = str(path), path
        self._mapped: tuple[str, mmap.mmap] | None = None

    def sizes(self, files: Sequence[str]) -> list[int]:
        return [(self._path / file).stat().st_size for file in files]

    def read(self, file: str, start: int, length: int) -> bytes | memoryview:
        mapped = self._mapped
        if mapped is not None and mapped[0] == file:
            # The pages of earlier ranges count as ours until they are given back.
            mapped[1].madvise(mmap.MADV_DONTNEED)
        else:
            with (self._path / file).open("rb") as source:
                mapped = file, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
            self._mapped = mapped
        return memoryview(mapped[1])[start : start + length]


class RemoteFolder:
    """Each range is one request."""

    def __init__(self, address: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise DatasetError(f"{address}: {error}; pip install '.[remote]'") from None
        try:
            self._files, self._root = fsspec.core.url_to_fs(address)
        except ImportError as error:  # names the package of that kind of address
            raise DatasetError(f"{address}: {error}") from None
        except ValueError as error:
            raise DatasetError(f"{address}: not an address that fsspec knows ({error})") from None
        self.name = address.rstrip("/")

    def sizes(self, files: Sequence[str]) -> list[int]:
        return [int(size) for size in self._files.sizes([self._at(file) for file in files])]

    def read(self, file: str, start: int, length: int) -> bytes | memoryview:
        data: bytes = self._files.cat_file(self._at(file), start=start, end=start + length)
        return data

    def _at(self, file: str) -> str:
        return f"{self._root.rstrip('/')}/{file}"


def open_folder(address: str) -> Folder:
    """Raises `DatasetError` where a package is missing."""
    return RemoteFolder(address) if "://" in address else LocalFolder(Path(address))
