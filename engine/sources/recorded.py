"""Recorded sources: JSON lines, pose files of other programs, annotations at their own speed.

``jsonl:FILE`` and ``jsonl:-`` (standard input): a pose frame a line. ``poses:PATH``: a file or a
folder that another program wrote. ``replay:FILE@RATE``: every annotation as a stream, in frames/s;
without a rate as fast as it can be scored. Times that a file does not have are left to whoever
knows ``--fps``.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import DatasetError, SampleError, SourceError, UsageError
from engine.base.notes import EMPTY
from engine.skeletons.continuity import rows_are_persons
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import ANY_CLASSES, Sample
from engine.sources.dataset import open_dataset
from engine.sources.formats.poses import Poses, Reading, parse_size
from engine.sources.formats.recordings import read_recordings
from engine.sources.pose_frames import MAX_BYTES, UNTIMED, Person, PoseFrame
from engine.sources.source import Source, Stop

log = logging.getLogger("engine")

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
        rest = line
        while len(rest) > MAX_BYTES + 1 and not rest.endswith(b"\n") and not stop():
            rest = lines.readline(MAX_BYTES + 2)  # of a line that is too long, and refused as one
        if line.strip():
            yield line


def poses(rest: str, reading: Reading, scheme: str = "poses") -> Source:
    """``poses:PATH``, ``poses:PATH@WIDTHxHEIGHT``: a file or a folder of another program's
    (`engine.sources.formats`) or annotations, every video in it a stream, one after the other."""
    path, _, size = rest.rpartition("@")
    if path and not Path(rest).exists():
        reading = replace(reading, size=parse_size(size))
    else:
        path = rest
    if not Path(path).exists():
        raise UsageError(f"{scheme}:{rest}: no such file or folder")
    found = read_recordings(Path(path), reading)
    if found is None or all(one.recording.rows for one in found.poses):
        # annotations, and arrays of that form, are looked at as a whole
        return recorded(f"{scheme}:{path}", _samples(scheme, path, reading))
    return Source(f"{scheme}:{path}", partial(_messages, found.poses), live=False)


def openpose(rest: str, reading: Reading) -> Source:
    """``openpose:DIR@WIDTHxHEIGHT``: the same, of a folder that OpenPose wrote."""
    return poses(rest, reading, "openpose")


def _messages(read: Sequence[Poses], stop: Stop) -> Iterator[Mapping[str, Any] | SourceError]:
    for one in read:
        for message in one.messages():
            if stop():
                return
            yield message


def replay(rest: str, reading: Reading) -> Source:
    """``replay:FILE``: the annotations of a file as streams, each under its own name, one after the
    other as fast as they are taken; ``replay:FILE@RATE``: eight at once, in frames/s."""
    path, _, rate = rest.rpartition("@")
    if not path:
        return recorded(f"replay:{rest}", _samples("replay", rest, reading))
    try:
        fps = float(rate)
    except ValueError:
        fps = 0.0
    if not 0 < fps <= 1000:
        raise UsageError(f"replay:{rest}: FILE, or FILE@RATE in frames/s")
    return Source(
        f"replay:{rest}", partial(_in_time, _samples("replay", path, reading), fps), live=True
    )


def recorded(name: str, samples: Sequence[Sample]) -> Source:
    """Annotations one after the other, each a stream of its own."""
    return Source(name, partial(_in_turn, samples), live=False)


def _samples(scheme: str, path: str, reading: Reading) -> Sequence[Sample]:
    try:
        data = open_dataset(path, reading=reading)
    except DatasetError as error:
        raise UsageError(f"{scheme}:{path}: {error}") from None
    if data.lacks:
        log.warning("%s:%s, split %s: %s", scheme, path, data.split, data.lacks)
    return data.samples


def frames_of(sample: Sample, rate: float | None = None) -> Iterator[PoseFrame | SourceError]:
    """The frames of an annotation as a source would send them. Where its rows are persons, they are
    numbered so; where they are detections, a tracker has to say who is who. Without a `rate` in
    frames/s they have no times."""
    try:
        poses, tracks = sample.poses(ANY_CLASSES), sample.tracks
    except SampleError as error:
        yield SourceError(f"{sample.id}: {error}")
        return
    height, width = poses.img_shape
    kpts = kpts_of(poses)
    if tracks is None:
        tracks = rows_are_persons(kpts)
    notes = tuple(note for note in poses.notes if note != EMPTY)
    for number in range(poses.total_frames):
        last = number == poses.total_frames - 1
        seen = [i for i in range(len(kpts)) if kpts[i, number, :, :2].any()]
        people = tuple(Person(i if tracks else None, kpts[i, number]) for i in seen)
        yield PoseFrame(
            sample.id,
            number,
            UNTIMED if rate is None else number / rate,
            (width, height),
            people,
            rate,
            end=last,
            checked=True,
            notes=poses.notes if last else notes,  # of the whole it can be said at its end
        )


def kpts_of(poses: PoseSequence) -> NDArray[np.float32]:
    """A sequence in a source's terms: float32 [P, total_frames, 17, 3], x and y in pixels and
    score."""
    used = poses.keypoint[:, : poses.total_frames]
    kpts = np.ones((*used.shape[:3], 3), np.float32)
    kpts[..., :2] = np.nan_to_num(used.astype(np.float32))
    if poses.keypoint_score is not None:
        kpts[..., 2] = poses.keypoint_score[:, : poses.total_frames]
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
