"""The inbox of a source: frames that wait to be looked at, its streams in fair turns.

Comes in: frames, from the source's thread. Goes out: the same, to the one thread that looks at
them. Bounded; a stream that floods loses its own oldest frames and no other's.
"""

from __future__ import annotations

import threading
from collections import deque

from engine.sources.pose_frames import PoseFrame

Item = tuple[PoseFrame, float]  # a frame, and when it arrived


class Inbox:
    """At most `total` frames, `each` of a stream, of at most `streams` streams. Of a source that
    is not `live` nothing is lost, and frames stay in their order."""

    def __init__(
        self, *, live: bool, total: int = 4000, each: int = 200, streams: int = 256
    ) -> None:
        self._live, self._total, self._each, self._streams = live, total, each, streams
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[Item]] = {}  # by stream, none of them empty
        self._turns: deque[str] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, item: Item, timeout: float) -> bool:
        """Add a frame. False where one was lost by it: the oldest of its stream, or of the stream
        that has most, or itself, where there are too many streams. Of a source that is not live:
        False where there was no room in time."""
        name = item[0].stream
        with self._changed:
            if not self._live:
                if not self._changed.wait_for(lambda: self._count < self._total, timeout):
                    return False
                self._add("", item)
                return True
            if name not in self._waiting and len(self._waiting) >= self._streams:
                return False
            self._add(name, item)
            if len(self._waiting[name]) > self._each:
                self._lose(name)
                return False
            if self._count > self._total:
                self._lose(max(self._waiting, key=lambda name: len(self._waiting[name])))
                return False
            return True

    def take(self) -> Item | None:
        """The oldest frame of the stream whose turn it is; None where there is none."""
        with self._changed:
            if not self._turns:
                return None
            name = self._turns.popleft()
            item = self._waiting[name].popleft()
            self._count -= 1
            if self._waiting[name]:
                self._turns.append(name)
            else:
                del self._waiting[name]
            self._changed.notify()
            return item

    def _add(self, name: str, item: Item) -> None:
        if name not in self._waiting:
            self._waiting[name] = deque()
            self._turns.append(name)
        self._waiting[name].append(item)
        self._count += 1

    def _lose(self, name: str) -> None:
        """Its oldest. It has more than one: the limit of all streams is above their number."""
        self._waiting[name].popleft()
        self._count -= 1
