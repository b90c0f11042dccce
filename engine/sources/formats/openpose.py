"""OpenPose: a file a frame, ``{"people": [{"pose_keypoints_2d": [x, y, score, …]}]}``.

The same form comes from DWPose and ComfyUI (with ``canvas_width`` and ``canvas_height``, perhaps a
list of frames in one file), from Pose2Sim and Sports2D (26 joints, ``cam01_000000.json``), from
AlphaPose's ``--format open`` and ``cmu`` with ``--sep``, and from OpenPose before 1.2
(``pose_keypoints``). A folder may have the files of several videos: what stands before the number
tells them apart. OpenPose numbers by zeros or, with ``--image_dir``, not at all: 2 is before 10.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from engine.base.errors import DatasetError, SourceError, printable
from engine.sources.formats.content import Content, by_video, frames_of_files, read_json
from engine.sources.formats.keypoints import identity, keypoints_of
from engine.sources.formats.recording import Detection, Frame, Recording, Size, sides

_PEOPLE: Final = ("people", "bodies")
_JOINTS: Final = ("pose_keypoints_2d", "pose_keypoints", "joints", "keypoints")
_LOOKS: Final = 3  # files of a folder that are looked at to know it: one may be broken


def read(content: Content) -> list[Recording] | None:
    """A folder of frames, or a file of one or several."""
    if content.path.is_dir():
        return _folder(content)
    whole = content.json
    if isinstance(whole, dict) and isinstance(whole.get("frames"), list):  # ComfyUI's editors
        whole = [{**_sides(whole), **frame} for frame in whole["frames"] if isinstance(frame, dict)]
    documents = whole if isinstance(whole, list) else [whole]
    if not documents or not all(map(is_frame, documents)):
        return None
    path = content.path
    return [Recording(path.stem, partial(_of_documents, path, documents), size_of(documents[0]))]


def is_frame(document: Any) -> bool:
    """Whether it is one frame in OpenPose's form."""
    return isinstance(document, dict) and any(
        isinstance(document.get(name), list) for name in _PEOPLE
    )


def _folder(content: Content) -> list[Recording] | None:
    files = content.ending(".json")
    first = _first(files)
    if first is None:
        return None
    grouped = by_video(files)
    recordings = []
    for prefix, group in grouped.items():
        name = prefix if len(grouped) > 1 and prefix else content.path.resolve().name
        opened = _first([path for _, path in group])
        size = None if opened is None else size_of(opened)
        recordings.append(Recording(name, partial(frames_of_files, group, frame_of), size))
    return recordings


def _first(files: Sequence[Path]) -> Any:
    """The first frame in OpenPose's form among the first files."""
    for path in files[:_LOOKS]:
        try:
            if is_frame(document := read_json(path)):
                return document
        except DatasetError:
            continue
    return None


def _of_documents(path: Path, documents: list[Any]) -> Iterator[Frame | SourceError]:
    for number, document in enumerate(documents):
        try:
            yield frame_of(document, number)
        except ValueError as error:
            yield SourceError(f"{path}, frame {number}: {error}")


def frame_of(document: Any, number: int) -> Frame:
    """One frame. Raises `ValueError` that says what is wrong with it."""
    if not is_frame(document):
        raise ValueError("no list `people`")
    people = next(document[name] for name in _PEOPLE if isinstance(document.get(name), list))
    found = []
    for person in people:
        if not isinstance(person, dict):
            raise ValueError("people: each one is an object")
        name = next((name for name in _JOINTS if name in person), None)
        if name is None:
            known = ", ".join(map(printable, list(person)[:6]))
            raise ValueError(f"a person without pose_keypoints_2d (it has {known})")
        kpts = keypoints_of(person[name], per=3)
        if kpts is not None:
            found.append(Detection(kpts, identity(person.get("person_id"))))
    return Frame(number, found, size_of(document))


def _sides(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key.startswith("canvas_")}


def size_of(document: Any) -> Size | None:
    """The picture's, where DWPose says it."""
    return sides(document.get("canvas_width"), document.get("canvas_height"))
