"""The scene: the streams of a live run, their skeletons, and what everybody does.

Comes in: pose frames with ids, and labels. Goes out: JSON types, the skeletons apart from the rest
because they are sent more often. Everything is bounded. Pure, and the clock is an argument.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.base.errors import printable
from engine.live.labels import Label
from engine.outputs.accuracy import top_classes
from engine.sources.pose_frames import Person, PoseFrame

_SCALE = np.array([1, 1, 100], np.float32)
_STREAMS = 256
_DRAWN = 20  # people of a frame
_LISTED = 8  # people of a stream with their scores
_PAST = 48  # windows
_SILENT_S = 1.5
_GONE_S = 3.0  # somebody who is in no frame and has no label
_OVER_S, _OVER = 60.0, 12  # streams that are over: for so long, and so many


@dataclass
class _Actor:
    """Somebody in a stream, or the group."""

    who: int | str | None
    seen: float
    label: Label | None = None  # the last one with scores
    labelled: float = 0.0  # when it came
    past: deque[Any] = field(default_factory=lambda: deque(maxlen=_PAST))  # float16 [classes]


@dataclass
class _Shown:
    """A stream. `heard` and `frames` are of the last frame and of all."""

    frame: PoseFrame
    heard: float
    frames: int = 0
    ended: float | None = None
    told: float = 0.0  # when `frames` was `counted`
    counted: int = 0
    rate: float = 0.0
    actors: dict[int | str | None, _Actor] = field(default_factory=dict)  # in their order

    def without(self, actor: _Actor) -> bool:
        """Whether somebody is not in the last frame."""
        return actor.who is not None and all(p.id != actor.who for p in self.frame.people)


class Scene:
    """`classes`: names."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._streams: OrderedDict[str, _Shown] = OrderedDict()
        self._changes: list[str] = []

    def add_frame(self, frame: PoseFrame, now: float) -> None:
        """A stream has moved on."""
        shown = self._streams.get(frame.stream)
        if shown is None or shown.ended is not None:
            self._changes.append(f"{printable(frame.stream)} begins")
        if shown is None:
            shown = self._streams[frame.stream] = _Shown(frame, now, told=now)
            self._bound()
        shown.frame, shown.heard, shown.ended = frame, now, None
        shown.frames += 1
        for person in frame.people[:_DRAWN]:
            if (actor := shown.actors.get(person.id)) is not None:
                actor.seen = now

    def add_label(self, label: Label, now: float) -> None:
        """A window has been scored."""
        shown = self._streams.get(label.stream)
        if shown is None or label.scores is None:
            return
        actor = shown.actors.setdefault(label.who, _Actor(label.who, now))
        actor.seen, actor.label, actor.labelled = now, label, now
        actor.past.append(label.scores.astype(np.float16))
        if len(shown.actors) > _LISTED:
            del shown.actors[min(shown.actors.values(), key=lambda a: a.seen).who]

    def skeletons(self, now: float) -> dict[str, Any]:
        """By stream: width, height and number of its last frame, and its people: id, label and
        rounded [x, y, hundred times the score] of each joint, one after the other."""
        return {
            printable(name): [
                *shown.frame.size,
                shown.frame.frame,
                [self._drawn(person, shown) for person in shown.frame.people[:_DRAWN]],
            ]
            for name, shown in self._streams.items()
            if now - shown.heard < _SILENT_S + 1 and shown.ended is None
        }

    def state(
        self, alive: Mapping[str, float], dropped: Mapping[str, int], now: float
    ) -> list[dict[str, Any]]:
        """Streams in the order they came, those that are over last. `alive`: those that are not;
        `dropped`: windows that made room, by stream."""
        for name, shown in list(self._streams.items()):
            if name in alive:
                shown.ended = None
            elif shown.ended is None:
                shown.ended = now
                self._changes.append(f"{printable(name)} is over")
            elif now - shown.ended > _OVER_S:
                del self._streams[name]
        self._bound()
        return [
            self._described(name, shown, dropped.get(name, 0), now)
            for name, shown in sorted(self._streams.items(), key=lambda s: s[1].ended is not None)
        ]

    def _bound(self) -> None:
        over = [name for name, shown in self._streams.items() if shown.ended is not None]
        for name in over[: max(len(over) - _OVER, 0)]:
            del self._streams[name]
        while len(self._streams) > _STREAMS:
            self._streams.popitem(last=False)

    def changes(self) -> list[str]:
        """Which streams have begun or ended since this was asked last."""
        found, self._changes = self._changes[-_STREAMS:], []
        return found

    def _described(self, name: str, shown: _Shown, dropped: int, now: float) -> dict[str, Any]:
        if now - shown.told >= 1.0:
            shown.rate = (shown.frames - shown.counted) / (now - shown.told)
            shown.told, shown.counted = now, shown.frames
        for actor in list(shown.actors.values()):
            if now - actor.seen > _GONE_S:
                del shown.actors[actor.who]
        silent = now - shown.heard
        state = "live" if silent < _SILENT_S else "silent"
        return {
            "name": printable(name),
            "state": "over" if shown.ended is not None else state,
            "silent": round(silent, 1),
            "rate": round(shown.rate, 1) if state == "live" and shown.ended is None else 0.0,
            "frames": shown.frames,
            "dropped": dropped,
            "people": [
                described
                for actor in sorted(shown.actors.values(), key=shown.without)
                if (described := self._acting(actor, now, here=not shown.without(actor)))
                is not None
            ],
        }

    def _acting(self, actor: _Actor, now: float, *, here: bool) -> dict[str, Any] | None:
        label = actor.label
        if label is None or label.scores is None:
            return None
        best = top_classes(label.scores[None], 5)[0].tolist()
        return {
            "who": _spelt(actor.who),
            "here": here,
            "name": label.name,
            "score": round(label.score, 3),
            "age": round(label.latency_ms / 1000 + now - actor.labelled, 1),
            "top": [
                [
                    self._classes[c],
                    round(float(label.scores[c]), 3),
                    [round(100 * float(scores[c])) for scores in actor.past],
                ]
                for c in best
            ],
        }

    def _drawn(self, person: Person, shown: _Shown) -> list[Any]:
        actor = shown.actors.get(person.id) or shown.actors.get(None)
        label = actor.label if actor is not None else None
        said = None if label is None else label.name
        joints = np.rint(np.nan_to_num(person.kpts) * _SCALE).astype(int)
        return [_spelt(person.id), said, joints.ravel().tolist()]


def _spelt(who: int | str | None) -> str:
    return "everybody" if who is None else printable(who)
