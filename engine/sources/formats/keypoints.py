"""Keypoints: the joints of one person as files spell them, as an array.

Lists of numbers, lists of lists, lists of objects ``{x, y, visibility}``, objects of lists
``{x: […], y: […], visible: […]}``. What is no number is a joint that was not found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import printable
from engine.skeletons.joints import by_number

F32 = NDArray[np.float32]

_SCORES: Final = ("score", "visibility", "confidence", "conf", "visible", "vis", "v", "c")
_FARTHEST: Final = 1e9  # coordinates beyond are none


def keypoints_of(
    value: Any, scores: Any = None, *, per: int | None = None, depth: bool = False
) -> F32 | None:
    """Joints float32 [n, 3], x, y and score; None where nobody is in them (nothing, or zeros).

    `scores`: [n], where they stand apart. `per`: numbers a joint of a flat list; None: 3 where that
    gives a known number of joints, else 2. `depth`: the third number of each is z, no score.
    Raises `ValueError` that says what was expected.
    """
    if value is None or (isinstance(value, Sequence) and not len(value)):
        return None
    table = _table(value, per)
    count, width = table.shape
    if not 2 <= width <= 4:
        raise ValueError(f"{width} numbers a joint; expected x, y and perhaps a score")
    found = np.ones((count, 3), np.float64)
    found[:, :2] = table[:, :2]
    if scores is not None:
        apart = _numbers(scores)
        if apart.shape != (count,):
            raise ValueError(f"{count} joints with scores of shape {list(apart.shape)}")
        found[:, 2] = apart
    elif width == 4:  # x, y, z, visibility
        found[:, 2] = table[:, 3]
    elif width == 3 and (_is_named(value) or not depth):
        found[:, 2] = table[:, 2]
    found[np.isnan(found).any(axis=1)] = 0
    if not (np.abs(found) < _FARTHEST).all():
        raise ValueError("coordinates or scores that are infinite, or far beyond any picture")
    there = found[:, :2].any() and found[:, 2].any()
    return found.astype(np.float32) if there else None


def identity(value: Any) -> int | str | None:
    """A person's id as files have it: a number, perhaps in a list of one; None for none (-1)."""
    while isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, (np.generic, np.ndarray)) and value.size == 1:
        value = value.item()
    if isinstance(value, str):
        return value[:100] or None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not 0 <= value < 2**53 or value != int(value):  # NaN compares false
        return None
    return int(value)


def _is_named(value: Any) -> bool:
    """Whether the numbers of each joint have names."""
    return isinstance(value, Mapping) or isinstance(value[0], Mapping)


def _table(value: Any, per: int | None) -> NDArray[np.float64]:
    """[n, numbers a joint]."""
    if isinstance(value, Mapping):
        x, y = (_numbers(value.get(axis)) for axis in ("x", "y"))
        named = next((value[name] for name in _SCORES if value.get(name) is not None), None)
        third = np.ones(len(x) if x.ndim else 0) if named is None else _numbers(named)
        if x.ndim != 1 or x.shape != y.shape or x.shape != third.shape:
            raise ValueError("x, y and scores of a person are lists of the same length")
        return np.stack([x, y, third], axis=1)
    if _is_named(value):
        return np.array([_joint(one) for one in value])
    found = _numbers(value)
    if found.ndim == 1:
        if per is None:
            known = len(found) % 3 == 0 and by_number(len(found) // 3) is not None
            per = 3 if known or len(found) % 2 else 2
        if len(found) % per:
            raise ValueError(f"{len(found)} numbers are no joints of {per} each")
        return found.reshape(-1, per)
    if found.ndim != 2:
        raise ValueError(f"keypoints of shape {list(found.shape)}; expected [joints, 2 or 3]")
    return found


def _joint(value: Any) -> list[float]:
    if not isinstance(value, Mapping):
        raise ValueError("joints are objects with x and y")
    named = next((value[name] for name in _SCORES if value.get(name) is not None), 1.0)
    return [_number(value.get("x")), _number(value.get("y")), _number(named)]


def _number(value: Any) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{printable(value)[:40]!r} is no number")
    return float(value)


def _numbers(value: Any) -> NDArray[np.float64]:
    """Nested lists as an array; null is NaN."""
    try:
        found = np.asarray(value)
        if found.dtype.kind not in "fiub":
            found = np.array(value, np.float64)
        return found.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("keypoints are no regular lists of numbers") from None
