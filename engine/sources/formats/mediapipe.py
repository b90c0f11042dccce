"""MediaPipe: landmarks ``{x, y, z, visibility}`` in shares of the picture, 33 of somebody.

A frame is a list of landmarks, a list of people's lists, or an object that has one of both under
``landmarks``, ``pose_landmarks`` or ``poseLandmarks``, or by the landmarks' names. A file is one
frame, a list of frames (perhaps under ``frames`` or ``results``), or frames by number.
``pose_world_landmarks`` are in metres, around the hips, and are not taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.base.errors import DatasetError, SourceError
from engine.skeletons.joints import COCO_NAMES, LAYOUTS
from engine.sources.formats.content import Content
from engine.sources.formats.keypoints import F32, keypoints_of
from engine.sources.formats.recording import Detection, Frame, Recording, Size, sides, timeline

_LANDMARKS: Final = ("pose_landmarks", "poseLandmarks", "landmarks", "pose", "landmark")
_FRAMES: Final = ("frames", "results", "data")
_NUMBERS: Final = ("frame", "frame_id", "frame_number", "frame_index", "frame_idx")
_LAYOUT: Final = LAYOUTS["mediapipe33"]
_HIPS: Final = (23, 24)
_ORIGIN: Final = 0.02  # within which the middle of the hips is, in metres
_PIXELS: Final = 4.0  # a share beyond it is none: MediaPipe also tells of what is outside


def read(content: Content) -> list[Recording] | None:
    whole, path = content.json, content.path
    try:
        frames = _frames(whole)
        if frames is None:
            return None
        shares = _in_shares(frames)
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from None
    about = partial(_of_frames, path, frames)
    return [Recording(path.stem, about, _size(whole), _rate(whole), _LAYOUT, shares=shares)]


def _frames(whole: Any) -> list[tuple[int, Any]] | None:
    """(number, what is said of it) of each frame; None where it is none of the forms."""
    if isinstance(whole, dict):
        listed = next((whole[name] for name in _FRAMES if isinstance(whole.get(name), list)), None)
        if listed is not None:
            return _frames(listed)
        if whole and all(key.isdecimal() for key in whole):  # frames by number
            ordered = sorted(whole.items(), key=lambda item: int(item[0][:18]))
            if not any(_is_frame(value) for value in whole.values()):
                return None
            moments = timeline([int(key[:18]) for key, _ in ordered])
            return [(n, value) for n, (_, value) in zip(moments, ordered, strict=True)]
        return [(0, whole)] if _is_frame(whole) else None
    if not isinstance(whole, list):
        return None
    if _is_person(whole):
        return [(0, whole)]
    if not whole or not all(frame is None or _is_frame(frame) for frame in whole):
        return None
    if not any(_people(frame) for frame in whole):
        return None
    numbers = [_number(frame) for frame in whole]
    known = [number for number in numbers if number is not None]
    ascending = len(known) == len(whole) and known == sorted(set(known))
    moments = timeline(known) if ascending else list(range(len(whole)))
    return list(zip(moments, whole, strict=True))


def _number(frame: Any) -> int | None:
    named = frame if isinstance(frame, dict) else {}
    found = next((named[name] for name in _NUMBERS if name in named), None)
    return found if type(found) is int and 0 <= found < 2**53 else None


def _is_frame(frame: Any) -> bool:
    """Whether landmarks are in it, or their place is empty."""
    if isinstance(frame, dict):
        return any(name in frame for name in _LANDMARKS) or _by_name(frame) is not None
    return (
        frame == []
        or _is_person(frame)
        or (isinstance(frame, list) and all(map(_is_person, frame)))
    )


def _is_person(value: Any) -> bool:
    """Whether it is a list of 33 landmarks: objects, or lists [x, y, z, visibility]."""
    if isinstance(value, dict):  # {"landmark": […]}, as protocol buffers print
        value = value.get("landmark")
    if not isinstance(value, list) or len(value) != _LAYOUT.joints:
        return False
    return all(
        (isinstance(one, dict) and "x" in one and "y" in one)
        or (isinstance(one, list) and len(one) in (2, 3, 4))
        for one in value
    )


def _people(frame: Any) -> list[F32]:
    """Those of a frame. Raises `ValueError`."""
    if isinstance(frame, dict):
        by_name = _by_name(frame)
        if by_name is not None:
            frame = by_name
        else:
            frame = next((frame[name] for name in _LANDMARKS if name in frame), None)
            if isinstance(frame, dict):
                frame = _by_name(frame) or frame.get("landmark")
    if frame is None or frame == []:
        return []
    if not isinstance(frame, list):
        raise ValueError("landmarks: a list is needed")
    everybody = [frame] if _is_person(frame) else frame
    found = []
    for one in everybody:
        if not _is_person(one):
            several = one if isinstance(one, list) else everybody
            raise ValueError(f"{len(several)} landmarks; MediaPipe's pose has {_LAYOUT.joints}")
        points = one["landmark"] if isinstance(one, dict) else one
        kpts = keypoints_of(points, depth=True)
        if kpts is not None:
            found.append(kpts)
    return found


def _by_name(frame: Mapping[str, Any]) -> list[Any] | None:
    """A person's landmarks where each has a name, in MediaPipe's order; those that are no joints of
    COCO's stay empty."""
    named = {name.lower(): value for name, value in frame.items() if isinstance(value, dict)}
    if not all(name in named for name in COCO_NAMES[5:]):
        return None
    landmarks: list[Any] = [{"x": 0, "y": 0, "visibility": 0}] * _LAYOUT.joints
    for name, place in zip(COCO_NAMES, _LAYOUT.coco, strict=True):
        if isinstance(place, int) and name in named:
            landmarks[place] = named[name]
    return landmarks


def _in_shares(frames: list[tuple[int, Any]]) -> bool:
    """Whether coordinates are not in pixels. Raises `ValueError` for ``pose_world_landmarks``."""
    everybody = [kpts for _, frame in frames for kpts in _people(frame)]
    if everybody:
        hips = [kpts[list(_HIPS), :2].mean(axis=0) for kpts in everybody]
        if (
            np.abs(np.median(hips, axis=0)).max() < _ORIGIN
            and min(k[:, :2].min() for k in everybody) < 0
        ):
            raise ValueError(
                "landmarks in metres around the hips (pose_world_landmarks); the engine takes "
                "those of the picture (pose_landmarks)"
            )
    return not any((np.abs(kpts[:, :2]) > _PIXELS).any() for kpts in everybody)


def _of_frames(path: Path, frames: list[tuple[int, Any]]) -> Iterator[Frame | SourceError]:
    for number, frame in frames:
        try:
            yield Frame(number, [Detection(kpts) for kpts in _people(frame)])
        except ValueError as error:
            yield SourceError(f"{path}, frame {number}: {error}")


def _size(whole: Any) -> Size | None:
    about = whole if isinstance(whole, dict) else {}
    return sides(about.get("width"), about.get("height"))


def _rate(whole: Any) -> float | None:
    rate = whole.get("fps") if isinstance(whole, dict) else None
    return float(rate) if isinstance(rate, (int, float)) and 0 < rate <= 1000 else None
