"""Pose frames: what a live source says of one moment, checked before anything uses it.

One message is one frame of one stream, as JSON::

    {"v": 1, "stream": "door", "frame": 17, "t": 1732.4, "size": [640, 480], "layout": "coco17",
     "people": [{"id": 3, "kpts": [[x, y, score], …]}]}

``rate`` (frames/s) and ``end`` (true in a stream's last frame) may be there, too. ``t`` is seconds
on the source's own clock; ``id`` may be left out or null where nobody tracks;
``layout`` is coco17 unless it says otherwise (`engine.skeletons.joints`). A frame with nobody in
it is as good as any other. Comes in: bytes or dicts, from anybody. Goes out: `PoseFrame`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import AUTO, PIXELS, Coordinates
from engine.base.errors import SampleError, SourceError, printable
from engine.base.notes import EMPTY, Note
from engine.skeletons.joints import COCO, LAYOUTS
from engine.skeletons.plausibility import judged
from engine.sources.json_text import parse_json

VERSION = 1
MAX_BYTES = 1 << 20  # of a message
MAX_PEOPLE = 200
MAX_NAME = 100  # characters of a stream's name or a person's id
_MAX_SIDE = 1 << 16
_FASTEST = 1000  # frames/s
_FARTHEST = 1e6  # pixels from the frame's corner


@dataclass(frozen=True, eq=False)
class Person:
    """`id` is None where nobody tracks. `kpts`: float32 [17, 3], x and y in pixels and score;
    score 0 marks what was not seen."""

    id: int | str | None
    kpts: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PoseFrame:
    """`frame` counts within the stream; `t` in seconds on the source's clock; `size` (width,
    height) in pixels; `rate` in frames/s, None where the source does not say; `end`: the stream is
    over with it. `checked`: coordinates are known to be pixels, and scores to be shares, so that
    `plausible` does not look at them; `notes`: what it decided."""

    stream: str
    frame: int
    t: float
    size: tuple[int, int]
    people: tuple[Person, ...]
    rate: float | None = None
    end: bool = False
    checked: bool = False
    notes: tuple[Note, ...] = ()


def decode(message: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    """A message as an object, whatever it says. Raises `SourceError`."""
    if isinstance(message, (bytes, bytearray, memoryview)):
        if len(message) > MAX_BYTES:
            raise SourceError(f"a message of {len(message)} bytes; at most {MAX_BYTES}")
        try:
            message = parse_json(message)
        except ValueError as error:
            raise SourceError(f"not JSON: {error}") from None
    if not isinstance(message, Mapping):
        raise SourceError(f"a pose frame is an object, this is {type(message).__name__}")
    return message


def parse(message: Mapping[str, Any], coordinates: Coordinates = AUTO) -> PoseFrame:
    """Check a message; `coordinates`: what those are of layouts that do not say. Raises
    `SourceError` that says what was wrong with it."""
    if message.get("v", VERSION) != VERSION:
        raise SourceError(f"version {printable(message['v'])[:20]}; this engine knows {VERSION}")
    layout = message.get("layout", COCO)
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise SourceError(f"layout {printable(layout)[:40]!r}; known: {', '.join(LAYOUTS)}")
    people = message.get("people")
    if not isinstance(people, (list, tuple)) or len(people) > MAX_PEOPLE:
        raise SourceError(f"people: a list of at most {MAX_PEOPLE} is needed")
    size, rate = _size(message.get("size")), message.get("rate")
    if rate is not None and not 0 < (rate := _number(rate, "rate")) <= _FASTEST:
        raise SourceError(f"rate {rate:g}: above 0 and at most {_FASTEST} frames/s")
    if not isinstance(end := message.get("end", False), bool):
        raise SourceError("end: true or false is needed")
    frame = PoseFrame(
        stream=_name(message.get("stream", ""), "stream"),
        frame=_whole(message.get("frame"), "frame"),
        t=_number(message.get("t"), "t"),
        size=size,
        people=tuple(_person(person, layout, size) for person in people),
        rate=rate,
        end=end,
    )
    return plausible(frame, PIXELS if LAYOUTS[layout].normalised else coordinates)


def plausible(frame: PoseFrame, coordinates: Coordinates = AUTO) -> PoseFrame:
    """The frame with coordinates in pixels and scores up to about 1, by what those of all its
    people are. Raises `SourceError` for numbers that cannot be poses."""
    if frame.checked or not frame.people:
        return frame
    kpts = np.stack([person.kpts for person in frame.people])
    width, height = frame.size
    poses = kpts[None, ..., :2], kpts[None, ..., 2], (height, width), len(kpts)  # as frames
    try:
        # one joint tells: there are no other frames to tell by, and what is in the corner of a
        # picture is not worth being drawn in any case
        found = judged(*poses, coordinates, least_distinct=1)
    except SampleError as error:
        said = re.sub(r"\bkeypoint_score\b", "the score of kpts", str(error))
        raise SourceError(re.sub(r"\bkeypoint\b", "kpts", said)) from None
    notes = tuple(note for note in found.notes if note != EMPTY)  # a frame may well be
    if not notes:
        return replace(frame, checked=True)
    assert found.score is not None  # there were some
    if np.abs(found.keypoint).max() > _FARTHEST:
        raise SourceError("kpts has coordinates far outside, as shares of the picture")
    joints = found.keypoint[0], found.score[0][..., None]
    kpts = np.concatenate(joints, axis=-1, dtype=np.float32)
    people = (replace(person, kpts=one) for person, one in zip(frame.people, kpts, strict=True))
    return replace(frame, people=tuple(people), checked=True, notes=notes)


def _person(value: Any, layout: str, size: tuple[int, int]) -> Person:
    if not isinstance(value, Mapping):
        raise SourceError("people: each one is an object with kpts")
    who, wanted = value.get("id"), LAYOUTS[layout]
    if isinstance(who, str):
        who = _name(who, "id")
    elif who is not None:
        who = _whole(who, "id")
    try:
        kpts = np.asarray(value.get("kpts"), np.float32)
    except (TypeError, ValueError, OverflowError):
        raise SourceError("kpts: numbers [x, y, score], one a joint, are needed") from None
    if kpts.shape != (wanted.joints, 3):
        raise SourceError(
            f"kpts has shape {list(kpts.shape)}; layout {layout} needs [{wanted.joints}, 3]: "
            "x, y and score of each joint"
        )
    found = wanted.to_coco(kpts, size)
    found[np.isnan(found[:, :2]).any(axis=1)] = 0  # NaN is programs' word for what was not seen
    if not np.isfinite(found).all() or np.abs(found[:, :2]).max() > _FARTHEST:
        raise SourceError(
            "kpts has coordinates that are no numbers, or far outside; give joints that were not "
            "seen score 0"
        )
    return Person(who, found)


def _size(value: Any) -> tuple[int, int]:
    sides = value if isinstance(value, (list, tuple)) else ()
    if len(sides) != 2:
        raise SourceError("size: [width, height] in pixels is needed")
    width, height = (_whole(side, "size") for side in sides)
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise SourceError(f"size [{width}, {height}]: from 1 to {_MAX_SIDE} pixels")
    return width, height


def _name(value: Any, field: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME or not value.isprintable():
        raise SourceError(f"{field}: text of at most {MAX_NAME} printable characters is needed")
    return value


def _whole(value: Any, field: str) -> int:
    if type(value) is not int or abs(value) >= 2**53:
        raise SourceError(f"{field}: a whole number is needed")
    return value


def _number(value: Any, field: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise SourceError(f"{field}: a number is needed")
    return float(value)
