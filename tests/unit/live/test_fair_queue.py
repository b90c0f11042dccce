"""Fair turns, bounds, and who makes room."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from engine.live.fair_queue import FairQueue


def taken(queue: FairQueue[int]) -> list[tuple[str, int]]:
    found = []
    while (got := queue.take()) is not None:
        found.append(got[:2])
    return found


def test_names_take_turns() -> None:
    queue = FairQueue[int](each=9, total=99)
    for name, count in (("a", 3), ("b", 1), ("c", 2)):
        for number in range(count):
            assert queue.put(name, number, 0.0) is None
    assert (queue.names, queue.count("a"), queue.count("x")) == (3, 3, 0)
    assert taken(queue) == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("c", 1), ("a", 2)]
    assert (queue.names, queue.take()) == (0, None)


def test_a_flood_loses_its_own_oldest() -> None:
    queue = FairQueue[int](each=3, total=99)
    queue.put("calm", 0, 0.0)
    assert [queue.put("flood", n, n) for n in range(5)] == [None] * 3 + ["flood"] * 2
    assert taken(queue) == [("calm", 0), ("flood", 2), ("flood", 3), ("flood", 4)]


def test_of_all_together_whoever_has_most_and_waits_longest_makes_room() -> None:
    queue = FairQueue[int](each=9, total=4)
    for at, name in enumerate("abab"):
        queue.put(name, at, at)
    assert queue.put("c", 4, 4.0) == "a"
    assert queue.put("c", 5, 5.0) == "b"
    assert queue.put("d", 6, 6.0) == "c"
    assert queue.put("e", 7, 7.0) == "a", "all have one"
    assert taken(queue) == [("b", 3), ("c", 5), ("d", 6), ("e", 7)]


def test_who_is_not_bounded_loses_nothing_and_crowds_out_nobody() -> None:
    queue = FairQueue[int](each=2, total=2)
    assert all(queue.put("file", n, 0.0, bounded=False) is None for n in range(9))
    assert [queue.put("camera", n, 1.0) for n in range(3)] == [None, None, "camera"]
    assert queue.put("file", 9, 2.0, bounded=True) is None, "as it began"
    assert Counter(name for name, _ in taken(queue)) == {"file": 10, "camera": 2}
    assert queue.put("file", 10, 3.0) is None
    assert [queue.put("file", n, 3.0) for n in (11, 12)] == [None, "file"]


def test_a_name_whose_items_are_left_out_keeps_its_turn() -> None:
    queue = FairQueue[int](each=9, total=99)
    for name in "abc":
        queue.put(name, 0, 0.0)
    assert queue.turn() == "a"
    assert queue.turn(lambda name: name != "a") == "b"
    queue.leave_out("a")
    assert (queue.turn(), queue.names, queue.count("a")) == ("b", 2, 0)
    queue.put("a", 1, 1.0)
    assert taken(queue) == [("a", 1), ("b", 0), ("c", 0)]
    queue.put("a", 2, 2.0)
    queue.leave_out("a")
    queue.forget("a")
    assert queue.turn() is None
    for name in "ba":
        queue.put(name, 3, 3.0)
    assert taken(queue) == [("b", 3), ("a", 3)]


def test_the_newest_takes_the_place_of_its_kind() -> None:
    queue = FairQueue[int](each=9, total=6)
    for item in range(6):
        queue.put("a", item, 0.0)
    odd = lambda item: item % 2 == 1  # noqa: E731
    assert queue.renew("a", odd, 7, 1.0) == 3
    assert [item for item, _ in queue.line("a")] == [0, 7, 2, 4]
    assert queue.renew("a", odd, 7, 1.0) == 0
    assert queue.renew("a", lambda item: item > 8, 9, 1.0) == 0
    assert [queue.put("b", item, 2.0) for item in range(3)] == [None, None, "a"], "six in all"


def test_more_than_usual_may_wait_of_a_name() -> None:
    queue = FairQueue[int](each=2, total=99)
    assert [queue.put("crowd", n, 0.0, each=3) for n in range(4)] == [None] * 3 + ["crowd"]


@given(
    st.lists(st.one_of(st.sampled_from("abcde"), st.none()), max_size=200),
    st.integers(1, 4),
    st.integers(1, 8),
)
def test_any_order(steps: list[str | None], each: int, total: int) -> None:
    """Items of a name keep their order, each is taken or was said to be lost, no name waits for
    more than one turn of every other, and nothing is unbounded."""
    queue = FairQueue[int](each=each, total=total)
    put: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    got: defaultdict[str, list[int]] = defaultdict(list)
    since: Counter[str] = Counter()  # how often others were taken since a name was
    for at, name in enumerate(steps):
        if name is not None:
            if not queue.count(name):
                since[name] = 0
            put[name] += 1
            if (loser := queue.put(name, at, at)) is not None:
                lost[loser] += 1
        elif (found := queue.take()) is not None:
            got[found[0]].append(found[1])
            since.update(n for n in "abcde" if n != found[0] and queue.count(n))
            since[found[0]] = 0
            assert max(since.values()) < 5
        waiting = {n: queue.count(n) for n in "abcde"}
        assert max(waiting.values()) <= each
        assert sum(waiting.values()) <= total
        assert queue.names == sum(count > 0 for count in waiting.values())
    for name, item in taken(queue):
        got[name].append(item)
    for name in "abcde":
        assert got[name] == sorted(got[name])
        assert len(got[name]) + lost[name] == put[name]
