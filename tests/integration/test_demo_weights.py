"""The weights that come with the package, in the network of full size."""

from __future__ import annotations

import pytest

from engine.base.options import Options
from engine.base.records import Prediction
from engine.pipeline import Pipeline


@pytest.mark.slow
def test_the_weights_recognise_the_first_of_every_class() -> None:
    """Through the whole engine, f32. Every answer is pinned, the wrong ones too."""
    options = Options(dataset="demo", limit=24)
    with Pipeline(options) as pipeline:
        records = sorted(pipeline, key=lambda record: record.index)
    answers = [int(r.scores.argmax()) for r in records if isinstance(r, Prediction)]
    assert answers == ANSWERS


ANSWERS = [
    1,
    37,
    4,
    5,
    32,
    12,
    15,
    19,
    20,
    24,
    25,
    26,
    27,
    28,
    29,
    32,
    37,
    38,
    42,
    43,
    47,
    48,
    49,
    50,
]
