"""Contents: what is at a path, read at most once, for readers to look at.

Nothing that a file holds is executed: pickles go through the allow-list of
`engine.sources.pickles`, those inside of ``.npz`` files, too.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from engine.base.errors import DatasetError, SourceError
from engine.base.files import open_whole
from engine.base.host import memory_limit
from engine.base.npz import array_of, members_of, read_header
from engine.sources import pickles
from engine.sources.formats.recording import Frame, timeline
from engine.sources.json_text import parse_json

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
        """What a ``.json`` file says, or a ``.jsonl`` file whose lines are lists, as a list."""
        if self.suffix not in (".json", ".jsonl") or self.path.is_dir():
            return None
        lines = self.suffix == ".jsonl"
        return None if lines and not has_lists(self.path) else read_json(self.path, lines=lines)

    @cached_property
    def arrays(self) -> dict[str, Any] | None:
        """Of a ``.npz`` by name, of a ``.npy`` under ``arr_0``."""
        if self.suffix not in (".npz", ".npy") or self.path.is_dir():
            return None
        try:
            _refuse_large(self.path, 2)
            if self.suffix == ".npy":
                with open_whole(self.path) as source:
                    return {"arr_0": _array(source)}
            with zipfile.ZipFile(self.path) as archive:
                names = members_of(archive, self.path.stat().st_size)
                return {n.removesuffix(".npy"): _array(io.BytesIO(archive.read(n))) for n in names}
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
            with open_whole(self.path) as source:
                return pickles.load(source)
        except OSError as error:
            raise DatasetError(f"{self.path}: {error.strerror or error}") from None
        except DatasetError as error:
            raise DatasetError(f"{self.path}: {error}") from None


def read_json(path: Path, *, lines: bool = False) -> Any:
    """Raises `DatasetError` that names the file. NaN as Python writes it is read."""
    try:
        _refuse_large(path, _EXPANDS)
        with open_whole(path) as source:
            text = source.read().removeprefix(b"\xef\xbb\xbf")
        if lines:
            return [parse_json(line) for line in text.splitlines() if line.strip()]
        return parse_json(text)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from None
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None
    except ValueError as error:
        raise DatasetError(f"{path}: not JSON: {error!s:.200}") from None


def has_lists(path: Path) -> bool:
    """Whether the first line of a file is a list, as no annotation and no message is."""
    with path.open("rb") as source:
        return source.readline(1 << 16).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def _refuse_large(path: Path, times: int) -> None:
    size = path.stat().st_size
    if size * times > memory_limit() // 2:
        raise DatasetError(f"{size / 1e9:.1f} GB are too much to read as a whole; split it")


def _array(source: IO[bytes]) -> Any:
    """One array of numpy's file format; its objects, if it has any, are plain data."""
    shape, fortran, dtype = read_header(source)
    if not dtype.hasobject:
        return array_of(source.read(), shape, fortran, dtype)
    found = pickles.load(io.BytesIO(source.read()))
    return found.item() if isinstance(found, np.ndarray) and found.ndim == 0 else found


def natural(path: Path) -> list[tuple[int, int, str]]:
    """A key that orders names as people do: 2 before 10."""
    parts = re.split(r"(\d+)", path.name, flags=re.ASCII)
    return [(1, 0, part) if n % 2 == 0 else (0, int(part), part) for n, part in enumerate(parts)]


def by_video(files: Sequence[Path]) -> dict[str, list[tuple[int, Path]]]:
    """Files of a frame each by video: (number of the frame, file), ascending."""
    found: dict[str, list[tuple[int, Path]]] = {}
    names = [numbered(path.stem) for path in files]
    if len(files) > 1 and len(dict(names)) == len(files) and len({n for _, n in names}) == 1:
        # a number that all have is a camera's, and the frame's stands before it
        names = [numbered(name) for name, _ in names]
    for path, (name, number) in zip(files, names, strict=True):
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


def frames_of_files(
    group: Sequence[tuple[int, Path]], frame_of: Callable[[Any, int], Frame]
) -> Iterator[Frame | SourceError]:
    """The frames of a video with a ``.json`` file each, as `by_video` groups them; `frame_of`
    makes one of what a file says and its number, and raises `ValueError`."""
    numbers = timeline([number for number, _ in group])
    for number, (_, path) in zip(numbers, group, strict=True):
        try:
            yield frame_of(read_json(path), number)
        except DatasetError as error:
            yield SourceError(str(error))
        except ValueError as error:
            yield SourceError(f"{path}: {error}")
