"""Promise 1, without processes: one record each, whatever order messages come in, whatever is
lost, repeated or said twice."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.constants import VIEWS
from engine.base.errors import WireError
from engine.base.recipe import HMDB51_RECIPE
from engine.base.records import Cause, Failure, Record
from engine.runtime.aggregator import Aggregator
from engine.runtime.scheduler import Listed, Scheduler
from engine.runtime.transport.messages import (
    Decoding,
    Failed,
    OfLease,
    Queued,
    Result,
    Running,
    Sent,
    WorkerSettings,
)
from engine.skeletons.samples import Sample
from tests.support.samples import annotation

CLASSES = 51
ANNOTATIONS = [annotation(5 + i, seed=i) for i in range(12)]


def scheduler(count: int, budget: int) -> Scheduler:
    samples = [Sample(i, f"s{i}", ANNOTATIONS[i % len(ANNOTATIONS)]) for i in range(count)]
    if count > 3:
        samples[3] = Sample(3, "s3", {"junk": 1})
    about = WorkerSettings(HMDB51_RECIPE, "frames")
    made = Scheduler(Listed(samples), CLASSES, Aggregator(), about, b"s", budget=budget)
    made.table.ahead = 6
    return made


def said_of(lease: int) -> list[OfLease]:
    """What a sample's holders say of it, in order."""
    logits = np.full((VIEWS, CLASSES), 1.0, np.float32)
    return [
        Decoding(lease),
        Sent(lease, 0.1, 5),
        Queued(lease),
        Running((lease,)),
        Result(lease, 0.1, 0, logits),
    ]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.floats(0, 0.3),
    st.floats(0, 0.2),
)
def test_one_record_each(
    seed: int, count: int, lost: float, repeated: float, failing: float, dying: float
) -> None:
    """Messages arrive in any order, some twice, some never; holders die or fall silent."""
    rng = random.Random(seed)
    plan = scheduler(count, rng.choice([1, 10**6, 10**9]))
    workers, executors = ["w0.1", "w1.1"], ["e0.1"]
    on_the_way: list[tuple[str, OfLease]] = []
    records: list[Record] = []
    deaths = 0
    for now in range(30_000):
        records += plan.refill()
        if not len(plan.table):
            break
        granted = plan.grant(now, workers, executors)
        if granted is not None:
            worker, grant = granted
            about = said_of(grant.lease)
            if rng.random() < failing:
                about[1:] = [Failed(grant.lease, Cause("decode", "X", "m"))]
            for index, said in enumerate(about):
                by = worker if index < 2 else grant.executor
                if rng.random() >= lost:
                    on_the_way.append((by, said))
                if rng.random() < repeated:
                    on_the_way.append((by, said))
        elif on_the_way:
            position = rng.randrange(len(on_the_way))
            found = plan.hear(*on_the_way.pop(position), now)
            records += [found] if found is not None else []
        dead = [name for name in plan.table.silent(now, 50, 50) if name in workers + executors]
        if rng.random() < dying and deaths < 20:
            dead.append(rng.choice(workers + executors))
        for name in dict.fromkeys(dead):
            deaths += 1
            records += plan.lost(name, "worker" if name in workers else "executor", now)
            slot, _, incarnation = name.rpartition(".")
            for names in (workers, executors):
                names[:] = [f"{slot}.{int(incarnation) + 1}" if n == name else n for n in names]
    assert Counter(record.index for record in records) == Counter(range(count))
    assert plan.table.bytes_in_flight == 0


def test_a_result_of_another_shape_leaves_the_lease() -> None:
    """Its sender is then silent for too long, or says it properly."""
    plan = scheduler(1, 10**9)
    list(plan.refill())
    granted = plan.grant(0, ["w0.1"], ["e0.1"])
    assert granted is not None
    number = granted[1].lease
    for shape in ((VIEWS, 3), (VIEWS + 1, CLASSES), (0, 0)):
        with pytest.raises(WireError, match="logits (is|of)"):
            plan.hear("e0.1", Result(number, 0.1, 0, np.zeros(shape, np.float32)), 1)
        assert len(plan.table.leases) == 1
    nan = Result(number, 0.1, 0, np.full((VIEWS, CLASSES), np.nan, np.float32))
    found = plan.hear("e0.1", nan, 1)
    assert isinstance(found, Failure)
    assert found.stage == "score"


def test_others_leases_are_not_to_be_spoken_of() -> None:
    plan = scheduler(2, 10**9)
    list(plan.refill())
    granted = plan.grant(0, ["w0.1"], ["e0.1"])
    assert granted is not None
    number = granted[1].lease
    for said in said_of(number):
        assert plan.hear("w9.1", said, 1) is None
    assert plan.table.leases[0].stage == 0
