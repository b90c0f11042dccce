"""Stages: what each stage of a half's clips adds to what the stages before it have computed.

Comes in: the clip plan of a video, and how many of its clips are run after each stage. Goes out:
`Stage`, tables of ids as `engine.network.contexts` has them. All stages are known from the start,
so of what a stage computes only that is kept which a later one reads. Pure, and cached as contexts
are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.network.contexts import PADDING, Contexts, Ids, Level, contexts
from engine.network.increments import IdsToSlots, slot_id
from engine.skeletons.sampling import distinct


@dataclass(frozen=True, eq=False)
class Stage:
    """What a stage adds.

    `frames`: which of the distinct frames are drawn, ascending. `contexts`: of the clips that are
    new; an id of `slot_id(n)` is what slot n of that level holds, and `inverse` says which of the
    half's distinct clips they are. `kept`: for each level, the first that of the frames, ids and
    the slots that they go to.
    """

    frames: NDArray[np.int64]
    contexts: Contexts
    kept: tuple[IdsToSlots, ...]


@dataclass(frozen=True, eq=False)
class Stages:
    """Of a half. `distinct`: how many of its clips are; `inverse`: which of them each clip is.
    `stages`: one each, None where it has no clip that is new. `slots`: of each level."""

    distinct: int
    inverse: Ids
    stages: tuple[Stage | None, ...]
    slots: tuple[int, ...]


def stages(plan: Ids, strides: tuple[int, ...], ends: tuple[int, ...]) -> Stages:
    """The stages of a half: after stage s the first ``ends[s]`` of the clips of `plan`, int32
    [clips, length], are complete. Cached."""
    return _stages(plan.tobytes(), plan.shape[1], strides, ends)


def separate_stages(plan: Ids, strides: tuple[int, ...], ends: tuple[int, ...]) -> Stages:
    """As `stages`, but nothing is kept: each stage computes all that its own clips need."""
    whole = contexts(plan, strides)
    found: list[Stage | None] = []
    done = 0
    for end in ends:
        new = np.setdiff1d(whole.inverse[done:end], whole.inverse[:done])
        found.append(_separate(plan, whole, new, strides) if len(new) else None)
        done = end
    return Stages(len(whole.clips), whole.inverse, tuple(found), (0,) * (len(strides) + 1))


def _separate(plan: Ids, whole: Contexts, clips: Ids, strides: tuple[int, ...]) -> Stage:
    firsts = [int(np.argmax(whole.inverse == clip)) for clip in clips]
    frames, positions = distinct(plan[firsts])
    own = contexts(positions, strides)
    which = np.empty(len(clips), np.int32)
    which[own.inverse] = clips
    return Stage(frames.astype(np.int64), replace(own, inverse=which), ())


@lru_cache(maxsize=1024)
def _stages(plan: bytes, length: int, strides: tuple[int, ...], ends: tuple[int, ...]) -> Stages:
    whole = contexts(np.frombuffer(plan, np.int32).reshape(-1, length), strides)
    never = len(ends)
    clips = np.full(len(whole.clips), never)
    for stage in reversed(range(never)):
        clips[whole.inverse[: ends[stage]]] = stage
    # when each id is first wanted, from the clips down to the frames, and when it is last read
    tables = [*(level.sources for level in whole.levels), whole.clips]
    when, read = [clips], [clips]
    for table, below in zip(
        reversed(tables), [*(len(t) for t in reversed(tables[:-1])), whole.frames], strict=True
    ):
        first, last = np.full(below + 1, never), np.full(below + 1, -1)
        above = np.broadcast_to(when[0][:, None], table.shape)
        np.minimum.at(first, table, above)  # `PADDING` is the last one
        np.maximum.at(last, table, np.where(above < never, above, -1))
        when.insert(0, first[:-1])
        read.insert(0, last[:-1])
    slots, counts = [], []
    for first, last in zip(when[:-1], read[:-1], strict=True):
        kept = np.flatnonzero(last > first)
        slot = np.full(len(first), -1)
        slot[kept[np.argsort(first[kept], kind="stable")]] = np.arange(len(kept))
        slots.append(slot)
        counts.append(len(kept))
    found = tuple(_stage(number, whole, when, slots) for number in range(never))
    return Stages(len(whole.clips), whole.inverse, found, tuple(counts))


def _stage(
    number: int, whole: Contexts, when: list[NDArray[Any]], slots: list[NDArray[Any]]
) -> Stage | None:
    clips = np.flatnonzero(when[-1] == number)
    if not len(clips):
        return None
    levels: list[Level] = []
    kept: list[IdsToSlots] = []
    below = np.zeros(0, int)
    for depth, (first, slot) in enumerate(zip(when[:-1], slots, strict=True)):
        new = np.flatnonzero(first == number)
        own = np.append(slot_id(slot), PADDING)
        own[new] = np.arange(len(new))
        if depth:
            level = whole.levels[depth - 1]
            both, middle = np.searchsorted(new, [level.both, level.both + level.middle])
            table = below[level.sources[new]]
            levels.append(Level(_int32(table), int(both), int(middle - both)))
        rows = np.flatnonzero(slot[new] >= 0)
        kept.append((rows, slot[new][rows]))
        below = own
    added = Contexts(
        int((when[0] == number).sum()),
        tuple(levels),
        _int32(below[whole.clips[clips]]),
        _int32(clips),
    )
    return Stage(np.flatnonzero(when[0] == number), added, tuple(kept))


def _int32(array: NDArray[Any]) -> Ids:
    return np.ascontiguousarray(array, np.int32)
