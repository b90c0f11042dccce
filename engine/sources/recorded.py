"""Recorded sources: JSON lines, folders of OpenPose's, annotation files at their own speed.

``jsonl:FILE`` and ``jsonl:-`` (standard input): a pose frame a line. ``openpose:DIR``: a file
``*_keypoints.json`` a frame. ``replay:FILE@RATE``: every annotation as a stream, in frames/s;
without a rate as fast as it can be scored.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.errors import DatasetError, SampleError, SourceError, UsageError
from engine.base.notes import EMPTY
from engine.skeletons.joints import LAYOUTS
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import ANY_CLASSES, Sample
from engine.sources.dataset import open_dataset
from engine.sources.json_text import parse_json
from engine.sources.pose_frames import MAX_BYTES, Person, PoseFrame
from engine.sources.source import Source, Stop

_NAP_S = 0.05


def json_lines(rest: str) -> Source:
    """``jsonl:FILE``, ``jsonl:-``."""
    if rest != "-" and (not Path(rest).exists() or Path(rest).is_dir()):
        raise UsageError(f"jsonl:{rest}: no such file")
    return Source(f"jsonl:{rest}", partial(_json_lines, rest), live=False)


def _json_lines(rest: str, stop: Stop) -> Iterator[bytes]:
    if rest == "-":
        yield from _lines(sys.stdin.buffer, stop)
        return
    with Path(rest).open("rb") as lines:
        yield from _lines(lines, stop)


def _lines(lines: Any, stop: Stop) -> Iterator[bytes]:
    while not stop():
        line = lines.readline(MAX_BYTES + 2)
        if not line:
            return
        if line.strip():
            yield line


def openpose(rest: str) -> Source:
    """``openpose:DIR@WIDTHxHEIGHT``: a folder that OpenPose wrote with ``--write_json``, in the
    order of its files' names, which do not say how large the image was."""
    folder, _, size = rest.rpartition("@")
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    if match is None or not Path(folder).is_dir():
        raise UsageError(f"openpose:{rest}: a folder and its frames' size are needed, DIR@640x480")
    files = sorted(Path(folder).glob("*_keypoints.json"))
    if not files:
        raise UsageError(f"{folder} has no files *_keypoints.json")
    about = files, (int(match[1]), int(match[2]))
    return Source(f"openpose:{folder}", partial(_openpose, *about), live=False)


def _openpose(
    files: list[Path], size: tuple[int, int], stop: Stop
) -> Iterator[PoseFrame | SourceError]:
    for number, path in enumerate(files):
        if stop():
            return
        try:
            people = tuple(
                Person(_id(one), _openpose_joints(one, size))
                for one in parse_json(path.read_bytes())["people"]
            )
        except (ValueError, KeyError, TypeError) as error:
            yield SourceError(f"{path}: {error!r}")
            continue
        last = path == files[-1]
        yield PoseFrame(path.parent.name, number, number / 30, size, people, end=last)


def _id(person: dict[str, Any]) -> int | None:
    """OpenPose's own tracking, which is off (-1) by default."""
    who = person.get("person_id", [-1])
    number = int(who[0]) if isinstance(who, list) and who else -1
    return number if number >= 0 else None


def _openpose_joints(person: dict[str, Any], size: tuple[int, int]) -> Any:
    flat = np.asarray(person["pose_keypoints_2d"], np.float32).reshape(-1, 3)
    name = {25: "body25", 18: "openpose18"}.get(len(flat))
    if name is None:
        raise ValueError(f"{len(flat)} joints; BODY_25 has 25 and COCO 18")
    return LAYOUTS[name].to_coco(flat, size)


def replay(rest: str) -> Source:
    """``replay:FILE``: the annotations of a file as streams, each under its own name, one after the
    other as fast as they are taken; ``replay:FILE@RATE``: eight at once, in frames/s."""
    path, _, rate = rest.rpartition("@")
    if not path:
        return recorded(f"replay:{rest}", _samples(rest))
    try:
        fps = float(rate)
    except ValueError:
        fps = 0.0
    if not 0 < fps <= 1000:
        raise UsageError(f"replay:{rest}: FILE, or FILE@RATE in frames/s")
    return Source(f"replay:{rest}", partial(_in_time, _samples(path), fps), live=True)


def recorded(name: str, samples: Sequence[Sample]) -> Source:
    """Annotations one after the other, each a stream of its own."""
    return Source(name, partial(_in_turn, samples), live=False)


def _samples(path: str) -> Sequence[Sample]:
    try:
        return open_dataset(path).samples
    except DatasetError as error:
        raise UsageError(f"replay:{path}: {error}") from None


def frames_of(sample: Sample, rate: float = 30.0) -> Iterator[PoseFrame | SourceError]:
    """The frames of an annotation as a source would send them; people are numbered."""
    try:
        poses = sample.poses(ANY_CLASSES)
    except SampleError as error:
        yield SourceError(f"{sample.id}: {error}")
        return
    height, width = poses.img_shape
    kpts = _with_scores(poses)
    notes = tuple(note for note in poses.notes if note != EMPTY)
    for number in range(poses.total_frames):
        last = number == poses.total_frames - 1
        seen = [i for i in range(len(kpts)) if kpts[i, number, :, :2].any()]
        people = tuple(Person(i, kpts[i, number]) for i in seen)
        yield PoseFrame(
            sample.id,
            number,
            number / rate,
            (width, height),
            people,
            rate,
            end=last,
            checked=True,
            notes=poses.notes if last else notes,  # of the whole it can be said at its end
        )


def _with_scores(poses: PoseSequence) -> Any:
    """[P, T, 17, 3], float32."""
    kpts = np.ones((*poses.keypoint.shape[:3], 3), np.float32)
    kpts[..., :2] = np.nan_to_num(poses.keypoint.astype(np.float32))
    if poses.keypoint_score is not None:
        kpts[..., 2] = poses.keypoint_score
    return kpts


def _in_turn(samples: Sequence[Sample], stop: Stop) -> Iterator[PoseFrame | SourceError]:
    for sample in samples:
        for frame in frames_of(sample):
            if stop():
                return
            yield frame


def _in_time(
    samples: Sequence[Sample], rate: float, stop: Stop
) -> Iterator[PoseFrame | SourceError]:
    """Eight streams at once; one that ends is followed by the next annotation's."""
    waiting = iter(samples)
    running: list[Iterator[PoseFrame | SourceError]] = []
    begun, tick = time.monotonic(), 0
    while not stop():
        while len(running) < 8 and (sample := next(waiting, None)) is not None:
            running.append(frames_of(sample, rate))
        if not running:
            return
        while (left := begun + tick / rate - time.monotonic()) > 0 and not stop():
            time.sleep(min(left, _NAP_S))
        tick += 1
        for stream in list(running):
            frame = next(stream, None)
            if frame is None:
                running.remove(stream)
            else:
                yield frame
