"""A class for pipelines of one's own: rows in, rows with scores out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.base.records import Failure, Prediction
from engine.pipeline import Pipeline
from engine.ray import Columns, Scorer
from engine.sources.dataset import open_dataset
from tests.support.runs import options


def columns(data: Path) -> Columns:
    """What Ray Data makes of rows: arrays of different shapes are objects in a column."""
    rows = [s.annotation for s in open_dataset(str(data)).samples if isinstance(s.annotation, dict)]
    found = {}
    for name in ("frame_dir", "keypoint", "keypoint_score", "img_shape", "total_frames"):
        found[name] = np.empty(len(rows), object)
        for place, row in enumerate(rows):
            found[name][place] = row[name]
    found["total_frames"] = found["total_frames"].astype(np.int64)
    found["img_shape"] = np.stack([np.array(shape) for shape in found["img_shape"]])
    return found


def test_the_scores_of_a_run(data: Path, tiny_model: Path) -> None:
    batch = columns(data)
    scored = Scorer(model=str(tiny_model))(batch)
    assert scored.keys() == {*batch, "scores", "best", "error", "notes"}
    with Pipeline(options(data, tiny_model, in_process=True)) as pipeline:
        records = {r.id: r for r in pipeline if not isinstance(r, Failure) or r.stage != "read"}
    for row, name in enumerate(batch["frame_dir"]):
        record = records.get(name)
        if isinstance(record, Prediction):
            np.testing.assert_array_equal(scored["scores"][row], record.scores)
            assert scored["best"][row] == record.scores.argmax()
            assert scored["error"][row] == ""
    [broken] = np.flatnonzero(scored["error"])
    assert "keypoint has 25 joints" in scored["error"][broken]
    assert scored["best"][broken] == -1
    assert np.isnan(scored["scores"][broken]).all()


def test_an_empty_batch(tiny_model: Path) -> None:
    scored = Scorer(model=str(tiny_model))({"keypoint": np.empty(0, object)})
    assert scored["scores"].shape == (0, 51)
    assert len(scored["best"]) == len(scored["error"]) == 0


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_inside_a_pipeline_of_ray_data(
    data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed (pip install -e '.[ray]')")
    pytest.importorskip("pyarrow", reason="Ray Data is not installed (pip install 'ray[data]')")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
    rows = [s.annotation for s in open_dataset(str(data)).samples[:6]]
    plain = [
        {k: np.array(v) if isinstance(v, np.ndarray) else v for k, v in row.items()} for row in rows
    ]
    expected = Scorer(model=str(tiny_model))(columns(data))
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=100 << 20)
    try:
        scored = ray.data.from_items(plain).map_batches(
            Scorer,
            fn_constructor_kwargs={"model": str(tiny_model)},
            batch_size=4,
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=1),
            max_restarts=-1,
            max_task_retries=-1,
        )
        found = {row["frame_dir"]: row for row in scored.take_all()}
    finally:
        ray.shutdown()
    for place, name in enumerate(expected["frame_dir"][:6]):
        np.testing.assert_array_equal(found[name]["scores"], expected["scores"][place])
