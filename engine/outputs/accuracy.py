"""Metrics: top-k and mean class accuracy, as mmaction2 0.24.1 counts them.

Where scores tie, the reference's order is an accident of its numpy; here it is fixed
(see each function). Without ties the results are equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]

_OFF_ONE = 1e-3  # by which the scores of a sample may sum to something else


def are_scores(scores: Scores) -> NDArray[np.bool_]:
    """Which rows [N, classes] are probabilities, as the scores of a sample are: none negative or
    above one, and together one."""
    off = np.abs(scores.sum(axis=1, dtype=np.float64) - 1)
    between = (scores.min(axis=1) >= 0) & (scores.max(axis=1) <= 1 + _OFF_ONE)
    found: NDArray[np.bool_] = (off < _OFF_ONE) & between  # NaN is neither
    return found


def top_classes(scores: Scores, k: int) -> NDArray[np.int64]:
    """The `k` best classes of each row, best first: int64 [N, min(k, classes)].

    A stable ascending sort read backwards: of tied classes the higher index comes
    first. NaN counts as the highest score, as in the reference.
    """
    order = np.argsort(scores, axis=1, kind="stable")[:, ::-1]
    return order[:, :k].astype(np.int64)


def top_k_accuracy(scores: Scores, labels: Sequence[int], k: int) -> float:
    """Share of rows [N, classes] whose label is among the `k` best. NaN without rows."""
    if not len(labels):
        return float("nan")
    hits = top_classes(scores, k) == np.asarray(labels)[:, None]
    return float(hits.any(axis=1).mean())


def mean_class_accuracy(scores: Scores, labels: Sequence[int]) -> float:
    """Mean over classes of the share of their samples predicted right.

    The prediction is the best class (ties: the lower index; NaN wins). A class that is
    only ever predicted counts with zero. NaN without rows.
    """
    if not len(labels):
        return float("nan")
    truth = np.asarray(labels)
    predicted = np.argmax(scores, axis=1)
    shares = []
    for cls in np.union1d(truth, predicted):
        own = predicted[truth == cls]
        shares.append(float((own == cls).mean()) if own.size else 0.0)
    return float(np.mean(shares))


def accuracies(scores: Scores, labels: Sequence[int]) -> dict[str, Any]:
    """All of them, of rows [N, classes], as a summary has them: JSON types only, and None without
    rows. ``labelled`` is how many rows there are."""
    found = {
        "top1_acc": top_k_accuracy(scores, labels, 1),
        "top5_acc": top_k_accuracy(scores, labels, 5),
        "mean_class_accuracy": mean_class_accuracy(scores, labels),
    }
    return {
        "labelled": len(labels),
        **{name: None if math.isnan(value) else value for name, value in found.items()},
    }
