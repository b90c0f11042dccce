"""Which engine has which samples: every sample gets one end, and chance convicts none."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.runtime.cluster.shards import Shards
from engine.runtime.limits import MAX_DEATHS


def finish(
    shards: Shards, poison: set[int], rng: random.Random, engines: int, chance: float
) -> tuple[Counter[int], list[int]]:
    """Run all samples: engines complete what they have in any order, die of poison when they get
    to it, and by chance. Returns how often each was done, and the convicted."""
    done: Counter[int] = Counter()
    convicted: list[int] = []
    has: dict[str, list[int]] = {f"engine-{n}": [] for n in range(engines)}
    for _ in range(100_000):
        if not len(shards):
            return done, convicted
        name = rng.choice(list(has))
        has[name] += shards.grant(name, rng.randint(0, 9) - len(has[name]))
        if not has[name]:
            continue
        index = has[name][rng.randrange(len(has[name]))]
        if index in poison or rng.random() < chance:
            convicted += shards.lost(name)
            for late in has[name]:  # what it has said does not count any more
                assert not shards.done(name, late)
            has[name] = []
        else:
            has[name].remove(index)
            done[index] += shards.done(name, index)
    raise AssertionError("it does not end")


@given(
    st.integers(0, 60),
    st.integers(1, 6),
    st.sets(st.integers(0, 59), max_size=4),
    st.integers(0, 2**32),
)
def test_poison_is_convicted_and_nobody_else(
    samples: int, engines: int, poison: set[int], seed: int
) -> None:
    shards = Shards()
    shards.add(list(range(samples)))
    poison &= set(range(samples))
    done, convicted = finish(shards, poison, random.Random(seed), engines, chance=0)
    assert sorted(convicted) == sorted(poison)
    assert done == Counter(set(range(samples)) - poison)


@given(st.integers(1, 80), st.integers(1, 6), st.integers(0, 2**32))
def test_each_sample_has_one_end_whatever_dies(samples: int, engines: int, seed: int) -> None:
    shards = Shards()
    shards.add(list(range(samples)))
    done, convicted = finish(shards, {3}, random.Random(seed), engines, chance=0.05)
    assert done + Counter(convicted) == Counter(range(samples))


def test_a_sample_that_was_never_alone_is_not_convicted() -> None:
    shards = Shards()
    shards.add([0, 1])
    for _ in range(50):  # the first of two kills each time, and the second is innocent
        for half in ([0], [1]):
            if shards.fresh:
                assert shards.grant("a", 9) == [0, 1]
                assert shards.lost("a") == []
            assert shards.grant("a", 9) == half
            if half == [1]:
                assert shards.done("a", 1)
                return
            assert shards.lost("a") == []


def test_three_deaths_alone_convict() -> None:
    shards = Shards()
    shards.add([7])
    shards.grant("a", 1)
    assert shards.lost("a") == []  # it was not known then that it was alone
    for death in range(1, MAX_DEATHS + 1):
        assert shards.grant(f"engine-{death}", 5) == [7]
        assert shards.lost(f"engine-{death}") == ([7] if death == MAX_DEATHS else [])
    assert len(shards) == 0


def test_suspects_run_without_others_and_last() -> None:
    shards = Shards()
    shards.add(range(4))
    assert shards.grant("a", 4) == [0, 1, 2, 3]
    shards.lost("a")
    shards.add([4])
    assert shards.grant("b", 4) == [4]  # fresh ones first
    assert shards.grant("b", 4) == []  # it has one
    assert shards.grant("a", 1) == [0, 1]  # half of them, however little room there is
    shards.add([5])
    assert shards.grant("a", 9) == []  # they stay alone
    assert [shards.done("a", index) for index in (0, 1, 1)] == [True, True, False]
    assert shards.grant("a", 9) == [5]
    assert (shards.suspects, shards.held("a"), shards.held("b"), len(shards)) == (2, 1, 1, 4)


@pytest.mark.parametrize("room", [0, -3])
def test_nothing_is_granted_without_room(room: int) -> None:
    shards = Shards()
    shards.add([1])
    assert shards.grant("a", room) == []
    shards.grant("a", 1)
    shards.lost("a")
    assert shards.grant("b", room) == []
