"""What has been counted of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.notes import fields_of, notes_of, spelt
from engine.base.records import Failure, Prediction, Record
from engine.live.labels import Label
from engine.outputs.journal import record_json
from engine.outputs.totals import END_TO_END, LabelTotals, Latencies, SampleTotals


def prediction(index: int, label: int | None, best: int, **ms: float) -> Prediction:
    scores = np.full(5, 0.1, np.float32)
    scores[best] = 0.6
    return Prediction(index, f"video {index}", label, np.ones((2, 5), np.float32), scores, ms)


def failure(index: int) -> Failure:
    return Failure(index, f"video {index}", 1, "read", "SampleError", "no")


def label(name: str | None, latency: float, **more: Any) -> Label:
    return Label("door", 1, 0.0, 0, 47, None, name, 0.5, None, latency, start=0.0, **more)


def test_samples() -> None:
    totals = SampleTotals(10.0)
    for second, record in enumerate(
        [prediction(0, 3, 3), failure(1), prediction(2, 3, 4), prediction(3, None, 0)], 1
    ):
        totals.add(record, 10.0 + 2 * second)
    assert (totals.done, totals.failed, totals.seconds) == (4, 1, 8.0)
    assert totals.rate == pytest.approx(3 / 8)
    assert totals.arrivals == [2.0, 6.0, 8.0]
    assert totals.answers == {(3, 3): 1, (3, 4): 1}
    assert (totals.labelled, totals.right) == (2, 1)
    assert [p.index for p in totals.predictions] == [0, 2, 3]
    assert [f.index for f in totals.failures] == [1]


def test_labels_of_other_classes_are_not_counted() -> None:
    totals = SampleTotals(0.0, [prediction(0, 1, 1)], comparable=False)
    totals.add(prediction(1, 1, 1), 1.0)
    assert [p.label for p in totals.predictions] == [None, None]
    assert (totals.done, totals.labelled, totals.right) == (2, 0, 0)


def test_what_was_resumed_is_done_but_is_no_work_of_this_run() -> None:
    totals = SampleTotals(0.0, [prediction(0, 1, 1), failure(1)])
    assert (totals.done, totals.failed, totals.resumed, totals.rate) == (2, 1, 2, 0.0)
    assert list(totals.scored) == []
    totals.add(prediction(2, 1, 2), 4.0)
    assert (totals.done, totals.rate, totals.right) == (3, 0.25, 1)
    assert [p.index for p in totals.scored] == [2]


def test_logits_are_kept_where_they_are_asked_for() -> None:
    for keep in (False, True):
        totals = SampleTotals(0.0, keep_logits=keep)
        totals.add(prediction(0, 1, 1), 1.0)
        [kept] = totals.predictions
        assert kept.logits.shape == ((2, 5) if keep else (0, 5))
        assert kept.logits.base is None


def test_notes_are_counted_by_kind() -> None:
    resumed = replace(prediction(7, 1, 1), notes=("empty",))
    totals = SampleTotals(0.0, [resumed])
    totals.add(replace(prediction(3, 1, 1), notes=("empty", "percent")), 1.0)
    totals.add(prediction(4, 1, 1), 2.0)
    found = totals.notes.to_json(totals.done)
    assert found == {
        "empty": {"count": 2, "first": "video 7"},
        "percent": {"count": 1, "first": "video 3"},
    }
    assert spelt(found, "sample") == [
        "2 samples: nobody is seen (first: video 7)",
        "1 sample: scores of joints run to 100, and are divided by it (first: video 3)",
    ]
    labels = LabelTotals(0.0)
    labels.add(label("wave", 1.0, notes=("normalised",)), 1.0)
    assert labels.notes.to_json(labels.done) == {"normalised": {"count": 1, "first": "door@47"}}


@given(st.lists(st.sampled_from(["empty", "normalised", "percent"]), unique=True))
def test_a_record_says_its_notes(notes: list[Any]) -> None:
    line = record_json(replace(prediction(3, 1, 1), notes=tuple(notes)), "abcde", 1)
    assert set(notes_of(line)) == set(notes)
    assert notes_of(orjson.loads(orjson.dumps(fields_of(notes)))) == notes_of(line)


def test_labels() -> None:
    totals = LabelTotals(1.0)
    for name, latency in (("wave", 10.0), (None, 20.0), ("wave", 30.0)):
        totals.add(label(name, latency, ms={"infer": latency / 2}), 2.0)
    totals.add(label(None, 40.0, error="why"), 3.0)
    totals.end(5.0)
    assert (totals.done, totals.failed, totals.rate) == (4, 1, 1.0)
    assert totals.names == {"wave": 2, "no action": 1}
    assert totals.latencies.of(END_TO_END) == [10.0, 20.0, 30.0, 40.0]
    assert totals.latencies.of("infer") == [5.0, 10.0, 15.0]


def test_latencies_are_of_the_latest() -> None:
    latencies = Latencies()
    for number in range(12_000):
        latencies.add({"infer": float(number)}, float(number))
    assert latencies.of("infer") == [float(number) for number in range(2000, 12_000)]
    assert [ms["infer"] for ms in latencies.since(11_997.0, 1)] == [11_999.0, 11_998.0, 11_997.0]
    assert len(latencies.since(20_000.0, 20)) == 20


@given(st.lists(st.tuples(st.booleans(), st.one_of(st.none(), st.integers(0, 4)))), st.integers(0))
def test_sums_agree(said: list[tuple[bool, int | None]], seed: int) -> None:
    """However many were resumed: what is counted is what is kept."""
    records: list[Record] = [
        prediction(n, answer, (n + seed) % 5) if ok else failure(n)
        for n, (ok, answer) in enumerate(said)
    ]
    before = seed % (len(records) + 1)
    totals = SampleTotals(0.0, records[:before])
    for number, record in enumerate(records[before:], 1):
        totals.add(record, float(number))
    assert totals.done == len(records) == len(totals.predictions) + totals.failed
    assert len(totals.scored) == len(totals.arrivals)
    expected = Counter(
        (p.label, int(p.scores.argmax())) for p in totals.predictions if p.label is not None
    )
    assert totals.answers == expected
