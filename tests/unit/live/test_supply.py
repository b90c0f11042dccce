"""What streams say is looked at before it becomes windows, and windows say what was decided."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from engine.live.streams import StreamLimits, Streams
from engine.live.supply import LiveSupply, SourceFigures
from engine.live.tracking import Tracker
from engine.live.windows import Grid, Window
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import Sample
from engine.sources.recorded import recorded
from engine.sources.source import open_source
from tests.support.samples import walking

PIXELS = walking(1, 60, 200)
SIDES = np.array([640, 480])


def taken(source: Any, **more: Any) -> tuple[list[PoseSequence], Any]:
    """The windows of a source, as the engine reads them, and what became of its messages."""
    windows: list[Window] = []
    grid = Grid.of(1.6, 0.4, 30, "person")
    streams = Streams(lambda _: grid, lambda: Tracker().track, StreamLimits())
    expect = lambda _, window, __: windows.append(window)  # noqa: E731
    opened = open_source(source)
    with closing(LiveSupply([opened], streams, expect, **more)) as supply:
        supply.start()
        found = []
        while not supply.exhausted:
            if (sample := supply.next()) is not None:
                found.append(sample.poses(51))
        return found, supply.figures[opened.name]


def messages(keypoint: Any, scores: Any = 1.0) -> Iterator[dict[str, Any]]:
    for number, people in enumerate(keypoint.swapaxes(0, 1)):
        kpts = np.concatenate([people, np.full((*people.shape[:2], 1), scores)], axis=-1)
        yield {
            "stream": "s",
            "frame": number,
            "t": number / 30,
            "size": SIDES.tolist(),
            "people": [{"id": 0, "kpts": one.tolist()} for one in kpts],
        }


def assert_windows(found: Sequence[PoseSequence], notes: tuple[str, ...]) -> None:
    """Those of `PIXELS`, and the notes."""
    expected, _ = taken(messages(PIXELS))
    assert len(found) == len(expected) > 1
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.keypoint, other.keypoint, rtol=1e-6)
        np.testing.assert_allclose(one.keypoint_score, other.keypoint_score)  # type: ignore[arg-type]
        assert (one.notes, other.notes) == (notes, ())


def test_messages_in_shares_and_percent() -> None:
    assert_windows(taken(messages(PIXELS / SIDES))[0], ("normalised",))
    assert_windows(taken(messages(PIXELS / SIDES, 100))[0], ("percent", "normalised"))
    assert_windows(taken(messages(PIXELS / SIDES), coordinates="normalised")[0], ("normalised",))
    found, figures = taken(messages(PIXELS), coordinates="normalised")
    assert (found, figures.refused) == ([], 60)


def test_a_recording_is_looked_at_as_a_whole() -> None:
    about = {"img_shape": (480, 640)}
    shares = PIXELS / SIDES
    shares[0, 10:20, 1:] = 0  # one joint alone tells nothing, all frames do
    nobody = np.zeros((1, 60, 17, 2))
    samples = [
        Sample(0, "a", {"keypoint": shares, **about}),
        Sample(1, "b", {"keypoint": nobody, **about}),
        Sample(2, "c", {"keypoint": PIXELS.swapaxes(0, 1), **about}),
        Sample(3, "d", {"keypoint": shares, **about}, "pixels"),
    ]
    found, figures = taken(recorded("test", samples))
    assert [one.notes for one in found] == [("normalised",)] * 2 + [()] * 2
    assert (figures.empty, figures.first_empty, figures.refused) == (1, "b", 1)
    assert found[0].keypoint.max() > 100
    assert found[-1].keypoint.max() <= 1


def test_windows_in_which_nobody_is_seen() -> None:
    found, _ = taken(messages(PIXELS, 0.0))
    assert {one.notes for one in found} == {("empty",)}


def test_reasons_and_streams_that_were_refused() -> None:
    good = [*messages(PIXELS)]
    bad = [{**one, "stream": "bad", "size": [0, 0]} for one in good[:3]]
    late = [{**good[0], "frame": "x"}]  # of a stream of which others are taken
    other = [b"no JSON", {"stream": 5}]
    _, figures = taken([*late, *bad, *other, *good])
    assert (figures.taken, figures.refused) == (60, 6)
    assert list(figures.unheard) == ["bad"]
    assert sorted(figures.reasons.values()) == [1, 1, 1, 3]
    _, many = taken([{"stream": f"s{n}", "frame": n + 0.5} for n in range(20)])
    assert len(many.reasons) <= 5
    assert many.to_json()["unheard"] == [f"s{n}" for n in range(20)]
    assert many.nothing is not None


def test_streams_beyond_those_that_are_kept_are_not_called_refused() -> None:
    figures = SourceFigures()
    for number in range(2000):
        figures.take(f"s{number}")
    figures.refuse("why", "s1999")
    figures.refuse("why", "s0")
    assert figures.unheard == []


@pytest.mark.parametrize(
    "error",
    [CancelledError("mine"), SystemExit("mine"), KeyboardInterrupt("mine"), GeneratorExit()],
)
def test_whatever_ends_a_source_is_said(error: BaseException) -> None:
    """Of the errors that are no `Exception`, too: a source is never over without a word."""

    def source() -> Iterator[dict[str, Any]]:
        yield from messages(PIXELS)
        raise error

    _, figures = taken(source())
    assert (figures.over, figures.taken) == (True, 60)
    assert figures.error is not None
    assert figures.error.startswith(type(error).__name__)
    assert figures.error.endswith("raised by the source at message 61")
