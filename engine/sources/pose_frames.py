"""Pose frames: what a live source says of one moment, checked before anything uses it.

One message is one frame of one stream, as JSON::

    {"v": 1, "stream": "door", "frame": 17, "t": 1732.4, "size": [640, 480], "layout": "coco17",
     "people": [{"id": 3, "kpts": [[x, y, score], …]}]}

``rate`` (frames/s; ``fps`` is the same), ``end`` (true in a stream's last frame) and
``coordinates`` (``pixels`` or ``normalised``) may be there, too. ``t`` is seconds on the source's
own clock, or left out; ``id`` may be left out, null or negative where nobody tracks, and 7 and "7"
are the same; ``layout`` is coco17 unless it says otherwise (`engine.skeletons.joints`). A frame
with nobody in it is as good as any other. Numbers may be what programs hold: numpy's, floats that
are whole, the one element of a list; ``kpts`` an array or a flat list, with scores or without.
Comes in: bytes or dicts, from anybody. Goes out: `PoseFrame`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import AUTO, COORDINATES, PIXELS, Coordinates, Who
from engine.base.errors import SampleError, SourceError, printable
from engine.base.notes import EMPTY, Note
from engine.skeletons.joints import COCO, LAYOUTS
from engine.skeletons.plausibility import judged
from engine.skeletons.poses import single, unmasked, whole_number
from engine.sources.json_text import parse_json

UNTIMED: Final = math.nan
"""`PoseFrame.t` where a source does not say, as files of frames do not."""
VERSION = 1
MAX_BYTES = 1 << 20  # of a message
MAX_PEOPLE = 200
MAX_NAME = 100  # characters of a stream's name or a person's id
_MAX_SIDE = 1 << 16
_FASTEST = 1000  # frames/s
_FARTHEST = 1e6  # pixels from the frame's corner
_LARGEST = 1e300  # a number
_WHOLE = re.compile(r"0|-?[1-9]\d{0,15}", re.ASCII)  # an id, in quotes
_SHOWN = 60  # characters of a value that is refused


@dataclass(frozen=True, eq=False)
class Person:
    """`id` is None where nobody tracks. `kpts`: float32 [17, 3], x and y in pixels and score;
    score 0 marks what was not seen."""

    id: int | str | None
    kpts: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PoseFrame:
    """`frame` counts within the stream; `t` in seconds on the source's clock, `UNTIMED` where the
    source does not say; `size` (width, height) in pixels; `rate` in frames/s, None where the source
    does not say; `end`: the stream is over with it. `checked`: coordinates are known to be pixels,
    and scores to be shares, so that `plausible` does not look at them; `notes`: what it decided."""

    stream: str
    frame: int
    t: float
    size: tuple[int, int]
    people: tuple[Person, ...]
    rate: float | None = None
    end: bool = False
    checked: bool = False
    notes: tuple[Note, ...] = ()


def timed(frame: PoseFrame, fps: float) -> PoseFrame:
    """With a time: of a source that says none, that of its number at the stream's rate, or at `fps`
    frames/s."""
    if not math.isnan(frame.t):
        return frame
    return replace(frame, t=frame.frame / (frame.rate or fps))


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
        raise _refusal("people", people, f"a list of at most {MAX_PEOPLE}")
    size, rate = _size(message.get("size")), rate_of(message)
    if rate is not None and not 0 < (rate := _number(rate, "rate")) <= _FASTEST:
        raise SourceError(f"rate {rate:g}: above 0 and at most {_FASTEST} frames/s")
    if not isinstance(end := single(message.get("end", False)), bool):
        raise _refusal("end", end, "true or false")
    frame = PoseFrame(
        stream=_name(message.get("stream", ""), "stream"),
        frame=_whole(message.get("frame"), "frame"),
        t=_time(message.get("t")),
        size=size,
        people=_distinct([_person(person, n, layout, size) for n, person in enumerate(people)]),
        rate=rate,
        end=end,
    )
    return plausible(frame, PIXELS if LAYOUTS[layout].normalised else _said(message, coordinates))


def rate_of(message: Mapping[str, Any]) -> Any:
    """What a message says of its stream's frames/s, not checked yet."""
    return message.get("rate", message.get("fps"))


def _said(message: Mapping[str, Any], coordinates: Coordinates) -> Coordinates:
    """What the message says that its coordinates are, else what the user says."""
    said = message.get("coordinates", coordinates)
    for known in COORDINATES:
        if said == known:
            return known
    raise _refusal("coordinates", said, f"one of {', '.join(COORDINATES)}")


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
        found = judged(*poses, coordinates, one_frame=True)
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


def _distinct(people: list[Person]) -> tuple[Person, ...]:
    """People without the ids that tell nobody apart: what programs write where they do not track
    (-1, or nothing in quotes), and one that several in a frame have."""
    times = Counter(person.id for person in people)
    return tuple(
        person
        if times[person.id] == 1 and person.id != "" and not _is_negative(person.id)
        else replace(person, id=None)
        for person in people
    )


def _is_negative(who: Who) -> bool:
    return isinstance(who, int) and who < 0


def _person(value: Any, number: int, layout: str, size: tuple[int, int]) -> Person:
    field = f"people[{number}]"
    if not isinstance(value, Mapping):
        raise _refusal(field, value, "an object with kpts")
    who = single(value.get("id"))
    if isinstance(who, str):
        who = _name(who, f"{field}.id")
        if _WHOLE.fullmatch(who):
            who = int(who)
    elif who is not None:
        who = _whole(who, f"{field}.id")
    kpts = _joints(value.get("kpts"), f"{field}.kpts", layout)
    found = LAYOUTS[layout].to_coco(kpts, size)
    # NaN is programs' word for what was not seen, and so is score 0, whatever stands before it
    found[np.isnan(found[:, :2]).any(axis=1) | (found[:, 2] == 0)] = 0
    if not np.isfinite(found).all() or np.abs(found[:, :2]).max() > _FARTHEST:
        raise SourceError(
            f"{field}.kpts has coordinates that are no numbers, or far outside; give joints that "
            "were not seen score 0"
        )
    return Person(who, found)


def _joints(value: Any, field: str, layout: str) -> NDArray[np.float32]:
    """[joints, 3] of that, of [joints, 2], whose scores are one but at (0, 0), or of either in a
    row."""
    joints = LAYOUTS[layout].joints
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold is far outside
            found = unmasked(value, np.float32)
    except Exception:  # ragged, no numbers, a tensor on a device
        found = np.zeros((), np.float32)
    if not found.ndim:
        raise _refusal(field, value, f"numbers [x, y, score] of each of {joints} joints")
    columns = {3 * joints: 3, 2 * joints: 2}
    if found.ndim == 1 and (in_a_row := columns.get(len(found))) is not None:
        found = found.reshape(joints, in_a_row)
    if found.shape == (joints, 2):
        seen = found.any(axis=1, keepdims=True)  # estimators have zeros for what they do not see
        found = np.concatenate([found, seen.astype(np.float32)], axis=1)
    if found.shape != (joints, 3):
        raise SourceError(
            f"{field} has shape {list(found.shape)}; layout {layout} needs [{joints}, 3], x, y and "
            f"score of each joint, or [{joints}, 2], or as many numbers in a row"
        )
    return found


def _size(value: Any) -> tuple[int, int]:
    value = value.tolist() if isinstance(value, np.ndarray) else value
    sides = list(value) if isinstance(value, (list, tuple)) else []
    if len(sides) != 2:
        raise _refusal("size", value, "[width, height] in pixels")
    width, height = (_whole(side, "size") for side in sides)
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise SourceError(f"size [{width}, {height}]: from 1 to {_MAX_SIDE} pixels")
    return width, height


def _name(value: Any, field: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME or not value.isprintable():
        raise _refusal(field, value, f"text of at most {MAX_NAME} printable characters")
    return value


def _whole(value: Any, field: str) -> int:
    number = whole_number(value)
    if number is None or abs(number) >= 2**53:
        raise _refusal(field, value, "a whole number")
    return number


def _number(value: Any, field: str) -> float:
    number = single(value)
    plain = isinstance(number, (int, float)) and not isinstance(number, bool)
    if plain and abs(number) < _LARGEST:
        return float(number)
    raise _refusal(field, value, "a number")


def _time(value: Any) -> float:
    """NaN is what some programs have in place of null."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return UNTIMED
    return _number(value, "t")


def _refusal(field: str, value: Any, wanted: str) -> SourceError:
    """What is wrong with a field; its value is cut short."""
    return SourceError(f"{field} is {_shown(value)}; {wanted} is needed")


def _shown(value: Any) -> str:
    try:
        text = printable(repr(value)).replace("\n", " ")
    except Exception:  # of somebody's own class, or a number of more digits than are spelt
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
