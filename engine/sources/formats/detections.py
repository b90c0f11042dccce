"""Lists of detections: COCO's keypoint results and annotations, and AlphaPose's results.

``[{"image_id": …, "keypoints": [x, y, score, …], "score": …, "idx": …}]``, an entry a person; or
COCO's ground truth, ``{"images": [{id, file_name, width, height}], "annotations": […]}``. AlphaPose
also writes an object by the pictures' names: with OpenPose's frames (``--format open``, ``cmu``) or
with lists of such entries. What is before the number in a picture's name tells videos apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from engine.base.errors import DatasetError, SourceError, printable
from engine.skeletons.joints import JointLayout, by_names
from engine.sources.formats.content import Content, numbered
from engine.sources.formats.keypoints import identity, keypoints_of
from engine.sources.formats.openpose import frame_of, is_frame
from engine.sources.formats.recording import (
    Detection,
    Frame,
    Recording,
    Size,
    count_time,
    sides,
    timeline,
)

_IDS: Final = ("track_id", "idx", "person_id")
Entries = dict[int, list[Any]]
"""Detections by the number of their frame."""


def read(content: Content) -> list[Recording] | None:
    whole, path = content.json, content.path
    if isinstance(whole, list):
        if not whole or not all(_is_detection(entry) for entry in whole):
            return None
        kinds = {entry["category_id"] for entry in whole if type(entry.get("category_id")) is int}
        if len(kinds) > 1:
            raise DatasetError(
                f"{path}: detections of several categories, {sorted(kinds)[:5]}; keep those of "
                "people, category_id 1 of COCO's"
            )
        return _recordings(_Videos(path), [*_by_video(whole)])
    if not isinstance(whole, dict) or not whole:
        return None
    if isinstance(whole.get("images"), list) and isinstance(whole.get("annotations"), list):
        return _ground_truth(path, whole)
    if all(map(is_frame, whole.values())):
        return _frames(path, whole)
    pictures = all(_place(name)[1] is not None for name in whole)
    if pictures and any(whole.values()) and all(map(_is_list_of_detections, whole.values())):
        named = [(name, entry) for name, entries in whole.items() for entry in entries]
        return _recordings(_Videos(path, list(whole)), named)
    return None


def _by_video(entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, Any]]:
    """(picture, entry), where pictures of several videos have the same ids."""
    videos = {video for entry in entries if type(video := entry.get("video_id")) in (int, str)}
    for entry in entries:
        picture, video = entry["image_id"], entry.get("video_id")
        if len(videos) > 1 and type(video) in (int, str) and type(picture) in (int, str):
            picture = f"{video}/{picture}"
        yield picture, entry


def _is_detection(entry: Any) -> bool:
    return isinstance(entry, dict) and "image_id" in entry and "keypoints" in entry


def _is_list_of_detections(entries: Any) -> bool:
    return isinstance(entries, list) and all(
        isinstance(entry, dict) and isinstance(entry.get("keypoints"), list) for entry in entries
    )


def _ground_truth(path: Path, whole: Mapping[str, Any]) -> list[Recording]:
    names: dict[Any, str] = {}
    sizes: dict[Any, Size] = {}
    for image in whole["images"]:
        if not isinstance(image, dict) or not isinstance(key := image.get("id"), (int, str)):
            raise DatasetError(f"{path}: `images` are objects with an id")
        file = image.get("file_name")
        names[key] = file if isinstance(file, str) else str(key)
        if (size := sides(image.get("width"), image.get("height"))) is not None:
            sizes[names[key]] = size
    named = []
    for entry in whole["annotations"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), (int, str)):
            raise DatasetError(f"{path}: `annotations` are objects with an image_id")
        if entry.get("keypoints") and entry["image_id"] in names:
            named.append((names[entry["image_id"]], entry))
    layout = None
    try:
        for category in whole.get("categories") or []:
            if words := category.get("keypoints"):
                layout = by_names(words)
                break
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from None
    videos = _Videos(path, list(names.values()), gaps=False)
    return _recordings(videos, named, sizes, layout)


def _recordings(
    videos: _Videos,
    named: list[tuple[Any, Any]],
    sizes: Mapping[Any, Size] | None = None,
    layout: JointLayout | None = None,
) -> list[Recording]:
    """Detections under the names of their pictures."""
    sizes = sizes or {}
    for picture, entry in named:
        videos.entries(picture).append((picture, entry))
    found = []
    for name, frames, own in videos:
        numbers = sorted(picture for picture in own if isinstance(picture, int))
        if numbers and not count_time(numbers):
            why = (
                f"{videos.path}: image_id {numbers[0]}, {numbers[1]}, … {numbers[-1]} are numbers "
                "of pictures, not of the frames of a video"
            )
            found.append(Recording(name, lambda: iter(()), error=why))
            continue
        size = next((sizes[picture] for picture in own if picture in sizes), None)
        about = partial(_of_entries, videos.path, frames, sizes)
        found.append(Recording(name, about, size, None, layout))
    return found


class _Videos:
    """Entries of pictures, by video and number of the frame. `pictures`: those that are known
    before, in which nobody may be. `gaps`: others may be missing because nobody is in them."""

    def __init__(self, path: Path, pictures: Sequence[Any] = (), *, gaps: bool = True) -> None:
        self.path, self._gaps = path, gaps
        self._videos: dict[str, Entries] = {}
        self._places: dict[Any, list[Any]] = {}
        self._pictures: dict[str, list[Any]] = {}
        for picture in pictures:
            self.entries(picture)

    def entries(self, picture: Any) -> list[Any]:
        """Those of a picture. Raises `DatasetError`."""
        if isinstance(picture, bool) or not isinstance(picture, (int, str)):
            raise DatasetError(f"{self.path}: image_id {printable(picture)[:40]} is no name")
        if picture not in self._places:
            video, number = _place(picture)
            frames = self._videos.setdefault(video, {})
            if number is None or number in frames:
                number = max(frames, default=-1) + 1
            frames[number] = self._places[picture] = []
            self._pictures.setdefault(video, []).append(picture)
        return self._places[picture]

    def __iter__(self) -> Iterator[tuple[str, Entries, list[Any]]]:
        """Name, frames in order, and pictures of each."""
        for video, frames in self._videos.items():
            ordered = sorted(frames)
            moments = timeline(ordered) if self._gaps else range(len(ordered))
            of_moments = {m: frames[n] for m, n in zip(moments, ordered, strict=True)}
            yield video or self.path.stem, of_moments, self._pictures[video]


def _place(picture: int | str) -> tuple[str, int | None]:
    """The video and the frame that a picture's name says."""
    if isinstance(picture, int):
        return "", picture
    path = PurePosixPath(picture.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp") else path.name
    prefix, number = numbered(stem)
    folder = "" if path.parent.name in ("", "..") else path.parent.name
    return "/".join(part for part in (folder, prefix) if part), number


def _of_entries(
    path: Path, frames: Entries, sizes: Mapping[Any, Size]
) -> Iterator[Frame | SourceError]:
    for number, entries in frames.items():
        people, size = [], None
        try:
            for picture, entry in entries:
                kpts = keypoints_of(entry["keypoints"], entry.get("keypoint_scores"), per=3)
                size = sizes.get(picture)
                if kpts is not None:
                    people.append(Detection(_scores(kpts), _identity(entry)))
        except ValueError as error:
            yield SourceError(f"{path}, frame {number}: {error}")
        else:
            yield Frame(number, people, size)


def _scores(kpts: Any) -> Any:
    """COCO's ground truth has 1 for covered and 2 for visible in place of scores."""
    third = kpts[:, 2]
    if (third == 2).any() and np.isin(third, (0, 1, 2)).all():
        kpts[:, 2] = np.minimum(third, 1)
    return kpts


def _identity(entry: Mapping[str, Any]) -> int | str | None:
    return next((identity(entry[name]) for name in _IDS if name in entry), None)


def _frames(path: Path, whole: Mapping[str, Any]) -> list[Recording]:
    """OpenPose's frames by the pictures' names."""
    videos = _Videos(path)
    for picture, document in whole.items():
        videos.entries(picture).append(document)
    return [Recording(name, partial(_of_frames, path, frames)) for name, frames, _ in videos]


def _of_frames(path: Path, frames: Entries) -> Iterator[Frame | SourceError]:
    for number, [document] in frames.items():
        try:
            yield frame_of(document, number)
        except ValueError as error:
            yield SourceError(f"{path}, frame {number}: {error}")
