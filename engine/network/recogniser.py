"""Recogniser: one sample from poses to scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import SampleError


def average(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over the clips of the softmax over the classes: float32 [classes].

    `logits` float32 [views, classes]. Computed in float64, so that the order of summation
    does not show. Raises `SampleError` where a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise SampleError("the network's logits are not finite", stage="score")
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    scores: NDArray[np.float64] = (shifted / shifted.sum(axis=1, keepdims=True)).mean(axis=0)
    return scores.astype(np.float32)
