"""Labels: the records of windows in their order again, smoothed into what somebody does.

Comes in: windows as they are asked about, and their records as they come, in any order. Goes out:
`Label`, for each person (or group) of each stream in the order of its windows. Pure, and the clock
is an argument.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import Who
from engine.base.notes import Note
from engine.base.records import Failure, Prediction, Record
from engine.live.windows import Window

_TRACKS = 10_000  # persons that are remembered; the ones silent for longest are forgotten
Key = tuple[str, Who]


@dataclass(frozen=True, eq=False)
class Label:
    """What somebody does, as of a window.

    `who`: the person's id, None for a group. `t`: seconds on the source's clock, of the window's
    last frame, and `start` of its first; `first` and `last`: numbers of its frames. `label` and
    `name`: the class that the smoothed scores stand for, None for no action; `score`: theirs, of
    the best class. `scores`: of this window alone, float32 [classes]. `latency_ms`: since its last
    frame arrived; `ms`: by stage, as of a `Prediction`. `error`: why this window has no scores.
    `notes`: what was decided about its poses.
    """

    stream: str
    who: Who
    t: float
    first: int
    last: int
    label: int | None
    name: str | None
    score: float
    scores: NDArray[np.float32] | None
    latency_ms: float
    start: float = field(kw_only=True)
    ms: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    notes: tuple[Note, ...] = ()


class Smoother:
    """One label at a time out of the scores of somebody's windows, in order.

    The mean of the last `windows` scores names the label. It changes only when another class leads
    by `margin`, and is none below `threshold`.
    """

    def __init__(self, windows: int = 3, threshold: float = 0.3, margin: float = 0.05) -> None:
        self._last: deque[NDArray[np.float32]] = deque(maxlen=windows)
        self._threshold, self._margin = threshold, margin
        self.label: int | None = None

    def add(self, scores: NDArray[np.float32]) -> tuple[int | None, NDArray[np.float32]]:
        """Take the scores [classes] of a window; the label, and the mean scores."""
        self._last.append(scores)
        mean: NDArray[np.float32] = np.stack(self._last).mean(axis=0, dtype=np.float64)
        mean = mean.astype(np.float32)
        best = int(mean.argmax())
        if self.label is None or best != self.label:
            held = -1.0 if self.label is None else float(mean[self.label])
            if mean[best] >= held + self._margin or held < self._threshold:
                self.label = best
        if self.label is not None and mean[self.label] < self._threshold:
            self.label = None
        return self.label, mean


@dataclass
class _LabelState:
    smoother: Smoother
    order: deque[int] = field(default_factory=deque)  # windows without a label yet


class Labels:
    """`classes`: names. `smoother_of`: makes the smoother of a person or group."""

    def __init__(self, classes: Sequence[str], smoother_of: Callable[[], Smoother]) -> None:
        self._classes, self._smoother_of = classes, smoother_of
        self._asked: dict[int, tuple[Window, float]] = {}
        self._records: dict[int, Record] = {}
        self._tracks: OrderedDict[Key, _LabelState] = OrderedDict()

    def expect(self, index: int, window: Window, arrived: float) -> None:
        """A window is asked about as sample `index`; its last frame arrived then."""
        self._asked[index] = window, arrived
        key = window.stream, window.who
        track = self._tracks.setdefault(key, _LabelState(self._smoother_of()))
        self._tracks.move_to_end(key)
        track.order.append(index)
        while len(self._tracks) > _TRACKS and not next(iter(self._tracks.values())).order:
            self._tracks.popitem(last=False)

    def complete(self, record: Record, now: float) -> list[Label]:
        """A window has its record; the labels that can be told now."""
        self._records[record.index] = record
        window, _ = self._asked[record.index]
        track = self._tracks[window.stream, window.who]
        found = []
        while track.order and track.order[0] in self._records:
            index = track.order.popleft()
            found.append(self._label(track, *self._asked.pop(index), self._records.pop(index), now))
        return found

    def waits(self, stream: str, who: Who) -> bool:
        """Whether somebody has windows without a label yet."""
        track = self._tracks.get((stream, who))
        return track is not None and bool(track.order)

    def _label(
        self, track: _LabelState, window: Window, arrived: float, record: Record, now: float
    ) -> Label:
        about = window.stream, window.who, window.t, window.first, window.last
        latency = 1e3 * (now - arrived)
        if isinstance(record, Failure):
            message = f"{record.type} ({record.stage}): {record.message}"
            return Label(*about, None, None, 0.0, None, latency, start=window.start, error=message)
        assert isinstance(record, Prediction)
        label, mean = track.smoother.add(record.scores)
        name = None if label is None else self._classes[label]
        score = float(mean.max() if label is None else mean[label])
        found = label, name, score, record.scores, latency
        return Label(*about, *found, start=window.start, ms=record.ms, notes=record.notes)
