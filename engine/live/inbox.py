"""The inbox of a source: frames that wait to be looked at, its streams in fair turns.

Comes in: frames, from the source's thread. Goes out: the same, to the one thread that looks at
them. Bounded, and a stream that sends far more than it says is slowed down.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from engine.live.fair_queue import FairQueue
from engine.sources.pose_frames import PoseFrame

Item = tuple[PoseFrame, float]  # a frame, and when it arrived

_TIMES = 4.0  # as many frames as a stream says
_MOST = 1000.0  # frames/s, whatever it says
_STREAMS = 1000  # that are remembered


class Inbox:
    """At most `total` frames, `each` of a stream, of at most `streams` streams. Of a source that
    is not `live` nothing is lost, and frames stay in their order."""

    def __init__(
        self, *, live: bool, total: int = 4000, each: int = 200, streams: int = 256
    ) -> None:
        self._live, self._total, self._streams = live, total, streams
        self._changed = threading.Condition()
        self._queue = FairQueue[PoseFrame](each=each, total=total)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, item: Item, timeout: float) -> bool:
        """Add a frame. False where one was lost by it: the oldest of its stream, or of the stream
        that has most, or itself, where there are too many streams. Of a source that is not live:
        False where there was no room in time."""
        frame, arrived = item
        with self._changed:
            if not self._live:
                if not self._changed.wait_for(lambda: self._count < self._total, timeout):
                    return False
                self._queue.put("", frame, arrived, bounded=False)
                self._count += 1
                return True
            if not self._queue.count(frame.stream) and self._queue.names >= self._streams:
                return False
            if self._queue.put(frame.stream, frame, arrived) is not None:
                return False
            self._count += 1
            return True

    def take(self) -> Item | None:
        """The oldest frame of the stream whose turn it is; None where there is none."""
        with self._changed:
            if (found := self._queue.take()) is None:
                return None
            self._count -= 1
            self._changed.notify()
            return found[1:]


class RateLimiter:
    """Streams that send far more frames than they say: four times as many are let in, over a
    second. `usual`: frames/s of a stream that does not say. Pure, and the clock is an argument."""

    def __init__(self, usual: float) -> None:
        self._usual = usual
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # frames, and since when

    def admits(self, stream: str, rate: float | None, now: float) -> bool:
        """Whether there is time for one more frame of a stream of `rate` frames/s."""
        allowed = min(_MOST, _TIMES * (rate or self._usual))
        left, since = self._left.pop(stream, (allowed, now))
        left = min(allowed, left + allowed * (now - since))
        self._left[stream] = (left - 1 if left >= 1 else left), now
        if len(self._left) > _STREAMS:
            self._left.popitem(last=False)
        return left >= 1
