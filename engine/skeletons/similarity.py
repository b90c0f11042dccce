"""Similarity: how much two skeletons look like one person's.

Object keypoint similarity, the one of COCO's evaluation: how close the same joints are, against the
body's size; where too few joints are common, by how much their boxes overlap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import UsageError

try:
    from scipy.optimize import linear_sum_assignment
except ImportError as error:
    raise UsageError(f"telling persons apart: {error}; pip install '.[live]'") from None

F32 = NDArray[np.float32]

# Spread of each joint as COCO's annotators have it, in shares of the body's size.
_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
SIMILAR = 0.15  # two poses, a frame apart, that may be one person's
KEEP = 30  # frames for which somebody out of sight is remembered
_LEAST_COMMON = 5  # joints
_SEEN = 0.05  # score


def matches(before: list[F32], now: list[F32], least: float) -> dict[int, int]:
    """Which of the poses `now` is which of those `before`: indices, of pairs that are at least
    so similar, chosen for the best sum."""
    if not before or not now:
        return {}
    similarity = similarities(np.stack(before), np.stack(now))
    pairs = zip(*linear_sum_assignment(-similarity), strict=True)
    return {int(n): int(b) for b, n in pairs if similarity[b, n] >= least}


def similarity_of(first: F32, second: F32) -> float:
    """How much two poses [17, 3] look like one person's a moment later, 0 to 1."""
    return float(similarities(first[None], second[None])[0, 0])


def similarities(first: F32, second: F32) -> F32:
    """Of every pose [..., A, 17, 3] to every pose [..., B, 17, 3]: [..., A, B]. Poses too large to
    be squared are like nobody's."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.nan_to_num(_similarities(first, second))


def touching(first: F32, second: F32) -> NDArray[np.bool_]:
    """Whether the boxes around poses [..., A, 17, 3] and [..., B, 17, 3] meet: [..., A, B]."""
    (low, high), (other_low, other_high) = _boxes(first), _boxes(second)
    before = low[..., :, None, :] <= other_high[..., None, :, :]
    behind = other_low[..., None, :, :] <= high[..., :, None, :]
    return np.asarray((before & behind).all(axis=-1))


def _similarities(first: F32, second: F32) -> F32:
    points, others = first[..., :, None, :, :2], second[..., None, :, :, :2]
    common = _seen(first)[..., :, None, :] & _seen(second)[..., None, :, :]
    seen = common[..., None]
    low = np.where(seen, np.minimum(points, others), np.inf).min(axis=-2)
    high = np.where(seen, np.maximum(points, others), -np.inf).max(axis=-2)
    count = common.sum(axis=-1)
    area = np.where(count[..., None], high - low + 1, 1.0).prod(axis=-1)
    distance = ((points - others) ** 2).sum(axis=-1)
    alike = np.exp(-distance / (2 * area[..., None] * (2 * _SIGMAS) ** 2))
    mean = (alike * common).sum(axis=-1) / np.maximum(count, 1)
    found: F32 = np.where(count >= _LEAST_COMMON, mean, _overlaps(first, second))
    return found


def _overlaps(first: F32, second: F32) -> F32:
    """Intersection over union of the boxes around what is seen: [..., A, B]."""
    (low, high), (other_low, other_high) = _boxes(first), _boxes(second)
    shared = np.minimum(high[..., :, None, :], other_high[..., None, :, :]) - np.maximum(
        low[..., :, None, :], other_low[..., None, :, :]
    )
    common = np.maximum(shared, 0).prod(axis=-1)
    areas = (high - low).prod(axis=-1)[..., :, None] + (
        (other_high - other_low).prod(axis=-1)[..., None, :]
    )
    found: F32 = np.where(areas > common, common / np.maximum(areas - common, 1e-9), 0.0)
    return found


def _seen(poses: F32) -> NDArray[np.bool_]:
    """Which joints are there, [..., 17]: annotations without scores have zeros where one is not."""
    found: NDArray[np.bool_] = (poses[..., 2] > _SEEN) & poses[..., :2].any(axis=-1)
    return found


def _boxes(poses: F32) -> tuple[F32, F32]:
    """Corners [..., n, 2] of the boxes around what is seen; nothing at all where nothing is."""
    seen = _seen(poses)[..., None]
    low = np.where(seen, poses[..., :2], np.inf).min(axis=-2)
    high = np.where(seen, poses[..., :2], -np.inf).max(axis=-2)
    empty = ~seen.any(axis=-2)
    return np.where(empty, 0, low), np.where(empty, 0, high)
