"""The compressed form of Kinetics-400's skeletons: one row for each person and frame who is there.

Comes in: rows, and which frame each is of. Goes out: arrays over persons and frames. Source:
``DecompressPose`` of mmaction2 1.2.0 and pyskl with ``squeeze=True``.
"""

from __future__ import annotations

from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import SampleError

MOST: Final = 10
"""Persons that are kept, where a recipe does not say."""
MAX_BYTES: Final = 1 << 30

F16 = NDArray[np.float16]


def decompressed(rows: NDArray[Any], frames: NDArray[np.int64], most: int) -> tuple[F16, F16]:
    """Coordinates float16 [P, T, joints, 2] and scores float16 [P, T, joints].

    `rows` [N, joints, 3]: x, y and score. `frames` [N]: the frame of each. Frames in which nobody
    is seen are left out. People of a frame are in the order of their rows; where some frame has
    more than `most`, those of the highest scores come first in every frame, and `most` are kept.
    Raises `SampleError` for more than a gigabyte.
    """
    _, number = np.unique(frames, return_inverse=True)
    order = np.argsort(number, kind="stable")
    counts = np.bincount(number)
    person = np.empty(len(number), np.int64)
    person[order] = np.arange(len(number)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (int(counts.max()), len(counts), rows.shape[1])
    if (size := 6 * prod(shape)) > MAX_BYTES:  # a few rows can ask for much
        raise SampleError(f"{size / 1e9:.1f} GB of poses; at most {MAX_BYTES / 1e9:.1f} GB")
    keypoint, score = np.zeros((*shape, 2), np.float16), np.zeros(shape, np.float16)
    with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite, and is refused
        keypoint[person, number], score[person, number] = rows[..., :2], rows[..., 2]
    if shape[0] > most:
        # float16, as the reference adds them up
        there = np.arange(shape[0])[:, None] < counts
        total = np.where(there, -score.sum(axis=-1), np.float16(np.inf))
        best = np.argsort(total, axis=0, kind="stable")[:most]
        keypoint = np.take_along_axis(keypoint, best[..., None, None], axis=0)
        score = np.take_along_axis(score, best[..., None], axis=0)
    return keypoint, score
