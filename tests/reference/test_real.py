"""Real annotations and a real trained network, against the recorded logits.

A few samples in every run, more in ``.ci/run``; the whole test split on both backends
with ``-m full``.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import onnx2om
from engine.base.options import Options
from engine.base.records import Prediction
from engine.outputs.accuracy import mean_class_accuracy, top_k_accuracy
from engine.pipeline import Pipeline
from tests.support import ROOT
from tests.support.samples import annotation

BACKENDS = ["openvino", "onnxruntime"]


JHMDB = "data/jhmdb_hmdb51_2d.pkl"


def score(shared: Path, dataset: str | Path = JHMDB, **options: Any) -> list[Prediction]:
    """Predictions in the order of the data set, a path within `shared` or elsewhere."""
    options.setdefault("model", str(shared / "models" / "posec3d_jhmdb_split1.pth"))
    chosen = Options(dataset=str(shared / dataset), **options)
    with Pipeline(chosen) as pipeline:
        records = sorted(pipeline, key=lambda record: record.index)
    predictions = [r for r in records if isinstance(r, Prediction)]
    assert len(predictions) == len(records)
    return predictions


def recorded(shared: Path) -> dict[str, Any]:
    with np.load(shared / "models" / "posec3d_jhmdb_split1.logits.npz") as archive:
        return dict(archive)


def check(predictions: Sequence[Prediction], expected: dict[str, Any]) -> None:
    """In the order of the annotations, which is that of the split here."""
    for row, prediction in enumerate(predictions):
        assert prediction.id == expected["frame_dir"][row]
        assert prediction.label == expected["label"][row]
        np.testing.assert_allclose(prediction.logits, expected["logits"][row], rtol=0, atol=1e-3)
        np.testing.assert_allclose(prediction.scores, expected["scores"][row], rtol=0, atol=1e-4)


@pytest.mark.parametrize("layout", ["shared", pytest.param("clips", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("backend", "limit"),
    [("openvino", 4), pytest.param("onnxruntime", 2, marks=pytest.mark.slow)],
)
def test_some_real_samples(shared: Path, backend: str, limit: int, layout: str) -> None:
    predictions = score(shared, backend=backend, limit=limit, layout=layout)
    assert len(predictions) == limit
    check(predictions, recorded(shared))


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("layout", ["shared", "clips"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_whole_test_split(shared: Path, backend: str, layout: str) -> None:
    predictions = score(shared, backend=backend, layout=layout)
    check(predictions, recorded(shared))
    check_accuracies(predictions)


def check_accuracies(predictions: Sequence[Prediction]) -> None:
    """Of the whole test split."""
    scores = np.array([p.scores for p in predictions])
    labels = [p.label for p in predictions if p.label is not None]
    assert len(labels) == len(predictions) == 176
    assert round(top_k_accuracy(scores, labels, 1), 4) == 0.8011
    assert round(top_k_accuracy(scores, labels, 5), 4) == 0.9886
    assert round(mean_class_accuracy(scores, labels), 4) == 0.7966


@pytest.fixture(params=["clips, gears", "clips, static", "frames and plan", "shared"])
def compiled(
    request: pytest.FixtureRequest,
    shared: Path,
    tmp_path: Path,
    stand_in: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The real network, compiled by a stand-in for atc, to be run by one for an NPU's runtime:
    the logits are real, the device is not."""
    stand_in("310p3")
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "doubles"))
    forms = {
        "clips, gears": (["--gears", "1,2,4,8"], "net_dyn.om"),
        "clips, static": (["--batch", "1,4"], "net_bs4.om,net_bs1.om"),
        "frames and plan": (
            ["--layout", "frames", "--unique", "32,64"],
            "net_frames_u32.om,net_frames_u64.om",
        ),
        "shared": (
            ["--layout", "shared", "--unique", "32,48"],
            "net_shared_u32.om,net_shared_u48.om",
        ),
    }
    arguments, names = forms[request.param]
    model = shared / "models" / "posec3d_jhmdb_split1.pth"
    assert onnx2om.main([str(model), "--output", str(tmp_path / "net"), *arguments]) == 0
    return ",".join(str(tmp_path / name) for name in names.split(","))


@pytest.mark.slow
def test_some_real_samples_as_on_an_npu(shared: Path, compiled: str) -> None:
    check(score(shared, model=compiled, limit=2), recorded(shared))


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_the_whole_test_split_as_on_an_npu(shared: Path, compiled: str) -> None:
    predictions = score(shared, model=compiled)
    check(predictions, recorded(shared))
    check_accuracies(predictions)
    agree(predictions, score(shared, backend="openvino", layout="clips"))


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("compiled", ["shared"], indirect=True)
def test_the_whole_test_split_by_pyacl(shared: Path, compiled: str) -> None:
    predictions = score(shared, model=compiled, backend="pyacl")
    check(predictions, recorded(shared))
    check_accuracies(predictions)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("which", ["golden/annotations.pkl", "data/real_excerpts.pkl"])
def test_one_graph_agrees(shared: Path, tmp_path: Path, which: str, backend: str) -> None:
    """Static files of the sizes that are made by default, with whole clips."""
    model = str(shared / "models" / "posec3d_jhmdb_split1.pth")
    about = ["--layout", "shared", "--onnx", "--output", str(tmp_path / "net")]
    assert onnx2om.main([model, *about]) == 0
    files = ",".join(map(str, sorted(tmp_path.glob("net_shared_u*.onnx"))))
    agree(score(shared, which, model=files, backend=backend), score(shared, which, layout="clips"))


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("which", ["golden/annotations.pkl", "data/real_excerpts.pkl", JHMDB, ""])
def test_layouts_agree(shared: Path, tmp_path: Path, which: str) -> None:
    """Golden and real samples, and every length from 1 to 300 frames."""
    dataset: str | Path = which
    if not which:
        dataset = tmp_path / "lengths.pkl"
        dataset.write_bytes(pickle.dumps([annotation(n, seed=n) for n in range(1, 301)]))
    agree(score(shared, dataset, layout="shared"), score(shared, dataset, layout="clips"))


def agree(predictions: Sequence[Prediction], expected: Sequence[Prediction]) -> None:
    for found, whole in zip(predictions, expected, strict=True):
        assert found.id == whole.id
        error = np.abs(found.logits - whole.logits).max() / np.abs(whole.logits).max()
        assert error <= 1e-5, f"{found.id}: {error}"


_IN_PROCESS: dict[tuple[str, str], list[Prediction]] = {}


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("precision", ["bf16", "f32"])
@pytest.mark.parametrize(
    ("wire", "layout"),
    [("frames", "shared"), ("keypoints", "shared"), ("frames", "clips"), ("clips", "clips")],
)
@pytest.mark.parametrize("max_batch", [1, 3, 8])
@pytest.mark.parametrize("workers", [1, 3])
def test_streaming_equals_in_process(
    shared: Path, workers: int, max_batch: int, wire: str, layout: str, precision: str
) -> None:
    """All 176 samples, bit for bit."""
    base = {"precision": precision, "layout": layout}
    if (precision, layout) not in _IN_PROCESS:
        _IN_PROCESS[precision, layout] = score(shared, in_process=True, **base)
    found = score(shared, workers=workers, max_batch=max_batch, wire=wire, **base)
    assert len(found) == 176
    for a, b in zip(found, _IN_PROCESS[precision, layout], strict=True):
        assert a.id == b.id
        np.testing.assert_array_equal(a.logits, b.logits)
        np.testing.assert_array_equal(a.scores, b.scores)
