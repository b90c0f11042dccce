"""Windows over made-up streams: what they hold, when they end, and what harms them not."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from engine.live.windows import Grid, Window, Windows
from engine.sources.pose_frames import Person, PoseFrame


def frame(number: int, *ids: Any, size: tuple[int, int] = (640, 480)) -> PoseFrame:
    """People whose x says in which frame they were, and whose y who they are."""
    people = []
    for rank, who in enumerate(ids):
        kpts = np.full((17, 3), 1, np.float32)
        kpts[:, 0], kpts[:, 1] = number + 1, rank + 1
        people.append(Person(who, kpts))
    return PoseFrame("s", number, number / 30, size, tuple(people))


def run(numbers: Any, grid: Grid, *ids: Any) -> list[Window]:
    windows = Windows("s", grid)
    found = [w for n in numbers for w in windows.add(frame(n, *ids))]
    return found + windows.end()


def moments(window: Window) -> list[int]:
    """The frame that each moment of the first person was, -1 where there was none."""
    return [int(x) - 1 for x in window.poses.keypoint[0, :, 0, 0]]


def test_the_grid_of_seconds() -> None:
    assert Grid.of(1.6, 0.4, 30, "person") == Grid(1, 12)
    assert Grid.of(5, 1, 30, "person") == Grid(3, 10)
    assert Grid.of(0.5, 0.01, 30, "person") == Grid(1, 2)  # never less than two moments


def test_the_references_sampling_keeps_every_frame() -> None:
    grid = Grid.of(5, 1, 30, "person", "reference")
    assert (grid.step, grid.length, grid.stride, grid.least) == (1, 150, 30, 37)
    found = run(range(200), grid, 1)
    assert [w.last for w in found] == [149, 179, 199]
    assert [w.poses.total_frames for w in found] == [150, 150, 150]
    assert moments(found[0]) == list(range(150))
    short = Grid.of(1, 0.5, 10, "person", "reference")
    assert [w.poses.total_frames for w in run(range(20), short, 1)] == [10, 10, 10]
    assert Grid.of(3600, 1, 1000, "person", "reference").length == 10_000


def test_windows_end_at_the_same_moments_whenever_one_joins() -> None:
    grid = Grid(1, 12)
    for start in (0, 5, 11):
        found = run(range(start, 120), grid, 1)
        full = [w for w in found if (w.last + 1) % 12 == 0]
        assert [w.last for w in full] == [n for n in range(start + 47, 120) if (n + 1) % 12 == 0]
        for window in full:
            assert moments(window) == list(range(window.last - 47, window.last + 1))
            assert (window.first, window.t) == (window.last - 47, window.last / 30)


def test_every_third_frame() -> None:
    found = run(range(300), Grid(3, 10), 1)
    assert moments(found[0]) == [3 * m for m in range(2, 50)]
    assert found[0].last == 147  # as soon as the frame of the last moment is here


def test_a_short_stream_has_one_window_of_its_own_length() -> None:
    [window] = run(range(40), Grid(1, 12), 1)
    assert window.poses.total_frames == 40
    assert moments(window) == list(range(40))
    assert run(range(0), Grid(1, 12)) == []


def test_the_rest_at_the_end() -> None:
    found = run(range(50), Grid(1, 24), 1)
    assert [w.last for w in found] == [47, 49]
    assert [w.last for w in run(range(48), Grid(1, 24), 1)] == [47]  # nothing twice


def test_persons_and_groups() -> None:
    windows = Windows("s", Grid(1, 48))
    found = []
    for number in range(48):
        ids = ["a"] + ["b"] * (number >= 30) + ["c"] * (number >= 40)
        found += windows.add(frame(number, *ids))
    assert [w.who for w in found] == ["a", "b"]  # c was seen in 8 moments only
    assert moments(found[1])[:30] == [-1] * 30
    windows = Windows("s", Grid(1, 48, per="group"))
    [group] = [w for n in range(48) for w in windows.add(frame(n, "a", "b"))]
    assert (group.who, group.poses.keypoint.shape) == (None, (2, 48, 17, 2))
    windows = Windows("s", Grid(1, 48, per="group"))
    assert [w for n in range(48) for w in windows.add(frame(n))] == []  # nobody there


def test_skipped_frames_repeat_the_one_before() -> None:
    """A window whose last moment no frame was of ends all the same."""
    found = run([n for n in range(100) if n not in (20, 59)], Grid(1, 12), 1)
    assert [w.last for w in found] == [47, 58, 71, 83, 95, 99]
    assert moments(found[1]) == [19 if n == 20 else n for n in range(12, 59)] + [58]
    half = run(range(0, 120, 2), Grid(1, 12), 1)  # a camera that is half as fast as it says
    assert moments(half[0]) == [n - n % 2 for n in range(48)]


def test_a_long_gap_is_a_gap() -> None:
    """Also where a window ends in it."""
    found = run([n for n in range(80) if not 40 <= n < 53], Grid(1, 12), 1)
    assert moments(found[0]) == [n if n < 40 else -1 for n in range(48)]
    assert moments(found[1])[-20:] == [-1 if n < 53 else n for n in range(40, 60)]
    shorter = run([n for n in range(80) if not 40 <= n < 52], Grid(1, 12), 1)
    assert moments(shorter[0]) == [min(n, 39) for n in range(48)]


def test_a_stream_that_lies() -> None:
    windows = Windows("s", Grid(1, 12))
    for number in [*range(30), 29, 5, *range(30, 40)]:
        windows.add(frame(number, 1))
    assert windows.figures.late == 2
    [cut] = windows.add(frame(40, 1, size=(320, 240)))  # another camera
    assert (cut.poses.total_frames, cut.poses.img_shape) == (40, (480, 640))
    for number in range(2000, 2060):
        windows.add(frame(number, 1, size=(320, 240)))
    [tail] = windows.add(frame(3, 1, size=(320, 240)))  # began anew
    assert tail.last == 2059
    assert windows.figures.restarts == 2


@given(
    st.lists(st.integers(0, 400), max_size=200),
    st.integers(1, 4),
    st.integers(1, 12),
    st.sampled_from(["person", "group"]),
)
@example([0, 54, 67, 72], 1, 1, "person")  # a window ends in the gap after one with its last frame
def test_any_order(numbers: list[int], step: int, half: int, per: Any) -> None:
    grid = Grid(step, 2 * half, per=per)
    windows = Windows("s", grid)
    found = [w for n in numbers for w in windows.add(frame(n, 1))] + windows.end()
    figures = windows.figures
    assert figures.frames == len(numbers)
    assert figures.windows == len(found)
    lasts = [window.last for window in found]
    assert lasts == sorted(set(lasts))  # nothing is asked twice
    for window in found:
        assert 1 <= window.poses.total_frames <= 48
        seen = [n for n in moments(window) if n >= 0]
        assert seen == sorted(seen)
        assert set(seen) <= set(numbers)
