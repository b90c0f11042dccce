"""Persons: the videos of a data set as samples of one person each, for ``--per person``.

Comes in: a data set. Goes out: one whose samples are the persons in its videos, and what was
decided. Where the rows of an annotation are persons, a sample is a row; where they are detections,
it is one of `engine.live.tracking`'s tracks, as in the windows of the same video. All poses are
read once to find the persons, and again when it is their turn; none are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import PIXELS, Who
from engine.base.errors import DatasetError
from engine.base.notes import ODD, Note
from engine.base.progress import SampleProgress
from engine.base.recipe import Recipe
from engine.base.records import Cause, PersonFigures
from engine.live.tracking import Tracker
from engine.skeletons.continuity import rows_are_persons, seen_in
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import Sample
from engine.sources.dataset import Dataset
from engine.sources.pose_frames import Person, PoseFrame
from engine.sources.recorded import kpts_of
from engine.sources.sequences import LazySamples, unique_ids

_READ = ("keypoint", "keypoint_score", "img_shape", "total_frames")  # of an annotation

Places = NDArray[np.int32]
"""Where somebody is seen, [n, 2]: frame, and their row in it."""


def persons_of(dataset: Dataset, num_classes: int, recipe: Recipe) -> tuple[Dataset, PersonFigures]:
    """The persons of a data set's videos, checked for a model. A video that cannot be read stays
    as it is, and becomes an error record.

    Raises `DatasetError` where there is no sample left, and `EngineError` where the data set is
    out of reach.
    """
    figures = PersonFigures(least=max(1, recipe.length // 4))
    videos = dataset.samples
    entries: list[_Entry] = []
    with SampleProgress("persons of videos", len(videos)) as progress:
        for video in videos:
            entries += _entries(video, video.read(num_classes, recipe), figures)
            progress.update(figures.videos)
    if not entries:
        raise DatasetError(
            f"{dataset.source}: nobody is seen for {figures.least} frames (or half of the video) "
            f"in any of its {figures.videos} videos; --per group scores them all the same"
        )
    samples = _PersonSamples(videos, entries, lambda video: video.poses(num_classes, recipe))
    return replace(dataset, samples=samples), figures


@dataclass(frozen=True, eq=False)
class _Entry:
    """Somebody in the video with that index, in a row or in places, and what was decided about the
    numbers of its poses. Without: the video itself, which cannot be read."""

    video: int
    name: str
    who: Who = None
    where: int | Places | None = None
    notes: tuple[Note, ...] = ()


def _entries(
    video: Sample, poses: PoseSequence | Cause, figures: PersonFigures
) -> Iterator[_Entry]:
    """Those of a video, in the order of its rows or of their coming; counts them."""
    figures.videos += 1
    if isinstance(poses, Cause):
        yield _Entry(video.index, video.id)
        return
    kpts = kpts_of(poses)
    tracks = rows_are_persons(kpts) if video.tracks is None else video.tracks
    figures.as_rows += tracks
    figures.tracked += not tracks
    least = min(figures.least, (poses.total_frames + 1) // 2)
    before = figures.persons
    notes = tuple(note for note in poses.notes if note not in ODD)  # those are each one's own
    for who, where, frames in _by_row(kpts) if tracks else _by_track(kpts, poses.img_shape):
        if frames < least:
            figures.brief += 1
            continue
        figures.persons += 1
        called = f"person-{who}" if tracks else who
        yield _Entry(video.index, f"{video.id}#{called}", who, where, notes)
    if figures.persons == before:
        figures.empty += 1
        figures.first_empty = figures.first_empty or video.id


def _by_row(kpts: NDArray[np.float32]) -> Iterator[tuple[Who, int, int]]:
    """(who, row, frames in which they are seen) where rows are persons."""
    for row, frames in enumerate(seen_in(kpts).sum(axis=1).tolist()):
        if frames:
            yield row, row, frames


def _by_track(
    kpts: NDArray[np.float32], img_shape: tuple[int, int]
) -> Iterator[tuple[Who, Places, int]]:
    """(who, places, frames in which they are seen) where rows are detections."""
    tracker, (height, width) = Tracker(), img_shape
    found: dict[Who, list[tuple[int, int]]] = {}
    for number, seen in enumerate(seen_in(kpts).T):
        rows = np.flatnonzero(seen).tolist()
        people = tuple(Person(None, kpts[row, number]) for row in rows)
        frame = PoseFrame("", number, 0.0, (width, height), people)
        for row, person in zip(rows, tracker.track(frame).people, strict=True):
            found.setdefault(person.id, []).append((number, row))
    for who, places in found.items():
        yield who, np.array(places, np.int32), len(places)


class _PersonSamples(LazySamples):
    """`poses_of`: reads those of a video; the last one's are kept, since its persons are
    neighbours."""

    def __init__(
        self,
        videos: Sequence[Sample],
        entries: list[_Entry],
        poses_of: Callable[[Sample], PoseSequence],
    ) -> None:
        self._videos, self._entries, self._poses_of = videos, entries, poses_of
        self._ids = list(unique_ids(entry.name for entry in entries))
        self._kept: tuple[int, PoseSequence] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def _sample(self, index: int) -> Sample:
        entry, name = self._entries[index], self._ids[index]
        if entry.where is None:
            return replace(self._videos[entry.video], index=index, id=name)
        annotation = _PersonAnnotation(name, partial(self._read, entry.video, entry.where))
        # whose units have been found out
        return Sample(index, name, annotation, PIXELS, who=entry.who, notes=entry.notes)

    def _read(self, video: int, where: int | Places) -> dict[str, Any]:
        """What the annotation of somebody has. Raises `SampleError`."""
        if self._kept is None or self._kept[0] != video:
            self._kept = None
            self._kept = video, self._poses_of(self._videos[video])
        poses = self._kept[1]
        score = poses.keypoint_score
        return {
            "keypoint": _of(where, poses.keypoint),
            "keypoint_score": None if score is None else _of(where, score),
            "img_shape": poses.img_shape,
            "total_frames": poses.total_frames,
        }


def _of(where: int | Places, values: NDArray[Any]) -> NDArray[Any]:
    """Somebody's values [1, T, …] of everybody's [P, T, …], zeros where they are not seen."""
    if isinstance(where, int):
        return values[where : where + 1]
    frames, rows = where.T
    found = np.zeros((1, *values.shape[1:]), values.dtype)
    found[0, frames] = values[rows, frames]
    return found


class _PersonAnnotation(Mapping[str, Any]):
    """Somebody's annotation, which reads itself. It has no label: a label is a video's, and does
    not say of whom it is true."""

    def __init__(self, name: str, read: Callable[[], dict[str, Any]]) -> None:
        self._name, self._read = name, read

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return self._read()

    def __getitem__(self, key: str) -> Any:
        if key == "frame_dir":
            return self._name
        if key not in _READ:
            raise KeyError(key)
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        yield from ("frame_dir", *_READ)

    def __len__(self) -> int:
        return 1 + len(_READ)
