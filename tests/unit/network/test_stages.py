"""What stages compute: what all clips at once do, nothing twice, and of what is kept alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.recipe import HMDB51_RECIPE
from engine.network.contexts import PADDING, Contexts, contexts
from engine.network.increments import slot_id
from engine.network.stages import Stages, separate_stages, stages
from engine.skeletons.sampling import clip_plan

STRIDES = (1, 1, 1, 1, 2, 1, 1, 1, 1, 1)
ENDS = [(1, 1, 2, 3, 5, 7, 10), (0, 1, 2, 3, 5, 7, 10), (10,), (3,), (0, 4)]


def plan_of(frames: int) -> Any:
    return clip_plan(frames, HMDB51_RECIPE).positions


def derived(table: Contexts, frames: Any, kept: list[dict[int, Any]], store: Any = ()) -> list[Any]:
    """Each clip as how it comes about of its frames; `kept` by level and slot."""

    def value(id: int, below: list[Any], level: int) -> Any:
        if id == PADDING:
            return None
        return below[id] if id >= 0 else kept[level][slot_id(id)]

    values = [int(n) for n in frames]
    for number in range(len(table.levels) + 1):
        if store:
            ids, slots = store[number]
            for id, slot in zip(ids.tolist(), slots.tolist(), strict=True):
                assert slot not in kept[number]
                kept[number][slot] = values[id]
        if number < len(table.levels):
            below = values
            values = [
                hash((number, *(value(s, below, number) for s in sources)))
                for sources in table.levels[number].sources.tolist()
            ]
    last = len(table.levels)
    return [tuple(value(i, values, last) for i in clip) for clip in table.clips.tolist()]


def clips_of(found: Stages, end: int, ends: tuple[int, ...]) -> list[Any]:
    """The clips that are known after stage number `end`."""
    kept: list[dict[int, Any]] = [{} for _ in range(len(STRIDES) + 1)]
    known: dict[int, Any] = {}
    for stage in found.stages[: end + 1]:
        if stage is not None:
            clips = derived(stage.contexts, stage.frames, kept, stage.kept)
            for number, clip in zip(stage.contexts.inverse.tolist(), clips, strict=True):
                assert number not in known
                known[number] = clip
    assert all(len(slots) <= n for slots, n in zip(kept, found.slots, strict=True))
    return [known[number] for number in found.inverse[: ends[end]].tolist()]


@given(frames=st.integers(1, 500), ends=st.sampled_from(ENDS), separate=st.booleans())
def test_the_same_as_all_at_once(frames: int, ends: tuple[int, ...], separate: bool) -> None:
    plan = plan_of(frames)
    whole = contexts(plan, STRIDES)
    every = derived(whole, range(whole.frames), [{} for _ in range(len(STRIDES) + 1)])
    found = (separate_stages if separate else stages)(plan, STRIDES, ends)
    assert found.distinct == len(whole.clips)
    for number, end in enumerate(ends):
        expected = [every[clip] for clip in whole.inverse[:end].tolist()]
        assert clips_of(found, number, ends) == expected


@given(frames=st.integers(1, 500), ends=st.sampled_from(ENDS[:3]))
def test_nothing_twice(frames: int, ends: tuple[int, ...]) -> None:
    plan = plan_of(frames)
    whole = contexts(plan, STRIDES)
    added = [stage for stage in stages(plan, STRIDES, ends).stages if stage is not None]
    drawn = np.concatenate([stage.frames for stage in added])
    assert sorted(drawn.tolist()) == list(range(whole.frames))
    for number, level in enumerate(whole.levels):
        computed = [stage.contexts.levels[number] for stage in added]
        assert sum(map(len, computed)) == len(level)
        uses = np.array([one.uses for one in computed]).sum(axis=0)
        assert tuple(uses.tolist()) == level.uses


@pytest.mark.parametrize("frames", [5, 30, 80, 300])
def test_one_stage_is_what_contexts_are(frames: int) -> None:
    """To the last id: what runs all clips runs as it always did."""
    whole = contexts(plan_of(frames), STRIDES)
    [stage] = stages(plan_of(frames), STRIDES, (10,)).stages
    assert stage is not None
    for one, other in zip(stage.contexts.levels, whole.levels, strict=True):
        np.testing.assert_array_equal(one.sources, other.sources)
        assert one.uses == other.uses
    np.testing.assert_array_equal(stage.contexts.clips, whole.clips)
    assert not any(len(ids) for ids, _ in stage.kept)


def test_what_is_kept_fits() -> None:
    """A clip's worth of rows a level is a good measure for the memory that a half needs."""
    for frames in (15, 30, 80, 150, 300):
        slots = stages(plan_of(frames), STRIDES, ENDS[0]).slots
        assert max(slots) <= 3 * 48
