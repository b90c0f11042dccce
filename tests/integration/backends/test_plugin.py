"""A backend of somebody else's: found by its entry point, and run like those that are built in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.backends import registry
from engine.base.constants import CLIP_SHAPE
from engine.base.errors import UsageError
from engine.base.recipe import HMDB51_RECIPE
from engine.base.records import Failure, Prediction, Record
from engine.network.backend import ClipsBackend
from engine.network.models import open_model
from engine.pipeline import Pipeline
from engine.skeletons.clips import decode
from engine.sources.dataset import open_dataset
from tests.support.plugin_backend import NAME, register
from tests.support.runs import check, options

LIMIT = 9


@pytest.fixture(autouse=True)
def _registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(register(tmp_path / "site-packages")))


def loaded(model: Path) -> Any:
    return registry.load(NAME, open_model(str(model)), device=None, precision="f32", threads=1)


def logits(backend: Any, clips: Any) -> Any:
    """Of clips, run one by one."""
    found = []
    for clip in clips:
        backend.clips(0, 1)[0] = clip
        backend.start(0, 1)
        found.append(backend.finish(0)[0])
    return np.stack(found)


def test_in_process_and_streaming(data: Path, tiny_model: Path) -> None:
    """Both have the same bits, which are those of the clips without any pipeline."""
    found: list[dict[str, Record]] = []
    for more in ({"in_process": True}, {"workers": 2, "max_batch": 3}):
        chosen: dict[str, Any] = {"backend": NAME, "layout": "clips", "limit": LIMIT, **more}
        with Pipeline(options(data, tiny_model, **chosen)) as pipeline:
            assert pipeline.facts.runtime == "checksums"
            found.append({record.id: record for record in pipeline})
    plain, streamed = found
    assert sum(isinstance(record, Failure) for record in plain.values()) == 2
    check(list(streamed.values()), plain)
    backend = loaded(tiny_model)
    for sample in open_dataset(str(data)).samples[:2]:
        record = plain[sample.id]
        assert isinstance(record, Prediction)
        clips = decode(sample.poses(51), HMDB51_RECIPE).tensor()
        np.testing.assert_array_equal(record.logits, logits(backend, clips))
    backend.close()


def test_every_value_counts(tiny_model: Path) -> None:
    clips = np.zeros((3, *CLIP_SHAPE), np.float32)
    clips[1, 16, 47, 55, 55] = clips[2, 0, 0, 0, 0] = 1e-3
    backend = loaded(tiny_model)
    found = logits(backend, clips)
    assert len(np.unique(found, axis=0)) == 3
    assert np.abs(found).max() <= 8
    backend.close()


def test_what_it_cannot_run(data: Path, tiny_model: Path) -> None:
    """It has whole clips only, and the default for this model is another layout."""
    assert isinstance(loaded(tiny_model), ClipsBackend)
    with pytest.raises(UsageError, match="does not run layout shared; --layout clips does"):
        Pipeline(options(data, tiny_model, backend=NAME, in_process=True))


def test_it_is_known_by_name() -> None:
    assert NAME in registry.available()
    with pytest.raises(UsageError, match=f"not registered; known: .*{NAME}"):
        registry.choose("check")
