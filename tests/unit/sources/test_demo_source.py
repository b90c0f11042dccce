"""Generated motion as a live source."""

from __future__ import annotations

import time

import numpy as np
import pytest

from engine.base.errors import UsageError
from engine.base.options import Options
from engine.runtime import setup
from engine.sources.pose_frames import PoseFrame
from engine.sources.source import open_source


def test_streams_in_time() -> None:
    source, begun = open_source("demo:2"), time.monotonic()
    assert (source.name, source.live) == ("demo:2", True)
    frames: list[PoseFrame] = []
    for message in source.messages(lambda: len(frames) >= 60):
        assert isinstance(message, PoseFrame)
        frames.append(message)
    assert time.monotonic() - begun > 60 / 60 - 0.1
    for name in ("demo-1", "demo-2"):
        mine = [frame for frame in frames if frame.stream == name]
        assert [frame.frame for frame in mine] == list(range(len(mine)))
        assert {frame.size for frame in mine} == {(640, 480)}
        people = [person for frame in mine for person in frame.people]
        ids = list(dict.fromkeys(str(person.id) for person in people))
        assert ids[0] == f"{name}/a"
        assert all(one.startswith(f"{name}/") for one in ids)
        kpts = np.stack([person.kpts for person in people])
        assert kpts.shape[1:] == (17, 3)
        assert kpts.dtype == np.float32
        assert ((kpts[..., :2] >= 0) & (kpts[..., :2] <= (640, 480))).all()
    assert len({person.id for frame in frames for person in frame.people}) >= 2


def test_nobody_waits_for_it() -> None:
    """A reader who sleeps finds it where it was, not a burst of what has passed."""
    messages, got = iter(open_source("demo:1").messages(lambda: False)), []
    for _ in range(5):
        got.append(next(messages))
    time.sleep(1.5)
    begun = time.monotonic()
    for _ in range(15):
        got.append(next(messages))
    assert time.monotonic() - begun > 0.25


@pytest.mark.parametrize("rest", ["x", "0", "65", "-1", "2@30"])
def test_refused(rest: str) -> None:
    with pytest.raises(UsageError, match="a number of streams is needed"):
        open_source(f"demo:{rest}")


def test_its_own_weights_are_the_default() -> None:
    assert setup._default_model(Options(source=("demo",))) == "demo"
    assert setup._default_model(Options(source=("demo:2", "demo"))) == "demo"
    assert setup._default_model(Options(source=("demo", "jsonl:-"))) != "demo"
    assert setup._default_model(Options(source=("jsonl:-",), dataset="hmdb51")) != "demo"
