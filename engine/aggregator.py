"""The aggregator: the logits of twenty clips become the scores of one sample.

Comes in: logits. Goes out: `Prediction` or `Failure`, the terminal record of a sample.
Called by `engine.pipeline`. Source: ``average_clips='prob'`` of mmaction2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.errors import SampleError


@dataclass(frozen=True, eq=False)
class Prediction:
    """The scores of a sample.

    `logits`: float32 [20, classes]. `scores`: float32 [classes], sums to one. `ms`:
    milliseconds by stage.
    """

    index: int
    id: str
    label: int | None
    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A sample that could not be scored: where (`stage`), what (`type`) and why (`message`)."""

    index: int
    id: str
    label: int | None
    stage: str
    type: str
    message: str


Record = Prediction | Failure


def average(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over the clips of the softmax over the classes: float32 [classes].

    `logits` float32 [20, classes]. Computed in float64, so that the order of summation
    does not show. Raises `SampleError` where a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise SampleError("the network's logits are not finite", stage="score")
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    scores: NDArray[np.float64] = (shifted / shifted.sum(axis=1, keepdims=True)).mean(axis=0)
    return scores.astype(np.float32)
