"""Increments: what is known of a track already, so that of its next window only what is new is
computed.

Comes in: where a window of a track begins. Goes out: `Increment`, tables of ids as
`engine.network.contexts` has them, with the places of what is kept.

Windows that begin at multiples of the network's temporal stride have their inner
contexts in common: what a layer computes at a moment, far enough from the window's ends, depends
on the moments around it alone. Near the ends it depends on the padding there, too, so that each
window has contexts of its own at both. Of the inner ones those are kept that windows to come will
read if they follow each other in steps: all of the last level, few of the others. What turns out
to be missing is computed again. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.network.contexts import PADDING, Contexts, Ids, Level

_NOTHING = np.iinfo(np.int64).min  # in a slot

IdsToSlots = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Increment:
    """What a window adds.

    `frames`: which of its moments are computed, ascending. `contexts`: with ids of what is
    computed; an id of `slot_id(n)` is what slot n of the ring of that level holds. `kept`: for each
    level, the first that of the frames, ids and the slots that they go to. `numbers`: what those
    slots hold then.
    """

    frames: NDArray[np.int64]
    contexts: Contexts
    kept: tuple[IdsToSlots, ...]
    numbers: tuple[NDArray[np.int64], ...]


def slot_id(slot: Any) -> Any:
    """The id of what a slot holds; its own inverse."""
    return PADDING - 1 - slot


class Ring:
    """A ring buffer: which contexts of one track are kept. For each level as many slots as a
    window has positions there, each for every so many-th moment. `length`: moments of a window;
    `strides`: of the temporal convolutions."""

    def __init__(self, length: int, strides: Sequence[int]) -> None:
        self._length, self._strides = length, tuple(strides)
        scales = np.cumprod([1, *strides])
        self._scales = [int(scale) for scale in scales]
        self._held = [np.full(length, _NOTHING) for length in lengths(length, strides)]

    def increment(self, first: int, step: int | None) -> Increment:
        """What is missing of the window that begins with moment `first`, a multiple of all
        strides together; others follow in such steps. None: everything inside is kept."""
        held, numbers = [], []
        inner = range(self._length)
        for level, have in enumerate(self._held):
            if level:
                stride = self._strides[level - 1]
                inner = range(-(-(inner.start + 1) // stride), (inner.stop - 2) // stride + 1)
            number = first // self._scales[level] + np.arange(len(have))
            numbers.append(number)
            known = have[number % len(have)] == number
            inside = np.zeros(len(have), bool)
            inside[inner.start : inner.stop] = True
            held.append((known & inside, inside))
        if step is not None:  # of what is inside, what windows to come will read
            for level, relative in enumerate(_read(self._length, self._strides, step)):
                scale = self._scales[level]
                ahead = (numbers[level][:, None] - relative) * scale - first
                read = ((ahead > 0) & (ahead % step == 0)).any(axis=1)
                known, inside = held[level]
                held[level] = known, inside & read
        return self._tables(held, numbers)

    def expire(self, first: int) -> list[NDArray[np.int64]]:
        """No window begins before that moment any more. Returns the slots, by level, that hold
        nothing now and did."""
        found = []
        for have, scale in zip(self._held, self._scales, strict=True):
            slots = np.flatnonzero((have < first // scale) & (have != _NOTHING))
            have[slots] = _NOTHING
            found.append(slots)
        return found

    def keep(self, increment: Increment) -> None:
        """The increment has been computed, and what is kept of it is in its slots."""
        for have, (_, slots), numbers in zip(
            self._held, increment.kept, increment.numbers, strict=True
        ):
            have[slots] = numbers

    def _tables(self, held: list[tuple[Any, Any]], numbers: list[NDArray[Any]]) -> Increment:
        """From the last level, all of which is wanted, down to the frames."""
        wanted = np.ones(len(self._held[-1]), bool)
        computed: list[NDArray[np.int64]] = []
        for level in reversed(range(len(self._held))):
            computed.insert(0, np.flatnonzero(wanted & ~held[level][0]))
            if level:
                around = _around(computed[0], self._strides[level - 1])
                below = len(self._held[level - 1])
                wanted = np.zeros(below, bool)
                wanted[around[(around >= 0) & (around < below)]] = True
        ids: list[NDArray[np.int64]] = []
        levels: list[Level] = []
        for level, positions in enumerate(computed):
            strided = self._strides[level : level + 1] > (1,)
            if level and strided:  # the even ones are only ever in the middle of the next one
                positions = positions[np.argsort(positions % 2, kind="stable")]
            slots = numbers[level] % len(numbers[level])
            own = slot_id(slots)
            own[positions] = np.arange(len(positions))
            if level:
                sources = np.pad(ids[-1], 1, constant_values=PADDING)
                table = sources[_around(positions, self._strides[level - 1]) + 1]
                both = 0 if strided else len(positions)
                middle = int((positions % 2 == 0).sum()) if strided else 0
                levels.append(Level(_int32(table), both, middle))
            ids.append(own)
            computed[level] = positions
        kept: list[IdsToSlots] = []
        stored = []
        for level, positions in enumerate(computed):
            rows = np.flatnonzero(held[level][1][positions])
            number = numbers[level][positions[rows]]
            kept.append((rows, number % len(numbers[level])))
            stored.append(number)
        clips = _int32(ids[-1][None])
        whole = Contexts(len(computed[0]), tuple(levels), clips, np.zeros(1, np.int32))
        return Increment(computed[0], whole, tuple(kept), tuple(stored))


@lru_cache(maxsize=64)
def _read(length: int, strides: tuple[int, ...], step: int) -> tuple[NDArray[np.int64], ...]:
    """For each level the positions of a window, from its first, whose contexts it reads from the
    ring, where the window a step before it has left everything there."""
    ring = Ring(length, strides)
    ring.keep(ring.increment(0, None))
    found = ring.increment(step, None)
    read = []
    for level, positions in enumerate(lengths(length, strides)):
        last = level == len(strides)
        ids = found.contexts.clips if last else found.contexts.levels[level].sources
        slots = np.unique(slot_id(ids[ids < PADDING]))
        read.append((slots - step // ring._scales[level]) % positions)
    return tuple(read)


def lengths(length: int, strides: Sequence[int]) -> list[int]:
    """Positions of a window at each level, the first that of the frames."""
    return [length // int(scale) for scale in np.cumprod([1, *strides])]


def _around(positions: NDArray[np.int64], stride: int) -> NDArray[np.int64]:
    """The three positions below that a context is of."""
    found: NDArray[np.int64] = stride * positions[:, None] + np.array([-1, 0, 1])
    return found


def _int32(array: NDArray[Any]) -> Ids:
    return np.ascontiguousarray(array, np.int32)
