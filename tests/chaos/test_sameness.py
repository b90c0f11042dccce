"""Promise 9: the same bits, however the work is cut up; nearly the same across backends."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from engine.base.records import Prediction, Record
from engine.network.agreement import Agreement, Point, table_path
from engine.network.models import open_model
from engine.pipeline import Pipeline
from tests.support.decided import decided_model
from tests.support.kills import disturbed
from tests.support.runs import alone, check, options
from tests.support.samples import annotation

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, 12))]


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 samples, all of them usable."""
    path = tmp_path_factory.mktemp("data") / "some.pkl"
    path.write_bytes(pickle.dumps([annotation(5 + i % 60, seed=i) for i in range(100)]))
    return path


@pytest.fixture(scope="module")
def plain(some: Path, tiny_model: Path) -> dict[str, Record]:
    """Their records, without processes."""
    return alone(options(some, tiny_model, in_process=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_the_setting(
    some: Path, tiny_model: Path, plain: dict[str, Record], tmp_path: Path, seed: int
) -> None:
    """Workers, batch, waiting, wire, memory, order of the data and kills, drawn at random."""
    rng = random.Random(seed)
    annotations = pickle.loads(some.read_bytes())
    rng.shuffle(annotations)
    path = tmp_path / "shuffled.pkl"
    path.write_bytes(pickle.dumps(annotations))
    chosen = options(
        path,
        tiny_model,
        workers=rng.randint(1, 4),
        max_batch=rng.choice([1, 2, 3, 4, 7, 16]),
        max_wait_ms=rng.choice([0.0, 5.0, 50.0]),
        wire=rng.choice(["frames", "keypoints"]),
        max_memory=rng.choice([10**6, 10**8, None]),
        threads=rng.choice([1, 2, 3]),
    )
    records, _ = disturbed(chosen, ["worker", "executor"], rng.randint(0, 4), seed, (0.05, 0.5))
    assert len(records) == len(plain)
    for record in records:
        other = plain[record.id]
        assert isinstance(record, Prediction)
        assert isinstance(other, Prediction)
        np.testing.assert_array_equal(record.logits, other.logits)


def test_fewer_clips_whatever_the_setting(some: Path, tmp_path: Path) -> None:
    """As many clips of each sample, and their bits, with processes that die as without any."""
    model = decided_model(tmp_path, some)
    points = (Point(0.5, 1.0, 5.0),)
    opened = open_model(str(model))
    made = Agreement(points, 1000, "any", opened.sha256)
    table_path(str(model), opened).write_bytes(orjson.dumps(made.to_json()))
    plain = alone(options(some, model, in_process=True, clips="adaptive"))
    chosen = options(some, model, workers=2, max_batch=7, wire="keypoints", clips="adaptive")
    records, _ = disturbed(chosen, ["worker", "executor"], 3, 1, (0.05, 0.5))
    assert len(records) == len(plain)
    counts = set()
    for record in records:
        other = plain[record.id]
        assert isinstance(record, Prediction)
        assert isinstance(other, Prediction)
        np.testing.assert_array_equal(record.logits, other.logits)
        counts.add(record.clips)
    assert len(counts) > 3


@pytest.mark.parametrize("batch", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("wire", [pytest.param("clips", marks=pytest.mark.full), "frames"])
def test_layout_clips(
    data: Path, tiny_model: Path, expected_of: Any, wire: Any, batch: int
) -> None:
    chosen = options(
        data, tiny_model, layout="clips", wire=wire, max_batch=batch, workers=2, limit=5
    )
    with Pipeline(chosen) as pipeline:
        check(list(pipeline), expected_of("clips", 5))


def compare(ours: dict[str, Record], theirs: dict[str, Record], top: int = 5) -> int:
    """Scores within 1e-5; the first classes equal where neighbouring scores differ by more
    than 2e-5. Returns how many places were compared."""
    compared = 0
    assert ours.keys() == theirs.keys()
    for name, a in ours.items():
        b = theirs[name]
        if not isinstance(a, Prediction):
            assert a == b
            continue
        assert isinstance(b, Prediction)
        np.testing.assert_allclose(a.scores, b.scores, rtol=0, atol=1e-5)
        order = np.argsort(-a.scores, kind="stable")[: top + 1]
        gaps = -np.diff(a.scores[order])
        for place in range(top):
            apart = gaps[place] > 2e-5 and (place == 0 or gaps[place - 1] > 2e-5)
            if apart:
                assert order[place] == np.argsort(-b.scores, kind="stable")[place]
                compared += 1
    return compared


@pytest.mark.parametrize("layout", ["shared", pytest.param("clips", marks=pytest.mark.full)])
def test_across_backends(data: Path, tiny_model: Path, layout: Any) -> None:
    pytest.importorskip("onnxruntime")
    found = []
    for backend in ("openvino", "onnxruntime"):
        chosen = options(data, tiny_model, workers=1, backend=backend, layout=layout)
        with Pipeline(chosen) as pipeline:
            found.append({record.id: record for record in pipeline})
    assert compare(*found) > 30


@pytest.mark.full
def test_across_backends_on_real_data(shared: Path) -> None:
    pytest.importorskip("onnxruntime")
    found = []
    for backend in ("openvino", "onnxruntime"):
        chosen = options(
            shared / "data" / "jhmdb_hmdb51_2d.pkl",
            shared / "models" / "posec3d_jhmdb_split1.pth",
            workers=1,
            backend=backend,
            limit=40,
        )
        with Pipeline(chosen) as pipeline:
            found.append({record.id: record for record in pipeline})
    assert compare(*found) > 150


def test_the_comparison_finds_differences() -> None:
    """It is no rubber stamp."""
    scores = np.array([0.5, 0.3, 0.1, 0.05, 0.03, 0.02], np.float32)

    def record(values: Any) -> dict[str, Record]:
        return {"a": Prediction(0, "a", None, np.zeros((0, 6), np.float32), values)}

    assert compare(record(scores), record(scores)) == 5
    with pytest.raises(AssertionError):
        compare(record(scores), record(scores + np.float32(2e-5)))
