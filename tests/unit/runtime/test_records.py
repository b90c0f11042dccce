"""Promise 1, without processes: one record each, whatever order messages come in, whatever is
lost, repeated or said twice."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.constants import VIEWS
from engine.base.records import Failure, Record
from engine.runtime.aggregator import Aggregator
from engine.runtime.intake import Intake, Listed
from engine.runtime.scheduler import Ledger
from engine.runtime.transport.wire import Message
from engine.runtime.worker import WorkerSettings
from engine.skeletons.samples import Sample
from tests.support.samples import annotation

CLASSES = 51
ANNOTATIONS = [annotation(5 + i, seed=i) for i in range(12)]


def ledger(count: int, budget: int) -> Ledger:
    samples = [Sample(i, f"s{i}", ANNOTATIONS[i % len(ANNOTATIONS)]) for i in range(count)]
    if count > 3:
        samples[3] = Sample(3, "s3", {"junk": 1})
    aggregator = Aggregator()
    intake = Intake(Listed(samples), CLASSES, WorkerSettings("0.24.1", "frames"), aggregator)
    made = Ledger(intake, aggregator, CLASSES, b"s", budget=budget, views=VIEWS)
    made.table.ahead = 6
    return made


def said_of(lease: int) -> list[Message]:
    """What a sample's holders say of it, in order."""
    logits = np.full((VIEWS, CLASSES), 1.0, np.float32)
    return [
        Message("decoding", {"lease": lease}),
        Message("sent", {"lease": lease, "busy": 0.1, "bytes": 5}),
        Message("queued", {"lease": lease}),
        Message("running", {"leases": [lease]}),
        Message("result", {"lease": lease, "busy": 0.1, "padded": 0}, (logits,)),
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
    book = ledger(count, rng.choice([1, 10**6, 10**9]))
    workers, executors = ["w0.1", "w1.1"], ["e0.1"]
    on_the_way: list[tuple[str, Message]] = []
    records: list[Record] = []
    deaths = 0
    for now in range(30_000):
        records += book.refill()
        if not len(book.table):
            break
        granted = book.grant(now, workers, executors)
        if granted is not None:
            worker, message = granted
            about = said_of(message.fields["lease"])
            if rng.random() < failing:
                fields = {"stage": "decode", "type": "X", "message": "m"}
                about[1:] = [Message("failed", {**about[0].fields, **fields})]
            for index, said in enumerate(about):
                by = worker if index < 2 else message.fields["executor"]
                if rng.random() >= lost:
                    on_the_way.append((by, said))
                if rng.random() < repeated:
                    on_the_way.append((by, said))
        elif on_the_way:
            position = rng.randrange(len(on_the_way))
            found = book.hear(*on_the_way.pop(position), now)
            records += [found] if found is not None else []
        dead = [name for name in book.table.silent(now, 50, 50) if name in workers + executors]
        if rng.random() < dying and deaths < 20:
            dead.append(rng.choice(workers + executors))
        for name in dict.fromkeys(dead):
            deaths += 1
            records += book.lost(name, "worker" if name in workers else "executor", now)
            slot, _, incarnation = name.rpartition(".")
            for names in (workers, executors):
                names[:] = [f"{slot}.{int(incarnation) + 1}" if n == name else n for n in names]
    assert Counter(record.index for record in records) == Counter(range(count))
    assert book.table.bytes_in_flight == 0


@pytest.mark.parametrize(
    ("kind", "fields", "arrays"),
    [
        ("result", {}, ()),
        ("running", {"leases": 5}, ()),
        ("running", {"leases": [[1]]}, ()),
        ("failed", {"lease": {}}, ()),
        ("sent", {"lease": [1]}, ()),
    ],
)
def test_a_message_of_another_form_changes_nothing(kind: str, fields: Any, arrays: Any) -> None:
    book = ledger(2, 10**9)
    list(book.refill())
    assert book.grant(0, ["w0.1"], ["e0.1"]) is not None
    with pytest.raises((LookupError, TypeError, ValueError)):
        book.hear("w0.1", Message(kind, fields, arrays), 0)
    assert len(book.table.leases) == 1


def test_a_result_of_another_shape_leaves_the_lease(make_annotation: Any) -> None:
    """Its sender is then silent for too long, or says it properly."""
    book = ledger(1, 10**9)
    list(book.refill())
    granted = book.grant(0, ["w0.1"], ["e0.1"])
    assert granted is not None
    number = granted[1].fields["lease"]
    *_, result = said_of(number)
    for bad in (
        Message("result", result.fields, (np.zeros((VIEWS, 3), np.float32),)),
        Message("result", result.fields, ()),
        Message("result", {"lease": number, "busy": "x", "padded": 0}, result.arrays),
    ):
        with pytest.raises(Exception):  # noqa: B017, PT011  # the supervisor's business
            book.hear("e0.1", bad, 1)
        assert len(book.table.leases) == 1
    nan = Message("result", result.fields, (np.full((VIEWS, CLASSES), np.nan, np.float32),))
    found = book.hear("e0.1", nan, 1)
    assert isinstance(found, Failure)
    assert found.stage == "score"


def test_others_leases_are_not_to_be_spoken_of() -> None:
    book = ledger(2, 10**9)
    list(book.refill())
    granted = book.grant(0, ["w0.1"], ["e0.1"])
    assert granted is not None
    number = granted[1].fields["lease"]
    for message in said_of(number):
        assert book.hear("w9.1", message, 1) is None
    assert book.table.leases[0].stage == 0
