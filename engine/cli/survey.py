"""A survey: what the samples of a data set have in common, and what looks odd in them.

Comes in: samples, one after the other. Goes out: (topic, what was found). Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.base.notes import NoteCounts, spelt
from engine.base.records import Cause
from engine.skeletons.continuity import rows_are_persons
from engine.skeletons.joints import COCO_NAMES
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import ANY_CLASSES, Sample
from engine.sources.recorded import kpts_of

_NAMED = 5  # labels and causes that are listed


@dataclass
class _Range:
    """The least and the most of a kind of number."""

    least: float = np.inf
    most: float = -np.inf

    def add(self, values: NDArray[np.float64]) -> None:
        if values.size:
            self.least = min(self.least, float(values.min()))
            self.most = max(self.most, float(values.max()))

    def __str__(self) -> str:
        return "none" if self.least > self.most else f"{self.least:.4g} to {self.most:.4g}"


@dataclass
class Survey:
    """`example`: poses and number of the frame with the most joints in the first video that has
    any, to be drawn."""

    samples: int = 0
    persons: _Range = field(default_factory=_Range)
    frames: _Range = field(default_factory=_Range)
    x: _Range = field(default_factory=_Range)
    y: _Range = field(default_factory=_Range)
    scores: _Range = field(default_factory=_Range)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    labels: Counter[int | None] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    tracks: Counter[str] = field(default_factory=Counter)
    notes: NoteCounts = field(default_factory=NoteCounts)
    causes: Counter[str] = field(default_factory=Counter)
    odd: dict[str, list[str]] = field(default_factory=dict)
    scored: bool = False
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(COCO_NAMES), np.int64))
    example: tuple[str, PoseSequence, int] | None = None

    def add(self, sample: Sample) -> None:
        """The next sample."""
        self.samples += 1
        self.labels[sample.label] += 1
        poses = sample.read(ANY_CLASSES)
        if isinstance(poses, Cause):
            self.causes[str(poses)] += 1
            return
        keypoint = np.nan_to_num(poses.keypoint[:, : poses.total_frames].astype(np.float64))
        there = np.asarray(keypoint.any(axis=-1))
        height, width = poses.img_shape
        self.sizes[width, height] += 1
        self.kinds[str(poses.keypoint.dtype)] += 1
        self.persons.add(np.array([len(keypoint)]))
        self.frames.add(np.array([poses.total_frames]))
        self.x.add(keypoint[..., 0][there])
        self.y.add(keypoint[..., 1][there])
        if poses.keypoint_score is not None:
            self.scored = True
            score = poses.keypoint_score[:, : poses.total_frames].astype(np.float64)
            self.scores.add(score[there])
            there = there & (score > 0)
        self.tracks[_rows(sample.tracks, poses)] += 1
        self.notes.add(poses.notes, sample.id)
        if len(keypoint) > poses.total_frames and sample.tracks is None:
            what = "more persons than frames: are the axes [frames, persons, …]?"
            self.odd.setdefault(what, []).append(sample.id)
        joints = there.sum(axis=(0, 1))
        self.seen += joints
        for what in _oddities(keypoint, there, poses.img_shape):
            self.odd.setdefault(what, []).append(sample.id)
        if self.example is None and there.any():
            self.example = sample.id, poses, int(there.sum(axis=(0, 2)).argmax())

    def found(self) -> Iterator[tuple[str, str]]:
        """(topic, what of it), in the order in which one wants to know."""
        if labels := {label: n for label, n in self.labels.items() if label is not None}:
            common = ", ".join(str(label) for label in sorted(labels)[:_NAMED])
            more = f", … ({len(labels)} classes)" if len(labels) > _NAMED else ""
            yield "labels", f"{common}{more}; {self.labels[None]} without"
        if self.kinds:
            yield from self._skeletons()
        for said in spelt(self.notes.to_json(self.samples), "video"):
            yield "noted", said
        for cause, count in self.causes.most_common(_NAMED):
            yield "refused", f"{count}: {cause}"
        if (rest := len(self.causes) - _NAMED) > 0:
            yield "refused", f"… and {rest} more kinds (--dataset FILE --output OUT lists all)"
        for what, names in self.odd.items():
            yield "odd", f"{what}: {len(names)} of {self.samples} videos, {names[0]} the first"

    def _skeletons(self) -> Iterator[tuple[str, str]]:
        """Of what could be read."""
        yield "persons", f"{self.persons} a video"
        yield "frames", f"{self.frames} a video"
        yield "rows", ", ".join(f"{what} ({n})" for what, n in self.tracks.items())
        listed = ", ".join(f"{w}x{h} ({n})" for (w, h), n in self.sizes.most_common(3))
        more = f", … ({len(self.sizes)} sizes)" if len(self.sizes) > 3 else ""
        yield "picture", f"{listed}{more}"
        yield "x", str(self.x)
        yield "y", str(self.y)
        yield "scores", str(self.scores) if self.scored else "none; each joint counts fully"
        absent = [name for name, n in zip(COCO_NAMES, self.seen, strict=True) if not n]
        if absent and self.seen.any():
            yield "absent joints", ", ".join(absent)
        yield "numbers", ", ".join(self.kinds)


def _rows(tracks: bool | None, poses: PoseSequence) -> str:
    """What the rows of an annotation are."""
    if len(poses.keypoint) <= 1:
        return "one person"
    if tracks is None:
        kept = rows_are_persons(kpts_of(poses))
        return "persons, who keep to theirs" if kept else "detections: people change rows"
    return "persons, as the file says" if tracks else "detections, as the file says"


def _oddities(
    keypoint: NDArray[np.float64], there: NDArray[np.bool_], img_shape: tuple[int, int]
) -> Iterator[str]:
    """What people would want to know of a video before they believe its scores."""
    height, width = img_shape
    if not there.any():
        return
    points = keypoint[there]
    most = points.max(axis=0)
    if (most < [width / 4, height / 4]).all():
        yield f"everybody is in the upper left sixteenth of {width}x{height}: another size?"
    empty = 1 - there.any(axis=(0, 2)).mean()
    if empty > 0.5:
        yield "nobody is in more than half of the frames"
