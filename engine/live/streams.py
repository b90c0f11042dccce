"""Streams: many live sources at once, their windows in fair turns, and what is too much left out.

Comes in: pose frames, of any stream in any order. Goes out: windows, the streams taking turns.
Everything is bounded: streams, and windows that wait in each; the oldest of a stream's windows
makes room for its newest. Pure, and the clock is an argument.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from engine.live.fair_queue import FairQueue
from engine.live.freshness import Freshness
from engine.live.windows import Grid, Window, WindowFigures, Windows
from engine.sources.pose_frames import PoseFrame


@dataclass(frozen=True)
class StreamLimits:
    """`streams` at once; `waiting` windows of each, and `total` of all; `idle` seconds without a
    frame after which a stream is over."""

    streams: int = 256
    waiting: int = 8
    total: int = 256
    idle: float = 10.0


@dataclass
class StreamFigures:
    """What became of everything: of streams, frames and windows."""

    streams: int = 0  # seen
    refused: int = 0  # frames of streams beyond the limit
    dropped: int = 0  # windows that had to make room, were too old, or late
    tracked: int = 0  # streams in which people had no ids of their own
    unseen: int = 0  # streams with people, none of them long enough for a window
    first_unseen: str | None = None
    ended: WindowFigures = field(default_factory=WindowFigures)  # of streams that are over


@dataclass
class _Stream:
    windows: Windows
    tracker: Callable[[PoseFrame], PoseFrame]
    heard: float
    live: bool
    over: bool = False
    tracked: bool = False
    dropped: int = 0


class Streams:
    """`grid_of`: the grid of a stream, by its first frame. `tracker_of`: makes what gives people
    ids where they have none, for one stream. `steady`: windows are drawn in crops that stay
    where they are. `freshness`: bounds the age of windows of live streams, where there are any."""

    def __init__(
        self,
        grid_of: Callable[[PoseFrame], Grid],
        tracker_of: Callable[[], Callable[[PoseFrame], PoseFrame]],
        limits: StreamLimits,
        *,
        steady: bool = False,
        freshness: Freshness | None = None,
    ) -> None:
        self.freshness = freshness
        self._number = partial(next, itertools.count()) if steady else None
        self._grid_of, self._tracker_of, self._limits = grid_of, tracker_of, limits
        self._streams: dict[str, _Stream] = {}
        self._queue = FairQueue[Window](each=limits.waiting, total=limits.total)
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
            windows = Windows(frame.stream, self._grid_of(frame), self._number)
            stream = _Stream(windows, self._tracker_of(), arrived, live)
            self._streams[frame.stream] = stream
            self.figures.streams += 1
        stream.heard = arrived if now is None else now
        tracked = stream.tracker(frame)
        if tracked is not frame and not stream.tracked:
            stream.tracked = True
            self.figures.tracked += 1
        for watch in self.watchers:
            watch(tracked)
        self._put(frame.stream, stream, stream.windows.add(tracked), arrived, stream.heard)
        if frame.end:
            self._end(frame.stream, stream, arrived)

    def sweep(self, now: float, *, recorded: bool = False) -> None:
        """End streams that have been silent for too long. A recorded stream is idle while nobody
        reads it: `recorded` says that nothing of one waits, so that its silence counts."""
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

    @property
    def full(self) -> bool:
        """Whether nothing more may be under way."""
        return self.freshness is not None and self.freshness.full

    def next(self, now: float = 0.0) -> tuple[Window, float] | None:
        """The next window of the stream whose turn it is, and when its last frame arrived. Those
        that are too old make room on the way."""
        if self.full:
            return None
        while (name := self._queue.turn(self._free)) is not None:
            if not self._make_room(name, now):
                continue
            found = self._queue.take(name)
            assert found is not None
            self._forget_if_done(name)
            if self.freshness is not None:
                self.freshness.asked(name, now)
            return found[1:]
        return None

    @property
    def heard(self) -> dict[str, float]:
        """When streams that are not over had their last frame."""
        return {name: stream.heard for name, stream in self._streams.items() if not stream.over}

    @property
    def waiting(self) -> dict[str, int]:
        """Windows that wait, by stream."""
        return {name: self._queue.count(name) for name in self._streams}

    @property
    def recorded(self) -> bool:
        """Whether windows wait of streams that are not live."""
        return any(self._queue.count(n) for n, stream in self._streams.items() if not stream.live)

    @property
    def dropped(self) -> dict[str, int]:
        """Windows that made room for newer ones, by stream that is not over."""
        return {name: stream.dropped for name, stream in self._streams.items() if stream.dropped}

    def is_past(self, name: str, t: float) -> bool:
        """Whether every window of a stream that is still to be taken begins after `t`."""
        if (stream := self._streams.get(name)) is None:
            return True
        if stream.over or self._queue.count(name):
            return False
        start = stream.windows.start
        return start is not None and start > t

    def totals(self) -> WindowFigures:
        """Of all streams, those that are over too."""
        total = WindowFigures(**vars(self.figures.ended))
        for stream in self._streams.values():
            if not stream.over:
                _add(total, stream.windows.figures)
        return total

    def _put(
        self, name: str, stream: _Stream, windows: list[Window], arrived: float, now: float
    ) -> None:
        each = 0
        if self.freshness is not None and windows:
            self.freshness.made(name, len(windows), now)
            each = len(windows)  # one of everybody
        crowded = self._crowded(name, stream, each, now)
        for window in windows:
            if crowded and self._renew(name, window, arrived, now):
                continue
            loser = self._queue.put(name, window, arrived, bounded=stream.live, each=each)
            if loser is not None:
                self._count_dropped(loser, now)

    def _crowded(self, name: str, stream: _Stream, more: int, now: float) -> bool:
        """Whether windows of a stream are to take the places of those of the same people."""
        if self.freshness is None or not stream.live or not (count := self._queue.count(name)):
            return False
        late = self._queue.line(name)[0][1] < now - self.freshness.patience / 2
        return late or count + more > self._limits.waiting

    def _renew(self, name: str, window: Window, arrived: float, now: float) -> int:
        """A window takes the place of all others of the same person, if there are any."""
        lost = self._queue.renew(name, lambda other: other.who == window.who, window, arrived)
        for _ in range(lost):
            self._count_dropped(name, now)
        return lost

    def _free(self, name: str) -> bool:
        """Whether a stream may have one more window under way."""
        if self.freshness is None or not self._streams[name].live:
            return True
        return not self.freshness.crowds(name)

    def _make_room(self, name: str, now: float) -> bool:
        """Of a stream whose turn it is, let the newest window of whoever is next run in the place
        of one that is late, and leave out what is too old. Whether anything is left."""
        if self.freshness is None or not self._streams[name].live:
            return True
        line, patience = self._queue.line(name), self.freshness.patience
        first, since = line[0]
        if now - since > patience / 2:
            same = [(other, at) for other, at in line if other.who == first.who]
            self._renew(name, *same[-1], now)
        while self._queue.count(name) and now - self._queue.line(name)[0][1] > patience:
            self._queue.leave_out(name)
            self._count_dropped(name, now)
        return self._queue.count(name) > 0

    def _count_dropped(self, name: str, now: float) -> None:
        self._streams[name].dropped += 1
        self.figures.dropped += 1
        if self.freshness is not None:
            self.freshness.left_out(name, now)
        self._forget_if_done(name)

    def _end(self, name: str, stream: _Stream, now: float) -> None:
        self._put(name, stream, stream.windows.end(), now, now)
        stream.over = True
        figures = stream.windows.figures
        if not figures.windows and figures.people >= stream.windows.grid.least:
            self.figures.unseen += 1
            self.figures.first_unseen = self.figures.first_unseen or name
        _add(self.figures.ended, figures)
        self._forget_if_done(name)

    def _forget_if_done(self, name: str) -> None:
        if self._streams[name].over and not self._queue.count(name):
            del self._streams[name]
            self._queue.forget(name)
            if self.freshness is not None:
                self.freshness.forget(name)


def _add(total: WindowFigures, more: WindowFigures) -> None:
    for name, value in vars(more).items():
        setattr(total, name, getattr(total, name) + value)
