"""Recordings of a path as a data set: whose form it is, and what tells it from others."""

from __future__ import annotations

import hashlib
import pickletools
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.base.assets import file_sha256
from engine.base.errors import DatasetError
from engine.base.files import NO_FILE, is_endless
from engine.sources.folders import INDEX
from engine.sources.formats.content import POSE_FILES, has_lists
from engine.sources.formats.pose_frames import is_messages
from engine.sources.formats.poses import Poses, Reading
from engine.sources.formats.registry import find
from engine.sources.unpickling import Bounded

_NOTHING: Final = ("PROTO", "FRAME", "MARK", "MEMOIZE")
"""Opcodes of a pickle that make no object."""
_FIELDS: Final = re.compile(rb'"(frame_dir|img_shape|total_frames|split)"\s*:')
"""Of annotations, and of nobody else's."""
_LOOK: Final = 1 << 16  # bytes


@dataclass(frozen=True)
class Recordings:
    """`description`: of what kind, in words."""

    path: Path
    reading: Reading
    poses: list[Poses]
    description: str

    @property
    def digest(self) -> str:
        """SHA-256, hex, of the names and contents of all files, and of what the user says of them.
        Raises `DatasetError`."""
        digest = hashlib.sha256(f"{self.reading.size} {self.reading.joints}".encode())
        try:
            inside = sorted(self.path.rglob("*")) if self.path.is_dir() else []
            files = [one for one in inside if one.suffix.lower() in POSE_FILES and one.is_file()]
            for file in files or [self.path]:
                name = str(file.relative_to(self.path)) if files else ""
                digest.update(f"{name}\0{file_sha256(file)}\0".encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise DatasetError(f"{self.path}: {error.strerror or error}") from None
        return digest.hexdigest()


def read_recordings(path: Path, reading: Reading) -> Recordings | None:
    """The recordings of a file or a folder; None where it is annotations, columns, or nothing that
    is known. Raises `DatasetError`."""
    if is_endless(path):
        raise DatasetError(f"{path}: {NO_FILE}")
    found = None if not path.exists() or _is_ours(path) else find(path)
    if found is None:
        return None
    poses = [Poses(recording, reading, path) for recording in found.recordings]
    skipped = f", {found.skipped} files inside are of no known form" if found.skipped else ""
    layout = None if not poses else poses[0].seen_layout
    joints = "" if layout is None else f", joints {layout.name}"
    return Recordings(path, reading, poses, f"{', '.join(found.formats)}{joints}{skipped}")


def _is_ours(path: Path) -> bool:
    """Whether it is a folder of columns or, so far as a short look tells, an annotation file."""
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            return (path / INDEX).exists()
        if suffix == ".npz":
            with zipfile.ZipFile(path) as members:
                return "frame_dir.npy" in members.namelist()
        if suffix == ".jsonl":
            return not is_messages(path) and not has_lists(path)
        if suffix == ".json":  # parsed once then, where it would be twice
            with path.open("rb") as source:
                return _FIELDS.search(source.read(_LOOK)) is not None
        return suffix == ".pkl" and not _lists_arrays(path)
    except Exception:  # damage provokes nearly anything
        return True  # whose reader says what is wrong


def _lists_arrays(path: Path) -> bool:
    """Whether a pickle is a list that does not begin with a dict."""
    with path.open("rb") as source:
        bounded: Any = Bounded(source)
        begins = (opcode.name for opcode, *_ in pickletools.genops(bounded))
        made = (name for name in begins if name not in _NOTHING and not name.endswith("PUT"))
        first, second = next(made, ""), next(made, "")
    return first == "EMPTY_LIST" and second not in ("EMPTY_DICT", "STOP", "APPENDS", "")
