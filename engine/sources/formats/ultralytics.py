"""Ultralytics: ``to_json()``, the folders of ``save_txt``, and pickled ``xyn``.

``to_json`` has of a frame ``[{"name": "person", "keypoints": {"x": […], "y": […], "visible":
[…]}}]``, in pixels or (``normalize=True``) in shares; a list of such is a video, and so is a file
of lines of it. A label folder has a file ``VIDEO_12.txt`` a frame, a line a person: class, box, and
17 times x, y and perhaps a score, all in shares, then perhaps confidence and track. Pickled
``xyn`` is a list of arrays [people, 17, 2], a frame each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from engine.base.constants import JOINTS
from engine.base.errors import SourceError
from engine.sources.formats.content import Content, by_video
from engine.sources.formats.keypoints import identity, keypoints_of
from engine.sources.formats.recording import Detection, Frame, Recording, timeline

_HEAD: Final = 5  # class and box
_WIDTHS: Final = {_HEAD + JOINTS * per + more: (per, more) for per in (2, 3) for more in (0, 1, 2)}


def read(content: Content) -> list[Recording] | None:
    if content.path.is_dir():
        return _folder(content)
    if content.suffix == ".pkl":
        return _pickled(content)
    frames = _frames(content.json)
    if frames is None:
        return None
    shares = _in_shares(frames)
    return [Recording(content.path.stem, partial(_of_json, content.path, frames), shares=shares)]


def _frames(whole: Any) -> list[Any] | None:
    """The lists of a file, a frame each."""
    if not isinstance(whole, list):
        return None
    if whole and all(map(_is_person, whole)):
        return [whole]
    frames = []
    for frame in whole:
        if isinstance(frame, str):  # what to_json() returned, dumped again
            try:
                frame = orjson.loads(frame)
            except orjson.JSONDecodeError:
                return None
        if not isinstance(frame, list) or not all(map(_is_person, frame)):
            return None
        frames.append(frame)
    return frames if any(frames) else None


def _is_person(entry: Any) -> bool:
    points = entry.get("keypoints") if isinstance(entry, dict) else None
    return isinstance(points, dict) and "x" in points and "y" in points


def _in_shares(frames: list[Any]) -> bool:
    """Whether it was written with ``normalize=True``: no coordinate is beyond 1."""
    for frame in frames:
        for person in frame:
            for axis in ("x", "y"):
                values = person["keypoints"][axis]
                for value in values if isinstance(values, list) else []:
                    if isinstance(value, (int, float)) and value > 1.5:
                        return False
    return True


def _of_json(path: Path, frames: list[Any]) -> Iterator[Frame | SourceError]:
    for number, frame in enumerate(frames):
        try:
            people = [(keypoints_of(one["keypoints"]), one.get("track_id")) for one in frame]
        except ValueError as error:
            yield SourceError(f"{path}, frame {number}: {error}")
            continue
        found = [Detection(kpts, identity(who)) for kpts, who in people if kpts is not None]
        yield Frame(number, found)


def _folder(content: Content) -> list[Recording] | None:
    files = content.ending(".txt")
    if not files or not any(_is_label(path) for path in files[:3]):
        return None
    folder = content.path.resolve()
    # Ultralytics writes runs/pose/predict/labels/VIDEO_1.txt
    above = folder.parent.name if folder.name == "labels" else folder.name
    return [
        Recording(name or above, partial(_of_labels, group), shares=True)
        for name, group in by_video(files).items()
    ]


def _is_label(path: Path) -> bool:
    try:
        with path.open("rb") as source:
            words = source.readline(4096).split()
        return len(words) in _WIDTHS and all(np.isfinite([float(word) for word in words]))
    except (OSError, ValueError):
        return False


def _of_labels(group: list[tuple[int, Path]]) -> Iterator[Frame | SourceError]:
    numbers = timeline([number for number, _ in group])
    for number, (_, path) in zip(numbers, group, strict=True):
        try:
            lines = [line.split() for line in path.read_bytes().splitlines() if line.strip()]
            yield Frame(number, [one for line in lines if (one := _labelled(line)) is not None])
        except ValueError as error:
            yield SourceError(f"{path}: {error}")
        except OSError as error:
            yield SourceError(f"{path}: {error.strerror or error}")


def _labelled(words: Sequence[bytes]) -> Detection | None:
    """Somebody, of a line."""
    if len(words) not in _WIDTHS:
        raise ValueError(
            f"{len(words)} numbers in a line; class, box and {JOINTS} joints are "
            f"{min(_WIDTHS)} or more"
        )
    per, more = _WIDTHS[len(words)]
    values = [float(word) for word in words]
    kpts = keypoints_of(values[_HEAD : _HEAD + JOINTS * per], per=per)
    # The last is the track, a whole number as "%g" writes it, or else the confidence.
    tracked = more == 2 or (more == 1 and words[-1].isdigit())
    return None if kpts is None else Detection(kpts, identity(values[-1]) if tracked else None)


def _pickled(content: Content) -> list[Recording] | None:
    frames = content.pickled
    if not isinstance(frames, list) or not frames or not all(map(_is_xyn, frames)):
        return None
    known = [frame for frame in frames if frame.size]
    if not known:
        return None
    shares = all(np.nanmax(frame[..., :2]) <= 1.5 for frame in known)
    about = partial(_of_arrays, content.path, frames)
    return [Recording(content.path.stem, about, shares=shares)]


def _is_xyn(frame: Any) -> bool:
    return (
        isinstance(frame, np.ndarray)
        and frame.dtype.kind == "f"
        and (not frame.size or (frame.ndim == 3 and frame.shape[2] in (2, 3)))
    )


def _of_arrays(path: Path, frames: list[Any]) -> Iterator[Frame | SourceError]:
    for number, frame in enumerate(frames):
        try:
            people = [keypoints_of(one) for one in frame] if frame.size else []
        except ValueError as error:
            yield SourceError(f"{path}, frame {number}: {error}")
        else:
            yield Frame(number, [Detection(kpts) for kpts in people if kpts is not None])
