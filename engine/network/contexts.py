"""Contexts: which positions of the ten clips are the same to the network, layer by layer.

Comes in: the clip plan of a video. Goes out: `Contexts`, tables of ids. What a layer computes at a
position of a clip depends on the frames around it alone, and the clips of one video overlap: every
distinct context is computed once. Contexts stand in the order in which the clips first have them,
so that runs of them read rows below that follow each other, too.

Pure, and depends on the plan only, which depends on the number of frames only: cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
PADDING = -1  # the id of what lies before the first and behind the last position of a clip


@dataclass(frozen=True, eq=False)
class Level:
    """The distinct contexts of one temporal convolution.

    `sources`: int32 [n, 3], for each context the ids, in the level below, of the previous
    position, this one and the next; `PADDING` beyond a clip's ends. `both`, `middle`: where
    the next convolution strides over time, some contexts are only ever its middle position and
    some only ever beside it; the first `both` are either, then come `middle`, then the others.
    """

    sources: Ids
    both: int
    middle: int

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def uses(self) -> tuple[int, int, int]:
        """How many contexts are of each use: both, middle only, beside only."""
        return self.both, self.middle, len(self) - self.both - self.middle


@dataclass(frozen=True, eq=False)
class Contexts:
    """All levels of a video.

    `frames`: how many distinct frames it has; their ids are those of the plan.
    `levels`: one for each temporal convolution, in order.
    `clips`: int32 [distinct clips, positions], ids in the last level.
    `inverse`: int32 [10], which of `clips` each of the ten is.
    """

    frames: int
    levels: tuple[Level, ...]
    clips: Ids
    inverse: Ids

    @property
    def rows(self) -> tuple[int, ...]:
        """How many frames and, level by level, contexts it has."""
        return self.frames, *map(len, self.levels)


def contexts(plan: Ids, strides: tuple[int, ...]) -> Contexts:
    """`of_plan`, cached."""
    return _contexts(plan.tobytes(), plan.shape[1], strides)


@lru_cache(maxsize=1024)
def _contexts(plan: bytes, length: int, strides: tuple[int, ...]) -> Contexts:
    return of_plan(np.frombuffer(plan, np.int32).reshape(-1, length), strides)


def of_plan(positions: Ids, strides: Sequence[int]) -> Contexts:
    """The contexts of clips given by the ids of their frames, int [clips, length], for
    temporal convolutions of these strides."""
    ids: NDArray[Any] = positions
    tables: list[NDArray[Any]] = []
    firsts: list[NDArray[Any]] = []  # of each context, where clips first have it
    for number, stride in enumerate(strides):
        clips, length = ids.shape
        padded = np.full((clips, length + 2), PADDING, np.int64)
        padded[:, 1:-1] = ids
        first = np.arange(clips)[:, None] * (length + 2) + np.arange(0, length, stride)
        around = padded.reshape(-1)[first.reshape(-1, 1) + np.arange(3)]
        # one number for each triple: much faster than to compare rows
        base = int(ids.max()) + 2
        keys = (around - PADDING) @ np.array([base * base, base, 1])
        _, chosen, inverse = np.unique(keys, return_index=True, return_inverse=True)
        ids = inverse.reshape(first.shape)
        tables.append(around[chosen])
        # What the strides to come take together stands together.
        apart = np.arange(first.shape[1]) % prod(strides[number + 1 :])
        turns = np.tile(apart, clips) * ids.size + np.arange(ids.size)
        firsts.append(np.full(len(chosen), turns.max()))
        np.minimum.at(firsts[-1], inverse.reshape(-1), turns)
    distinct, inverse = np.unique(ids, axis=0, return_inverse=True)
    levels: list[Level] = []
    for number, table in enumerate(tables):
        above = tables[number + 1] if number + 1 < len(tables) else distinct
        use = np.zeros(len(table), int)
        if above is not distinct:
            in_middle, beside = np.zeros((2, len(table) + 1), bool)  # `PADDING` is the last one
            in_middle[above[:, 1]] = beside[above[:, ::2]] = True
            use = np.where(beside, np.where(in_middle, 0, 2), 1)[:-1]
        order = np.lexsort((firsts[number], use))
        rank = np.full(len(table) + 1, PADDING)
        rank[order] = np.arange(len(table))
        above[:] = rank[above]
        both, middle, _ = np.bincount(use, minlength=3).tolist()
        levels.append(Level(_frozen(table[order]), both, middle))
    frozen_clips, frozen_inverse = _frozen(distinct), _frozen(inverse.reshape(-1))
    return Contexts(int(positions.max()) + 1, tuple(levels), frozen_clips, frozen_inverse)


def moved(ids: Sequence[Ids], begins: NDArray[np.integer[Any]]) -> Ids:
    """Ids of several halves, each counted from where its rows begin; `PADDING` stays."""
    joined = np.concatenate(ids)
    rows = np.repeat(begins.astype(np.int32), [len(one) for one in ids])
    return np.where(joined == PADDING, joined, joined + rows[:, None])


def _frozen(array: NDArray[Any]) -> Ids:
    """The array as ids that nobody can change: tables are shared."""
    ids = array.astype(np.int32)
    ids.flags.writeable = False
    return ids
