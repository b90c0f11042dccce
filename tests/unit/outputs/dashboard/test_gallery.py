"""Which samples of a data set are shown."""

from __future__ import annotations

import numpy as np
import orjson

from engine.base.records import Prediction
from engine.outputs.dashboard.gallery import Gallery
from engine.skeletons.samples import Sample
from tests.support.samples import annotation

NAMES = [f"class {n}" for n in range(51)]
SAMPLES = [Sample(n, f"video {n}", annotation(30, seed=n)) for n in range(20)]


def prediction(index: int, best: int) -> Prediction:
    scores = np.full(51, 0.01, np.float32)
    scores[best] = 0.5
    return Prediction(index, f"video {index}", index, np.zeros((1, 51), np.float32), scores)


def test_samples_stay_for_a_while() -> None:
    gallery = Gallery(SAMPLES, NAMES)
    for index in range(20):
        gallery.add(prediction(index, best=index), index / 10)
    shown = gallery.shown()
    assert [one["id"] for one in shown] == [f"video {n}" for n in (10, 5, 4, 3, 2, 1)]
    assert gallery.changes == 7
    assert shown[0]["truth"] == shown[0]["top"][0]["name"] == "class 10"
    assert np.shape(shown[0]["frames"]) == (30, 1, 17, 3)
    for index in range(20):
        gallery.add(prediction(index, best=index), 100.0 + 10 * index)
    assert len(gallery.shown()) == 6
    orjson.dumps(gallery.shown())
