"""Streams: many live sources at once, their windows in fair turns, and what is too much left out.

Comes in: pose frames, of any stream in any order. Goes out: windows, the streams taking turns.
Everything is bounded: streams, and windows that wait in each; the oldest of a stream's windows
makes room for its newest. Pure, and the clock is an argument.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from engine.live.windows import Grid, Window, WindowFigures, Windows
from engine.sources.pose_frames import PoseFrame


@dataclass(frozen=True)
class StreamLimits:
    """`streams` at once; `waiting` windows of each, and `total` of all; `idle` seconds without a
    frame after which a stream is over."""

    streams: int = 256
    waiting: int = 8
    total: int = 64
    idle: float = 10.0


@dataclass
class StreamFigures:
    """What became of everything: of streams, frames and windows."""

    streams: int = 0  # seen
    refused: int = 0  # frames of streams beyond the limit
    dropped: int = 0  # windows that had to make room
    ended: WindowFigures = field(default_factory=WindowFigures)  # of streams that are over


@dataclass
class _Stream:
    windows: Windows
    heard: float
    live: bool
    waiting: deque[tuple[Window, float]] = field(default_factory=deque)
    over: bool = False
    dropped: int = 0


class Streams:
    """`grid_of`: the grid of a stream, by its first frame. `track`: gives a stream's people ids
    where they have none; made anew for each stream. `steady`: windows are drawn in crops that stay
    where they are."""

    def __init__(
        self,
        grid_of: Callable[[PoseFrame], Grid],
        tracker_of: Callable[[], Callable[[PoseFrame], PoseFrame]],
        limits: StreamLimits,
        *,
        steady: bool = False,
    ) -> None:
        self._number = partial(next, itertools.count()) if steady else None
        self._grid_of, self._tracker_of, self._limits = grid_of, tracker_of, limits
        self._streams: dict[str, _Stream] = {}
        self._trackers: dict[str, Callable[[PoseFrame], PoseFrame]] = {}
        self._turns: deque[str] = deque()  # streams with windows that wait
        self._waiting = 0  # windows of live streams
        self.figures = StreamFigures()
        self.watchers: list[Callable[[PoseFrame], None]] = []  # told every frame, with ids

    def add(
        self, frame: PoseFrame, arrived: float, *, live: bool = True, now: float | None = None
    ) -> None:
        """Take a frame that arrived then, and is looked at `now`. Of a stream that is not live
        nothing is left out: its source is not read on before its windows are taken."""
        stream = self._streams.get(frame.stream)
        if stream is None or stream.over:
            if len(self._streams) >= self._limits.streams and stream is None:
                self.figures.refused += 1
                return
            waiting = stream.waiting if stream is not None else deque()
            windows = Windows(frame.stream, self._grid_of(frame), self._number)
            stream = _Stream(windows, arrived, live, waiting)
            self._streams[frame.stream] = stream
            self._trackers[frame.stream] = self._tracker_of()
            self.figures.streams += 1
        stream.heard = arrived if now is None else now
        tracked = self._trackers[frame.stream](frame)
        for watch in self.watchers:
            watch(tracked)
        self._queue(frame.stream, stream, stream.windows.add(tracked), arrived)
        if frame.end:
            self._end(frame.stream, stream, arrived)

    def sweep(self, now: float, *, recorded: bool = False) -> None:
        """End streams that have been silent for too long. Those that are not live are silent while
        they are not read, so theirs is told only where nothing of them waits to be."""
        for name, stream in list(self._streams.items()):
            if stream.over or not (stream.live or recorded):
                continue
            if now - stream.heard > self._limits.idle:
                self._end(name, stream, now)

    def end(self, now: float) -> None:
        """End every stream."""
        for name, stream in list(self._streams.items()):
            if not stream.over:
                self._end(name, stream, now)

    def next(self) -> tuple[Window, float] | None:
        """The next window of the stream whose turn it is, and when its last frame arrived."""
        if not self._turns:
            return None
        name = self._turns.popleft()
        stream = self._streams[name]
        found = stream.waiting.popleft()
        self._waiting -= stream.live
        if stream.waiting:
            self._turns.append(name)
        elif stream.over:
            self._forget(name)
        return found

    @property
    def heard(self) -> dict[str, float]:
        """When streams that are not over had their last frame."""
        return {name: stream.heard for name, stream in self._streams.items() if not stream.over}

    @property
    def waiting(self) -> dict[str, int]:
        """Windows that wait, by stream."""
        return {name: len(stream.waiting) for name, stream in self._streams.items()}

    @property
    def recorded(self) -> bool:
        """Whether windows wait of streams that are not live."""
        return any(stream.waiting for stream in self._streams.values() if not stream.live)

    @property
    def dropped(self) -> dict[str, int]:
        """Windows that made room for newer ones, by stream that is not over."""
        return {name: stream.dropped for name, stream in self._streams.items() if stream.dropped}

    def totals(self) -> WindowFigures:
        """Of all streams, those that are over too."""
        total = WindowFigures(**vars(self.figures.ended))
        for stream in self._streams.values():
            if not stream.over:
                _add(total, stream.windows.figures)
        return total

    def _queue(self, name: str, stream: _Stream, windows: list[Window], now: float) -> None:
        for window in windows:
            if not stream.waiting:
                self._turns.append(name)
            stream.waiting.append((window, now))
            if not stream.live:
                continue
            self._waiting += 1
            if len(stream.waiting) > self._limits.waiting:
                self._drop(stream)
            elif self._waiting > self._limits.total:  # of the stream that has most, the oldest
                self._drop(max(filter(_is_live, self._streams.values()), key=_crowding))

    def _drop(self, stream: _Stream) -> None:
        stream.waiting.popleft()
        stream.dropped += 1
        self._waiting -= 1
        self.figures.dropped += 1
        if not stream.waiting:
            name = stream.windows.stream
            self._turns.remove(name)
            if stream.over:
                self._forget(name)

    def _end(self, name: str, stream: _Stream, now: float) -> None:
        self._queue(name, stream, stream.windows.end(), now)
        stream.over = True
        _add(self.figures.ended, stream.windows.figures)
        if not stream.waiting:
            self._forget(name)

    def _forget(self, name: str) -> None:
        del self._streams[name]
        del self._trackers[name]


def _is_live(stream: _Stream) -> bool:
    return stream.live


def _crowding(stream: _Stream) -> tuple[int, float]:
    oldest = -stream.waiting[0][1] if stream.waiting else 0.0
    return len(stream.waiting), oldest


def _add(total: WindowFigures, more: WindowFigures) -> None:
    for name, value in vars(more).items():
        setattr(total, name, getattr(total, name) + value)
