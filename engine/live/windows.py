"""Windows: a live stream cut into the sequences that the network is asked about.

Comes in: the pose frames of one stream. Goes out: `Window`, poses of as many moments as a clip has
frames, on a fixed grid (or, for the reference's sampling, of every frame, of which the clips' plan
takes as many):
moment m is the first frame of those numbered m k to (m + 1) k - 1. k follows from the window's
length and the stream's rate. Where a camera or a pose estimator was too slow, a moment has no
frame: it repeats the one before it, up to twelve times in a row. A window ends every `stride`
moments, counted from the stream's first frame. Pure, one object a stream; no clock but the frames'.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from engine.base.choices import Per, Sampling, Who
from engine.base.constants import JOINTS
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.live.crops import SteadyCrop
from engine.skeletons.poses import PoseSequence
from engine.sources.pose_frames import PoseFrame

GROUP: Who = None

_HELD = 12  # moments in a row that repeat the one before; of a longer gap nothing is known
_LONGEST = 10_000  # frames of a window of which every one is kept
_BACKWARDS = 1000  # frames that a stream may step back before it counts as begun anew


@dataclass(frozen=True)
class Grid:
    """Every `step`-th frame is a moment; a window is `length` of them, and one ends every `stride`
    moments.

    `least`: moments of a window in which somebody has to be seen to be asked about. `recipe`: of
    the windows.
    """

    step: int
    stride: int
    least: int = HMDB51_RECIPE.length // 4
    per: Per = "person"
    length: int = HMDB51_RECIPE.length
    recipe: Recipe = HMDB51_RECIPE

    @classmethod
    def of(
        cls,
        window: float,
        stride: float,
        rate: float,
        per: Per,
        sampling: Sampling = "grid",
        recipe: Recipe = HMDB51_RECIPE,
    ) -> Grid:
        """For windows of `window` seconds every `stride` seconds, at `rate` frames/s. The stride
        is rounded to an even number of moments, since the network's last stage takes every
        second one: windows that far apart have all their inner results in common."""
        length = recipe.length
        step = max(1, round(window * rate / length))
        if sampling == "reference":
            step, length = 1, min(max(1, round(window * rate)), _LONGEST)
        stride = 2 * max(1, round(stride * rate / step / 2))
        return cls(step, int(stride), max(1, length // 4), per, length, recipe)


@dataclass(frozen=True, eq=False)
class Window:
    """What is asked about somebody, or a group, at a moment.

    `poses`: [P, T, 17, 2], of the grid's length T (fewer moments where the stream ended before).
    `t`: of its last frame, `start`: of its first. `first`, `last`: numbers of its frames.
    """

    stream: str
    who: Who
    t: float
    first: int
    last: int
    poses: PoseSequence
    start: float


@dataclass
class WindowFigures:
    """What became of a stream's frames."""

    frames: int = 0
    late: int = 0  # older than what had come, or the same again
    restarts: int = 0
    windows: int = 0
    people: int = 0  # frames with somebody in them


@dataclass(frozen=True, eq=False)
class _Moment:
    number: int
    frame: PoseFrame


@dataclass
class Windows:
    """The last moments of a stream, as many as a window has."""

    stream: str
    grid: Grid
    number: Callable[[], int] | None = None  # of a track; None: no crop stays
    figures: WindowFigures = field(default_factory=WindowFigures)
    _crops: dict[Who, SteadyCrop] = field(default_factory=dict)
    _moments: deque[_Moment] = field(default_factory=deque)
    _first: int | None = None  # moment of the stream
    _ended: int | None = None  # the moment with which the last window ended
    _newest: PoseFrame | None = None

    def add(self, frame: PoseFrame) -> list[Window]:
        """Take a frame; the windows that end with it. Frames that come late or twice are left
        out; a stream that steps far back, or changes its size, has begun anew."""
        self.figures.frames += 1
        newest, found = self._newest, []
        if newest is not None:
            back = newest.frame - frame.frame
            if frame.size != newest.size or back > _BACKWARDS:
                self.figures.restarts += 1
                found += self.end()
            elif back >= 0:
                self.figures.late += 1
                return []
        self._newest = frame
        self.figures.people += bool(frame.people)
        number, stride = frame.frame // self.grid.step, self.grid.stride
        if self._moments and self._moments[-1].number == number:
            return found
        if self._first is None:
            self._first = number
        due = (number + 1) // stride * stride - 1  # the last moment, until now, to end a window
        if self._moments and (last := self._moments[-1]).number < number - 1:
            if number - last.number <= _HELD + 1:
                held = range(last.number + 1, number)
                self._moments.extend(_Moment(between, last.frame) for between in held)
            # A window of nothing new would be the one before again.
            if last.number < due < number and self._ended != last.number:
                found += self._windows(due)
        self._moments.append(_Moment(number, frame))
        while self._moments[0].number <= number - self.grid.length:
            self._moments.popleft()
        return found + (self._windows(number) if due == number else [])

    @property
    def start(self) -> float | None:
        """The earliest time that a window to come may begin at, so far as frames have come."""
        return self._moments[0].frame.t if self._moments else None

    def end(self) -> list[Window]:
        """The stream is over: a last window of what no window has had, however short."""
        found = []
        if self._moments and self._ended != self._moments[-1].number:
            found = self._windows(self._moments[-1].number, short=True)
        self._moments.clear()
        self._crops.clear()
        self._newest = self._first = self._ended = None
        return found

    def _windows(self, last: int, *, short: bool = False) -> list[Window]:
        """The windows that end with a moment: of everybody who was seen often enough."""
        assert self._first is not None
        start = max(self._first, last - self.grid.length + 1)
        length = last - start + 1
        if length < self.grid.length and not short:
            return []
        self._ended = last
        moments = [moment for moment in self._moments if start <= moment.number <= last]
        seen = Counter(person.id for moment in moments for person in moment.frame.people)
        present = [who for who, count in seen.items() if count >= min(self.grid.least, length)]
        kpts = {who: np.zeros((length, JOINTS, 3), np.float32) for who in present}
        for moment in moments:
            for person in moment.frame.people:
                if person.id in kpts:
                    kpts[person.id][moment.number - start] = person.kpts
        groups = [(who, [who]) for who in present]
        if self.grid.per == "group":
            groups = [(GROUP, present)] if present else []
        frames = [moment.frame for moment in moments]
        notes = dict.fromkeys(note for frame in frames for note in frame.notes)
        found = []
        for who, members in groups:
            stacked = np.stack([kpts[member] for member in members])
            width, height = frames[-1].size
            arrays = stacked[..., :2], stacked[..., 2]
            poses = PoseSequence(*arrays, (height, width), length, notes=tuple(notes))
            if self.number is not None and length == self.grid.recipe.length == self.grid.length:
                poses = self._cropped(poses, who, frozenset(members), start)
            begin, end = frames[0], frames[-1]
            found.append(
                Window(self.stream, who, end.t, begin.frame, end.frame, poses, start=begin.t)
            )
        self.figures.windows += len(found)
        self._crops = {
            who: crop for who, crop in self._crops.items() if who in kpts or who is GROUP
        }
        return found

    def _cropped(
        self, poses: PoseSequence, who: Who, members: frozenset[Who], start: int
    ) -> PoseSequence:
        """In the crop that its windows stay in, as one of a track."""
        assert self.number is not None
        if (steady := self._crops.get(who)) is None:
            steady = self._crops[who] = SteadyCrop(self.number(), self.grid.recipe)
        if (crop := steady.of(poses.keypoint, members)) is None:
            return poses
        return replace(
            poses, crop=crop, track=(steady.number, steady.count, start, self.grid.stride)
        )
