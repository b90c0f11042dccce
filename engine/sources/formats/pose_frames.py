"""This engine's own messages in a file: ``.jsonl``, a pose frame a line (docs/live.md), as somebody
may have recorded them of a live source."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from engine.base.errors import SourceError
from engine.skeletons.joints import COCO, LAYOUTS
from engine.sources.formats.content import Content
from engine.sources.formats.recording import Detection, Frame, Recording, timeline
from engine.sources.pose_frames import PoseFrame, decode, parse


def read(content: Content) -> list[Recording] | None:
    """A stream is a recording; lines that are no pose frames are the first one's."""
    if content.suffix != ".jsonl" or content.path.is_dir() or not is_messages(content.path):
        return None
    streams: dict[str, list[PoseFrame]] = {}
    broken: list[SourceError] = []
    with content.path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                if line.strip():
                    frame = parse(decode(line))
                    streams.setdefault(frame.stream, []).append(frame)
            except SourceError as error:
                broken.append(SourceError(f"{content.path}, line {number}: {error}"))
    if not streams:
        return [Recording(content.path.stem, lambda: iter(()), error=str(broken[0]))]
    found = []
    for stream, frames in streams.items():
        frames.sort(key=lambda frame: frame.frame)
        about = partial(_of_frames, frames, broken)
        name, first = stream or content.path.stem, frames[0]
        rate = first.rate or _rate(first, frames[-1])
        found.append(Recording(name, about, first.size, rate, LAYOUTS[COCO]))
        broken = []
    return found


def _rate(first: PoseFrame, last: PoseFrame) -> float | None:
    """Frames/s by the times of the first and the last frame, where they have any."""
    seconds, frames = last.t - first.t, last.frame - first.frame
    return frames / seconds if seconds > 0 and 0.1 <= frames / seconds <= 1000 else None


def is_messages(path: Path) -> bool:
    """Whether the first line is a pose frame and no annotation."""
    with path.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
    try:
        message = decode(first)
    except SourceError:
        return False
    return "people" in message and "keypoint" not in message


def _of_frames(frames: list[PoseFrame], broken: list[SourceError]) -> Iterator[Frame | SourceError]:
    yield from broken
    moments = timeline([frame.frame for frame in frames])
    for number, frame in zip(moments, frames, strict=True):
        people = [Detection(person.kpts, person.id) for person in frame.people]
        yield Frame(number, people, frame.size)
