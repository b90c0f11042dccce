"""The registry of formats: finds the reader of what is at a path.

A reader is known by an entry point of the group ``engine.formats``, which names a `Reader`: those
built in, and those of other packages. What is a folder of folders, or of files that are a video
each, is read one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from engine.base.errors import DatasetError, EngineError, printable
from engine.sources.formats.content import POSE_FILES, Content
from engine.sources.formats.recording import Recording

GROUP = "engine.formats"
Reader = Callable[[Content], list[Recording] | None]
"""Recordings of what is at a path; None where it has another form. Raises `DatasetError` for what
has its form and is broken."""

_DEEPEST: Final = 4  # folders in folders
_IN_3D: Final = (".skeleton", ".bvh", ".c3d", ".trc", ".fbx")


@dataclass(frozen=True)
class Found:
    """`formats`: names of the readers, in order. `skipped`: files and folders inside that no reader
    knows."""

    formats: tuple[str, ...]
    recordings: list[Recording]
    skipped: int = 0


def find(path: Path) -> Found | None:
    """The recordings at a path; None where no reader knows them. Raises `DatasetError`."""
    if path.suffix.lower() in _IN_3D:
        raise DatasetError(
            f"{path}: joints in 3-D, which cannot be mapped to the picture's x and y without its "
            "camera. Run a 2-D pose estimator over the video (--source video:FILE), or project them"
        )
    if not path.is_dir() and path.suffix.lower() not in POSE_FILES:
        return None
    found = _find(Content(path), 0)
    return None if found is None or not found.recordings else found


def _find(content: Content, depth: int) -> Found | None:
    for name, reader in _readers():
        try:
            recordings = reader(content)
        except EngineError:
            raise
        except Exception as error:  # damage provokes nearly anything, and readers may be others'
            raise DatasetError(
                f"{content.path}: not readable as {name} ({type(error).__name__}: "
                f"{printable(error):.200})"
            ) from None
        if recordings is not None:
            return Found((name,), recordings)
    return _inside(content, depth) if content.path.is_dir() and depth < _DEEPEST else None


def _inside(content: Content, depth: int) -> Found | None:
    """What is in a folder that is no video itself, one by one."""
    formats: dict[str, None] = {}
    recordings: list[Recording] = []
    skipped = 0
    for path in [*content.files, *content.folders]:
        if path.is_file() and path.suffix.lower() not in POSE_FILES:
            continue
        try:
            found = _find(Content(path), depth + 1)
        except DatasetError as error:
            recordings.append(Recording(path.stem, lambda: iter(()), error=str(error)))
            continue
        if found is None:
            skipped += 1
            continue
        formats |= dict.fromkeys(found.formats)
        skipped += found.skipped
        recordings += _named(path, found.recordings)
    return Found(tuple(formats), recordings, skipped) if formats else None


def _named(path: Path, recordings: list[Recording]) -> Iterator[Recording]:
    """Recordings under the name of the file or folder that they are in."""
    own = path.name if path.is_dir() else path.stem
    for one in recordings:
        alone = len(recordings) == 1 or one.name == own
        yield replace(one, name=own if alone else f"{own}/{one.name}")


@cache
def _readers() -> list[tuple[str, Reader]]:
    """By name, so that the order is the same everywhere."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return [(point.name, point.load()) for point in points]
