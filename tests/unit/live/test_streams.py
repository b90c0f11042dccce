"""Many streams: fair turns, bounds, and none that harms another."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from engine.live.streams import StreamLimits, Streams
from engine.live.windows import Grid, Window
from engine.sources.pose_frames import PoseFrame
from tests.unit.live.test_windows import frame

GRID = Grid(1, 2, least=1)


def streams(**limits: float) -> Streams:
    return Streams(lambda first: GRID, lambda: lambda f: f, StreamLimits(**limits))  # type: ignore[arg-type]


def of(name: str, number: int, end: bool = False) -> PoseFrame:
    return replace(frame(number, 1), stream=name, end=end)


def taken(many: Streams) -> list[Window]:
    found = []
    while (got := many.next()) is not None:
        found.append(got[0])
    return found


def test_streams_take_turns() -> None:
    many = streams()
    for name, count in (("a", 56), ("b", 52), ("c", 48)):
        for number in range(count):
            many.add(of(name, number), 0)
    assert [w.stream for w in taken(many)] == ["a", "b", "c", "a", "b", "a", "b", "a", "a"]
    assert many.next() is None


def test_the_oldest_windows_make_room() -> None:
    many = streams(waiting=3)
    for number in range(100):
        many.add(of("slow", number), number)
    for number in range(48):
        many.add(of("other", number), 0)
    assert many.figures.dropped == 24
    assert many.dropped == {"slow": 24}
    assert many.waiting == {"slow": 3, "other": 1}
    assert [w.last for w in taken(many) if w.stream == "slow"] == [95, 97, 99]


def test_of_too_many_streams_the_fullest_and_oldest_make_room() -> None:
    many = streams(total=4, waiting=3)
    for turn, (name, count) in enumerate((("a", 54), ("b", 48), ("c", 48), ("d", 48))):
        for number in range(count):
            many.add(of(name, number), turn)
    assert many.waiting == {"a": 1, "b": 1, "c": 1, "d": 1}
    for number in range(48):
        many.add(of("e", number), 9)
    assert many.waiting == {"a": 0, "b": 1, "c": 1, "d": 1, "e": 1}
    assert [w.stream for w in taken(many)] == ["b", "c", "d", "e"]
    assert many.figures.dropped == 4


def test_of_recorded_streams_nothing_is_left_out() -> None:
    many = streams(waiting=2, total=2)
    for number in range(100):
        many.add(of("file", number), 0, live=False)
        many.add(of("camera", number), 0)
    assert many.waiting == {"file": 27, "camera": 2}
    found = taken(many)
    assert [w.last for w in found if w.stream == "file"] == list(range(47, 100, 2))
    assert many.figures.dropped == 25


def test_a_stream_ends_and_comes_back() -> None:
    many = streams()
    for number in range(30):
        many.add(of("a", number, end=number == 29), 0)
    many.add(of("a", 0), 0)  # while the window of the first one waits
    assert many.waiting == {"a": 1}
    assert [w.poses.total_frames for w in taken(many)] == [30]
    many.end(0)
    assert [w.poses.total_frames for w in taken(many)] == [1]
    assert many.waiting == {}
    assert many.figures.streams == 2
    totals = many.totals()
    assert (totals.frames, totals.windows) == (31, 2)


def test_when_somebodys_windows_are_past() -> None:
    """No window to come begins before that."""
    many = streams()
    assert many.is_past("a", 0)
    for number in range(60):
        many.add(of("a", number), 0)
    assert not many.is_past("a", 0), "its windows wait"
    assert [w.start for w in taken(many)] == [n / 30 for n in range(0, 13, 2)]
    assert many.is_past("a", 11.5 / 30)
    assert not many.is_past("a", 12 / 30)
    many.add(of("a", 60, end=True), 0)
    assert not many.is_past("a", 0), "its last one waits"
    assert [w.last for w in taken(many)] == [60]
    assert many.is_past("a", 60 / 30)


def test_silent_streams_are_over() -> None:
    many = streams(idle=10)
    for number in range(20):
        many.add(of("a", number), 0)
        many.add(of("b", number), number)
    many.sweep(11)
    assert [(w.stream, w.poses.total_frames) for w in taken(many)] == [("a", 20)]
    assert many.waiting == {"b": 0}


def test_a_recording_that_waits_to_be_read_is_not_silent() -> None:
    many = streams(idle=10)
    for number in range(20):
        many.add(of("a", number), 0, live=False, now=number)
    many.sweep(100)
    assert not taken(many)
    assert many.waiting == {"a": 0}
    many.sweep(29, recorded=True)
    assert many.waiting == {"a": 0}
    many.sweep(30, recorded=True)
    assert [w.poses.total_frames for w in taken(many)] == [20]


def test_a_flood_of_names() -> None:
    many = streams(streams=3)
    for number in range(100):
        many.add(of(f"s{number}", 0), 0)
    for number in range(1, 48):
        many.add(of("s1", number), 0)
    assert many.figures.refused == 97
    assert [w.stream for w in taken(many)] == ["s1"]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 60), st.booleans()), max_size=300),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_nothing_unbounded_and_nothing_lost_unseen(
    said: list[tuple[str, int, bool]], waiting: int, total: int
) -> None:
    many = streams(streams=3, waiting=waiting, total=total)
    found: Counter[str] = Counter()
    for turn, (name, number, end) in enumerate(said):
        many.add(of(name, number, end), turn)
        assert all(count <= waiting for count in many.waiting.values())
        assert len(many.waiting) <= 3
        assert sum(many.waiting.values()) <= total
        if turn % 3 == 0 and (got := many.next()) is not None:
            found[got[0].stream] += 1
    many.end(len(said))
    for window in taken(many):
        found[window.stream] += 1
    assert found.total() + many.figures.dropped == many.totals().windows
    assert many.totals().frames + many.figures.refused == len(said)
    assert many.waiting == {}


def test_people_who_are_never_long_enough_for_a_window() -> None:
    """As where every frame has ids of its own; a stream with nobody in it is no such thing."""
    many = Streams(lambda first: Grid(1, 2), lambda: lambda f: f, StreamLimits())  # type: ignore[arg-type]
    for number in range(96):
        whole = of("kept", number)
        many.add(whole, 0)
        many.add(replace(whole, stream="nobody", people=()), 0)
        renamed = tuple(replace(person, id=number) for person in whole.people)
        many.add(replace(whole, stream="renamed", people=renamed), 0)
    many.end(0)
    assert (many.figures.unseen, many.figures.first_unseen) == (1, "renamed")
