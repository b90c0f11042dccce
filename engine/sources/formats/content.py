"""Contents: what is at a path, read at most once, for readers to look at.

Nothing that a file holds is executed: pickles go through the allow-list of
`engine.sources.pickles`, those inside of ``.npz`` files, too.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import orjson

from engine.base.errors import DatasetError
from engine.base.host import memory_limit
from engine.sources import pickles

POSE_FILES: Final = (".json", ".npz", ".npy", ".txt", ".pkl", ".jsonl")
_EXPANDS: Final = 8  # memory of parsed JSON against its text, about
_NUMBER: Final = re.compile(r"(.*?)(\d+)(\D*)", re.ASCII | re.DOTALL)
_DIMENSIONS: Final = re.compile(r"[_-]?[23]d$", re.IGNORECASE)  # no number of a frame
_ENDS: Final = re.compile(r"[_.-]*(keypoints|openpose|alphapose|pose|poses)?$", re.IGNORECASE)


class Content:
    """A file or a folder. Its properties are None (or empty) where it is of another kind, and raise
    `DatasetError`, which names the file, where it is damaged or hostile."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()

    @cached_property
    def files(self) -> list[Path]:
        """Of a folder, in natural order: 2 before 10."""
        return self._inside(folders=False)

    @cached_property
    def folders(self) -> list[Path]:
        """In a folder."""
        return self._inside(folders=True)

    def _inside(self, *, folders: bool) -> list[Path]:
        if not self.path.is_dir():
            return []
        try:
            found = [p for p in self.path.iterdir() if not p.name.startswith(".")]
            return sorted((p for p in found if p.is_dir() == folders), key=natural)
        except OSError as error:
            raise DatasetError(f"{self.path}: {error.strerror or error}") from None

    def ending(self, suffix: str) -> list[Path]:
        """Files of a folder that end so."""
        return [path for path in self.files if path.suffix.lower() == suffix]

    @cached_property
    def json(self) -> Any:
        """What a ``.json`` file says."""
        if self.suffix != ".json" or self.path.is_dir():
            return None
        return read_json(self.path)

    @cached_property
    def arrays(self) -> dict[str, Any] | None:
        """Of a ``.npz`` by name, of a ``.npy`` under ``arr_0``."""
        if self.suffix not in (".npz", ".npy") or self.path.is_dir():
            return None
        try:
            _refuse_large(self.path, 2)
            if self.suffix == ".npy":
                with self.path.open("rb") as source:
                    return {"arr_0": _array(source)}
            with zipfile.ZipFile(self.path) as members:
                unpacked = sum(member.file_size for member in members.infolist())
                if unpacked > memory_limit() // 2:
                    raise DatasetError(
                        f"unpacks to {unpacked / 1e9:.1f} GB, more than half of the memory"
                    )
                names = [name for name in members.namelist() if name.endswith(".npy")]
                return {n.removesuffix(".npy"): _array(io.BytesIO(members.read(n))) for n in names}
        except DatasetError as error:
            raise DatasetError(f"{self.path}: {error}") from None
        except Exception as error:  # damage provokes nearly anything
            raise DatasetError(
                f"{self.path}: not readable as {self.suffix} ({type(error).__name__}: "
                f"{error!s:.120})"
            ) from None

    @cached_property
    def pickled(self) -> Any:
        """What a ``.pkl`` holds."""
        if self.suffix != ".pkl" or self.path.is_dir():
            return None
        try:
            with self.path.open("rb") as source:
                return pickles.load(source)
        except OSError as error:
            raise DatasetError(f"{self.path}: {error.strerror or error}") from None
        except DatasetError as error:
            raise DatasetError(f"{self.path}: {error}") from None


def read_json(path: Path) -> Any:
    """Raises `DatasetError` that names the file. NaN as Python writes it is read."""
    try:
        _refuse_large(path, _EXPANDS)
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return json.loads(text)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from None
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not JSON: {error!s:.200}") from None


def _refuse_large(path: Path, times: int) -> None:
    size = path.stat().st_size
    if size * times > memory_limit() // 2:
        raise DatasetError(f"{size / 1e9:.1f} GB are too much to read as a whole; split it")


def _array(source: IO[bytes]) -> Any:
    """One array of numpy's file format; its objects, if it has any, are plain data."""
    version = np.lib.format.read_magic(source)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(source)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(source)
    if not dtype.hasobject:
        rest = source.read()
        if dtype.itemsize == 0 or len(rest) < np.prod(shape, dtype=object) * dtype.itemsize:
            raise DatasetError(f"an array of shape {shape} with {len(rest)} bytes")
        count = int(np.prod(shape, dtype=object))
        flat = np.frombuffer(rest, dtype, count)
        return flat.reshape(shape, order="F" if fortran else "C")
    found = pickles.load(io.BytesIO(source.read()))
    return found.item() if isinstance(found, np.ndarray) and found.ndim == 0 else found


def natural(path: Path) -> list[tuple[int, int, str]]:
    """A key that orders names as people do: 2 before 10."""
    parts = re.split(r"(\d+)", path.name, flags=re.ASCII)
    return [(1, 0, part) if n % 2 == 0 else (0, int(part), part) for n, part in enumerate(parts)]


def by_video(files: Sequence[Path]) -> dict[str, list[tuple[int, Path]]]:
    """Files of a frame each by video: (number of the frame, file), ascending."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in files:
        name, number = numbered(path.stem)
        group = found.setdefault(name, [])
        group.append((len(group) if number is None else number, path))
    return {name: sorted(group, key=lambda item: item[0]) for name, group in found.items()}


def numbered(stem: str) -> tuple[str, int | None]:
    """Which video a file's name is of, and the number of the frame: ``cam01_000012`` is (cam01,
    12); None where no number is in it."""
    match = _NUMBER.fullmatch(_DIMENSIONS.sub("", stem))
    if match is None:
        return stem, None
    before = match[1].rstrip("_-. ")
    after = _ENDS.sub("", match[3])
    return before + after, int(match[2])
