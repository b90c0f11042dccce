"""One clip a sample in place of twenty: the first of them, in every layout and on every wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.options import Options
from engine.base.recipe import HMDB51_RECIPE
from engine.base.records import Prediction
from engine.pipeline import Pipeline
from engine.skeletons.clips import decode
from engine.skeletons.poses import PoseSequence
from engine.skeletons.sampling import clip_plan
from tests.support.networks import TINY, random_state_dict, write_model
from tests.support.runs import options
from tests.support.samples import annotation


def predictions(chosen: Options) -> dict[str, Prediction]:
    with Pipeline(chosen) as pipeline:
        return {r.id: r for r in pipeline if isinstance(r, Prediction)}


@pytest.mark.parametrize("frames", [3, 30, 48, 70, 200])
def test_the_first_clip(frames: int) -> None:
    """As the reference with ``num_clips=1, double=False``: nothing of other frames counts, the box
    around the poses neither."""
    whole = annotation(frames, seed=frames)
    found = decode(PoseSequence.from_annotation(whole), HMDB51_RECIPE.one_view)
    assert found.views == 1
    assert len(found.frames) == min(frames, 48)
    chosen = clip_plan(frames, HMDB51_RECIPE).frames[0]
    alone = {
        **whole,
        "keypoint": whole["keypoint"][:, chosen],
        "total_frames": 48,
        "keypoint_score": whole["keypoint_score"][:, chosen],
    }
    expected = decode(PoseSequence.from_annotation(alone), HMDB51_RECIPE).tensor()[0]
    np.testing.assert_array_equal(found.tensor(), expected[None])


@pytest.mark.parametrize(
    ("layout", "wire"),
    [
        ("shared", "frames"),
        pytest.param("shared", "keypoints", marks=pytest.mark.slow),
        pytest.param("clips", "frames", marks=pytest.mark.slow),
        pytest.param("clips", "clips", marks=pytest.mark.slow),
    ],
)
def test_its_logits(data: Path, tiny_model: Path, layout: str, wire: str) -> None:
    """Bit for bit those without processes; up to 48 frames, those of the first of twenty."""
    base: dict[str, Any] = {"limit": 6, "layout": layout}
    found = predictions(options(data, tiny_model, tta=False, wire=wire, **base))
    plain = predictions(options(data, tiny_model, tta=False, in_process=True, **base))
    twenty = predictions(options(data, tiny_model, in_process=True, **base))
    assert found.keys() == plain.keys() == twenty.keys()
    for name, one in found.items():
        np.testing.assert_array_equal(one.logits, plain[name].logits)
        if one.index != 1:  # it alone has more than 48 frames
            first = twenty[name].logits[:1]
            np.testing.assert_allclose(one.logits, first, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_runs_of_a_fixed_batch_are_filled_with_samples(
    data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """A file of one sample of twenty clips runs twenty samples of one."""
    fixed = write_model(tmp_path / "bs1.onnx", random_state_dict(TINY), TINY, batch=1)
    chosen = options(data, fixed, tta=False, limit=9, backend="onnxruntime", max_wait_ms=2e3)
    with Pipeline(chosen) as pipeline:
        assert pipeline.max_batch == 20
        found = {r.id: r for r in pipeline if isinstance(r, Prediction)}
        assert pipeline.figures.clips_padded == 13
    expected = predictions(options(data, tiny_model, tta=False, limit=9))
    for name, one in found.items():
        np.testing.assert_allclose(one.scores, expected[name].scores, rtol=0, atol=1e-5)
