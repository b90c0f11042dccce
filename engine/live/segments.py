"""Segments: who did what from when to when, out of labels.

Comes in: the labels of windows, of each person (or group) of each stream in their order, as
`engine.live.labels` has them: smoothed, with their hysteresis. Goes out: `Segment`, when it has
ended. Pure: no clock but the sources'.

A label stands for the time since the one before it, the first of somebody for its whole window. So
do labels behind a gap that no window spans. A segment is the time in which somebody's label stays.
Segments of one who do not overlap, and together they are the time that has a label. A stream whose
clock steps back has begun anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.base.choices import Who
from engine.live.labels import Key, Label


@dataclass(frozen=True)
class Segment:
    """`start` and `end`: seconds on the source's clock. `score`: of the class `label`, the mean
    over the segment's windows, each by itself (not smoothed)."""

    stream: str
    who: Who
    label: int
    name: str
    start: float
    end: float
    score: float


@dataclass
class _Running:
    """What somebody is doing."""

    label: int
    name: str
    start: float
    total: float = 0.0  # of the scores
    count: int = 0


@dataclass
class _Track:
    until: float  # the time of the last label
    running: _Running | None = None


class Segments:
    """The segments of everybody that go on."""

    def __init__(self) -> None:
        self._tracks: dict[Key, _Track] = {}

    def add(self, label: Label) -> list[Segment]:
        """Take a label; the segment that ends by it, if one does."""
        key, start, found = (label.stream, label.who), label.start, []
        track = self._tracks.get(key)
        if track is not None:
            follows = label.start <= track.until <= label.t
            start = max(track.until, label.start) if track.until <= label.t else label.start
            if track.running is not None and not (follows and track.running.label == label.label):
                found.append(_ended(key, track))
        else:
            track = self._tracks[key] = _Track(label.t)
        if label.label is None:
            track.running = None
        else:
            assert label.name is not None
            assert label.scores is not None
            if track.running is None:
                track.running = _Running(label.label, label.name, start)
            track.running.total += float(label.scores[label.label])
            track.running.count += 1
        track.until = label.t
        return found

    def settle(self, settled: Callable[[str, Who, float], bool]) -> list[Segment]:
        """The segments that go on no more: `settled` says of (stream, who, time of the last label)
        that no window is to come that begins before it."""
        gone = [key for key, track in self._tracks.items() if settled(*key, track.until)]
        return self._end(gone)

    def end(self) -> list[Segment]:
        """There are no more labels; the segments that went on."""
        return self._end(list(self._tracks))

    def _end(self, keys: list[Key]) -> list[Segment]:
        tracks = [(key, self._tracks.pop(key)) for key in keys]
        return [_ended(key, track) for key, track in tracks if track.running is not None]


def _ended(key: Key, track: _Track) -> Segment:
    """What somebody was doing until now, and does no more."""
    running, track.running = track.running, None
    assert running is not None
    mean = running.total / running.count
    return Segment(*key, running.label, running.name, running.start, track.until, mean)
