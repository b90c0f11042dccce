"""What is shown of live streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st

from engine.live.labels import Label
from engine.outputs.dashboard.scene import Scene
from engine.sources.pose_frames import Person, PoseFrame

NAMES = [f"class {n}" for n in range(9)]


def frame(stream: str, number: int, *who: int | str) -> PoseFrame:
    people = tuple(Person(w, np.full((17, 3), 0.5 + number, np.float32)) for w in who)
    return PoseFrame(stream, number, number / 30, (640, 480), people)


def label(stream: str, who: Any, best: int, score: float = 0.5, **more: Any) -> Label:
    scores = np.full(9, (1 - score) / 8, np.float32)
    scores[best] = score
    about = {"label": best, "name": NAMES[best], "score": score, "scores": scores, **more}
    return Label(stream, who, 0.0, 0, 47, latency_ms=12.3, start=0.0, **about)


def test_skeletons_and_labels() -> None:
    scene = Scene(NAMES)
    scene.add_frame(frame("door", 7, 3, "x"), 1.0)
    scene.add_label(label("door", 3, best=4), 1.0)
    drawn = scene.skeletons(1.1)
    assert list(drawn) == ["door"]
    width, height, number, people = drawn["door"]
    assert (width, height, number) == (640, 480, 7)
    assert [one[:2] for one in people] == [["3", "class 4"], ["x", None]]
    assert people[0][2] == [8, 8, 750] * 17
    scene.add_label(label("door", 8, best=1), 1.1)
    [shown] = scene.state({"door": 1.0}, {"door": 2}, 1.2)
    here, gone = shown["people"]
    assert (here["who"], here["here"], gone["who"], gone["here"]) == ("3", True, "8", False)
    assert (shown["state"], shown["dropped"], shown["frames"]) == ("live", 2, 1)
    assert (here["name"], here["score"], gone["age"]) == ("class 4", 0.5, 0.1)
    assert here["top"][0] == ["class 4", 0.5, [50]]
    assert len(here["top"]) == 5


def test_the_past_of_the_best_five() -> None:
    scene = Scene(NAMES)
    scene.add_frame(frame("door", 0, 1), 0.0)
    for number in range(60):
        scene.add_label(label("door", 1, best=2, score=0.2 + number / 100), number / 10)
    [shown] = scene.state({"door": 6.0}, {}, 6.0)
    name, score, past = shown["people"][0]["top"][0]
    assert (name, score) == ("class 2", 0.79)
    assert past == list(range(32, 80))


def test_a_group_is_named_over_every_head() -> None:
    scene = Scene(NAMES)
    scene.add_frame(frame("door", 0, 1, 2), 0.0)
    scene.add_label(label("door", None, best=0), 0.0)
    assert [one[1] for one in scene.skeletons(0.0)["door"][3]] == ["class 0"] * 2
    assert scene.state({"door": 0.0}, {}, 0.0)[0]["people"][0]["who"] == "everybody"


def test_silent_over_and_forgotten() -> None:
    scene = Scene(NAMES)
    scene.add_frame(frame("door", 0, 1), 0.0)
    scene.add_label(label("door", 1, best=0), 0.0)
    assert scene.changes() == ["door begins"]
    [shown] = scene.state({"door": 0.0}, {}, 5.0)
    assert (shown["state"], shown["silent"], shown["people"]) == ("silent", 5.0, [])
    assert scene.skeletons(5.0) == {}
    [shown] = scene.state({}, {}, 10.0)
    assert shown["state"] == "over"
    assert scene.changes() == ["door is over"]
    assert scene.state({}, {}, 60.0)
    assert scene.state({}, {}, 71.0) == []
    scene.add_frame(frame("door", 0, 1), 80.0)
    assert scene.state({"door": 80.0}, {}, 80.0)[0]["state"] == "live"
    assert scene.changes() == ["door begins"]


def test_what_is_said_of_a_stream_that_is_not_there() -> None:
    scene = Scene(NAMES)
    scene.add_label(label("gone", 1, best=0), 0.0)
    scene.add_frame(frame("door", 0, 1), 0.0)
    scene.add_label(label("door", 1, best=0, scores=None, error="why"), 0.0)
    assert scene.state({"door": 0.0}, {}, 0.0)[0]["people"] == []


def test_those_that_are_over_come_last() -> None:
    scene = Scene(NAMES)
    for number, name in enumerate(["a", "b", "c"]):
        scene.add_frame(frame(name, 0, 1), float(number))
    shown = scene.state({"b": 1.0, "c": 2.0}, {}, 2.0)
    assert [(one["name"], one["state"]) for one in shown] == [
        ("b", "live"),
        ("c", "live"),
        ("a", "over"),
    ]


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60)), max_size=200))
def test_bounded_whatever_comes(told: list[tuple[int, int]]) -> None:
    scene = Scene(NAMES)
    for number, (stream, who) in enumerate(told * 3):
        name = f"stream {stream}"
        scene.add_frame(frame(name, number, *range(who)), number / 10)
        scene.add_label(label(name, who, best=who % 9), number / 10)
    shown = scene.state({}, {}, len(told) / 10)
    assert len(shown) <= 12, "all are over"
    assert all(len(one["people"]) <= 8 for one in shown)
    assert all(len(one[3]) <= 20 for one in scene.skeletons(0.0).values())
    assert len(scene.changes()) <= 256
    orjson.dumps(shown)
