"""Tables of contents: annotations whose skeletons are in files of their own, as Kinetics-400's are.

Comes in: an annotation without skeleton, as ``PoseDataset`` of mmaction2 1.x and of pyskl take it.
Goes out: the annotation with what its file says of it, read when that is asked for.

* mmaction2 1.x: ``kpfiles/IDENTIFIER.pkl``, a dict that is merged into the annotation.
* pyskl: the file that ``raw_file`` names, which has such a dict for each of many identifiers.

What else such annotations have (``box_score``, ``valid``) chooses videos and persons for training;
at test neither reference looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from engine.base.errors import DatasetError, SampleError, shown
from engine.base.host import memory_limit
from engine.sources import pickles

FOLDER: Final = "kpfiles"
MARKS: Final = frozenset({"raw_file", "frame_inds", "box_score"})
"""What only a table has where there is no keypoint."""
_LONGEST: Final = 4096  # characters of a path
_OWN: Final = ("frame_dir", "filename", "label")  # never a file's: they are needed before it


class Contents:
    """The files beside a table of contents. One is kept: neighbours may be in the same."""

    def __init__(self, table: Path) -> None:
        self._table = table
        self._folder = (table.parent / FOLDER).is_dir()
        self._kept: tuple[Path, Any] | None = None

    def listed(self, annotation: Any) -> Any:
        """An annotation that reads its skeleton when it is needed; any other one as it is."""
        if not isinstance(annotation, Mapping) or "keypoint" in annotation:
            return annotation
        elsewhere = "raw_file" in annotation or (self._folder and _name(annotation) is not None)
        return ListedAnnotation(self, annotation) if elsewhere else annotation

    def has(self, annotation: Mapping[str, Any]) -> bool:
        """Whether the file of an annotation is there."""
        try:
            return self.find(annotation).is_file()
        except SampleError:
            return False

    def find(self, annotation: Mapping[str, Any]) -> Path:
        """The file of an annotation. Raises `SampleError` where there is none.

        A ``raw_file`` names a place where the table was made, so that the longest end of it that
        is beside the table is taken. Nothing leads out of the table's folder.
        """
        raw = annotation.get("raw_file")
        named = f"{FOLDER}/{_name(annotation)}.pkl" if raw is None else shown(raw, _LONGEST)
        parts = [part for part in PurePosixPath(named[:_LONGEST]).parts if part.strip("/")]
        for start in range(len(parts) if raw is not None else 1):
            path = self._table.parent.joinpath(*parts[start:])
            with suppress(OSError, ValueError):  # no name that a file may have
                if ".." not in parts and path.is_file():
                    return path
        raise SampleError(
            f"its skeletons are in {named!s:.200}, which is not beside {self._table}", stage="read"
        )

    def read(self, annotation: Mapping[str, Any]) -> dict[str, Any]:
        """An annotation with what its file says. Raises `SampleError`."""
        path, name = self.find(annotation), _name(annotation)
        try:
            if self._kept is None or self._kept[0] != path:
                self._kept = None
                size = path.stat().st_size
                if size > memory_limit() // 2:
                    raise DatasetError(f"{size / 1e9:.1f} GB, more than half of the memory")
                with path.open("rb") as source:
                    self._kept = path, pickles.load(source)
        except OSError as error:
            raise SampleError(f"{path}: {error.strerror or error}", stage="read") from None
        except DatasetError as error:
            raise SampleError(f"{path}: {error}", stage="read") from None
        found = self._kept[1]
        if isinstance(found, Mapping) and "keypoint" not in found:
            found = found.get(name)
        if not isinstance(found, Mapping) or "keypoint" not in found:
            raise SampleError(f"{path} has no keypoint of {name!s:.200}", stage="read")
        return {**annotation, **found}


def _name(annotation: Mapping[str, Any]) -> Any:
    """Of the video; None where that is no name."""
    name = annotation.get("filename", annotation.get("frame_dir"))
    return name if isinstance(name, (str, int, np.integer)) else None


class ListedAnnotation(Mapping[str, Any]):
    """An annotation of a table of contents: identifier and label are at hand, the rest is read
    from its file once."""

    def __init__(self, contents: Contents, annotation: Mapping[str, Any]) -> None:
        self._contents, self._annotation = contents, annotation

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return self._contents.read(self._annotation)

    def __getitem__(self, key: str) -> Any:
        return self._annotation[key] if key in _OWN else self._fields[key]

    def __iter__(self) -> Iterator[str]:
        yield from (key for key in _OWN if key in self._annotation)
        yield from (key for key in self._fields if key not in _OWN)

    def __len__(self) -> int:
        return sum(1 for _ in self)
