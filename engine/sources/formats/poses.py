"""Poses: recordings as the engine's own, COCO's joints in pixels.

Comes in: a `Recording` and what the user says of it (`Reading`). Goes out: an annotation, as data
sets have them, or messages, as sources send them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any, Final

import numpy as np

from engine.base.choices import AUTO, PIXELS, Coordinates
from engine.base.constants import JOINTS
from engine.base.errors import DatasetError, SampleError, SourceError, UsageError, printable
from engine.skeletons.joints import LAYOUTS, JointLayout, by_number, by_pelvis
from engine.skeletons.samples import MAX_POSES
from engine.sources.formats.recording import Detection, Frame, Recording, Size

_FIRST: Final = 100  # frames in which somebody is looked for
_AMBIGUOUS: Final = 16  # joints, whose order is MPII's or another
_BYTES: Final = JOINTS * 3 * 4  # of a person in a frame


@dataclass(frozen=True)
class Reading:
    """What a user says of poses: the picture's `size` and the layout of their `joints`, of those
    that another program wrote; the `rate` in frames/s of what does not say its own; and what
    `coordinates` are."""

    size: Size | None = None
    joints: JointLayout | None = None
    rate: float = 30.0
    coordinates: Coordinates = AUTO

    @classmethod
    def of(
        cls,
        size: str | None,
        joints: str | None,
        rate: float = 30.0,
        coordinates: Coordinates = AUTO,
    ) -> Reading:
        """As ``--size``, ``--joints``, ``--fps`` and ``--coordinates`` say it. Raises
        `UsageError`."""
        if joints is not None and joints not in LAYOUTS:
            raise UsageError(f"--joints {printable(joints)[:40]}: choose from {', '.join(LAYOUTS)}")
        known = None if joints is None else LAYOUTS[joints]
        return cls(None if size is None else parse_size(size), known, rate, coordinates)

    @property
    def says(self) -> str:
        """The flags that speak of the poses, as text; empty without any."""
        flags = [] if self.size is None else ["--size"]
        return " and ".join([*flags, *(["--joints"] if self.joints else [])])

    def leave_out(self, name: object) -> None:
        """Raise `DatasetError` where something is said of annotations, which say it themselves."""
        if self.says:
            raise DatasetError(
                f"{name} has none of the forms of other programs that docs/data.md lists, and "
                f"annotations say img_shape themselves and have the model's joints; leave "
                f"{self.says} out"
            )


def parse_size(text: str) -> Size:
    """``640x480`` as width and height. Raises `UsageError`."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.lower(), re.ASCII)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(0 < side < 2**16 for side in size):
        raise UsageError(f"--size {printable(text)[:40]}: WIDTHxHEIGHT in pixels, such as 640x480")
    return size


class Poses:
    """A recording, read as a user says. Raises `DatasetError` where the picture's size is not known
    or is another than the file says."""

    def __init__(self, recording: Recording, reading: Reading, path: object) -> None:
        self.recording, self._reading = recording, reading
        self.rate = recording.rate or reading.rate
        own, said = recording.size, reading.size
        if own is not None and said is not None and own != said:
            raise DatasetError(
                f"{path}: {printable(recording.name)[:100]} says that its picture has "
                f"{own[0]}x{own[1]} pixels; leave --size {said[0]}x{said[1]} out"
            )
        known, joints = recording.layout, reading.joints
        if known is not None and joints is not None and known != joints:
            raise DatasetError(
                f"{path}: {printable(recording.name)[:100]} says that its joints are {known.name}; "
                f"leave --joints {joints.name} out"
            )
        if own is None and said is None and recording.error is None:
            raise DatasetError(
                f"{path}: {printable(recording.name)[:100]} does not say how large the picture is; "
                "say it: --size WIDTHxHEIGHT, of the video that the poses are of"
            )
        self.size = own or said or (1, 1)  # of what cannot be read

    def frames(self) -> Iterator[Frame | SourceError]:
        """With COCO's joints [17, 3] in pixels; what cannot be read is a `SourceError` in its
        place."""
        for frame in self._read():
            yield self._frame(frame) if isinstance(frame, Frame) else frame

    @property
    def seen_layout(self) -> JointLayout | None:
        """How the joints of the first person in the first frames are numbered, if that is known."""
        for frame in islice(self._read(), _FIRST):
            if isinstance(frame, Frame) and frame.people:
                with suppress(ValueError):
                    return self.layout(len(frame.people[0].kpts))
        return None

    @cached_property
    def _by_pelvis(self) -> JointLayout | None:
        """The order of 16 joints, by the people of the first frames."""
        frames = [one for one in islice(self._read(), _FIRST) if isinstance(one, Frame)]
        people = [one.kpts for frame in frames for one in frame.people]
        return by_pelvis([kpts for kpts in people if len(kpts) == _AMBIGUOUS])

    def _read(self) -> Iterator[Frame | SourceError]:
        """As the reader gives them."""
        if self.recording.error is not None:
            yield SourceError(self.recording.error)
            return
        try:
            yield from self.recording.frames()
        except Exception as error:  # readers may be others', and damage provokes nearly anything
            yield SourceError(
                f"{self.recording.name}: {type(error).__name__}: {printable(error):.200}"
            )

    def _frame(self, frame: Frame) -> Frame | SourceError:
        if frame.size is not None and frame.size != self.size:
            return SourceError(
                f"{self.recording.name}, frame {frame.number}: its picture has "
                f"{frame.size[0]}x{frame.size[1]} pixels, others {self.size[0]}x{self.size[1]}: "
                "these are no frames of one video"
            )
        try:
            return replace(frame, people=[self._person(one) for one in frame.people])
        except ValueError as error:
            return SourceError(f"{self.recording.name}, frame {frame.number}: {error}")

    def _person(self, one: Detection) -> Detection:
        kpts = self.layout(len(one.kpts)).picked(one.kpts)
        if self.recording.shares:
            kpts[:, :2] *= np.array(self.size, np.float32)
        return replace(one, kpts=kpts)

    def layout(self, joints: int) -> JointLayout:
        """How so many joints are numbered. Raises `ValueError`."""
        known = self.recording.layout or self._reading.joints
        if known is None and joints == _AMBIGUOUS and (known := self._by_pelvis) is None:
            raise ValueError(
                f"{joints} joints, whose order their number does not tell: say --joints mpii16, or "
                "h36m16 for Human3.6M's without a nose"
            )
        known = known or by_number(joints)
        if known is None:
            counts = ", ".join(f"{layout.joints} ({name})" for name, layout in LAYOUTS.items())
            raise ValueError(f"{joints} joints, which no layout has: {counts}")
        if known.joints != joints:
            raise ValueError(f"{joints} joints; layout {known.name} has {known.joints}")
        return known

    def annotation(self) -> dict[str, Any]:
        """As data sets have it: ``keypoint`` float32 [persons, frames, 17, 2], their scores, and
        ``tracks``: whether a row is one person, or the n-th of each frame; not there where the file
        has rows of its own. Raises `SampleError` for what cannot be read."""
        frames: list[Frame] = []
        for frame in self.frames():
            if isinstance(frame, SourceError):
                raise SampleError(str(frame), stage="read")
            frames.append(frame)
        if not frames:
            raise SampleError(f"{self.recording.name} has no frames", stage="read")
        ids = [[one.id for one in frame.people] for frame in frames]
        tracked = all(None not in some and len(set(some)) == len(some) for some in ids)
        if tracked:
            everybody: list[Any] = list(dict.fromkeys(who for some in ids for who in some))
            if self.recording.rows:  # of which some may be empty
                everybody = list(range(1 + max(everybody, default=-1)))
            rows = {who: row for row, who in enumerate(everybody)}
            places = [[rows[who] for who in some] for some in ids]
            persons = len(rows)
        else:
            places = [list(range(len(some))) for some in ids]
            persons = max(map(len, places))
        first = frames[0].number
        length = frames[-1].number - first + 1
        if (size := persons * length * _BYTES) > MAX_POSES:
            raise SampleError(
                f"{size / 1e9:.1f} GB of poses ({persons} persons, {length} frames); at most "
                f"{MAX_POSES / 1e9:.1f} GB. As a source it is read frame by frame: --source PATH",
                stage="read",
            )
        keypoint = np.zeros((persons, length, JOINTS, 2), np.float32)
        score = np.zeros((persons, length, JOINTS), np.float32)
        for frame, some in zip(frames, places, strict=True):
            for row, one in zip(some, frame.people, strict=True):
                keypoint[row, frame.number - first] = one.kpts[:, :2]
                score[row, frame.number - first] = one.kpts[:, 2]
        return {
            "frame_dir": self.recording.name,
            "img_shape": (self.size[1], self.size[0]),
            "total_frames": length,
            "keypoint": keypoint,
            "keypoint_score": score,
            **({} if self.recording.rows else {"tracks": tracked}),
        }

    def messages(self) -> Iterator[Mapping[str, Any] | SourceError]:
        """As live sources send them (`engine.sources.pose_frames`), the last one with ``end``."""
        held: dict[str, Any] | None = None
        for frame in self.frames():
            if held is not None:
                yield held
                held = None
            if isinstance(frame, SourceError):
                yield frame
                continue
            held = {
                "stream": self.recording.name,
                "frame": frame.number,
                "t": frame.number / self.rate,
                "rate": self.rate,
                "size": list(self.size),
                "people": [self._said(one) for one in frame.people],
                **({"coordinates": PIXELS} if self.recording.shares else {}),
            }
        if held is not None:
            yield {**held, "end": True}

    def _said(self, one: Detection) -> dict[str, Any]:
        return {"id": None if self.recording.rows else one.id, "kpts": one.kpts}


class RecordedAnnotation(Mapping[str, Any]):
    """An annotation whose identifier is at hand; the rest is read once, when it is needed."""

    def __init__(self, poses: Poses) -> None:
        self._poses = poses

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return self._poses.annotation()

    def __getitem__(self, key: str) -> Any:
        if key == "frame_dir":
            return self._poses.recording.name
        if key == "filename":
            raise KeyError(key)  # never a recording's
        if key == "label":
            if (label := self._poses.recording.label) is None:
                raise KeyError(key)
            return label
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        yield from self._fields

    def __len__(self) -> int:
        return len(self._fields)
