"""Continuity: whether the rows of an annotation are persons, or the n-th detection of each frame.

Comes in: the rows of one video. Goes out: what they are. Pure. Rows are persons unless people are
seen to change rows: where somebody's next pose is in another row, and neither that row nor their
own has a better claim to it. Poses are compared by `engine.skeletons.similarity`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine.skeletons.similarity import F32, KEEP, similarities, touching

_CLEARLY = 0.3  # more similar; two people on top of one another do not come so near
_BLOCK = 1 << 12  # pairs that are compared at once

Mask = NDArray[np.bool_]


def rows_are_persons(kpts: F32) -> bool:
    """Whether each row stays with one person, so far as the poses tell.

    `kpts`: float32 [P, T, 17, 3], x and y in pixels and score, zeros where a row is empty. One row,
    or rows that look like nobody's a frame later, are taken for persons.
    """
    return len(kpts) < 2 or not any(_changes(kpts))


def seen_in(kpts: F32) -> Mask:
    """Whether anybody is in a row, [P, T]."""
    return np.asarray(kpts[..., :2].any(axis=(2, 3)))


def _changes(kpts: F32) -> Iterator[bool]:
    """Whether somebody is in another row than before, by blocks of frames."""
    persons, total = kpts.shape[:2]
    present, number = seen_in(kpts).T, np.arange(total)[:, None]  # [T, P], as are the next four
    latest = np.maximum.accumulate(np.where(present, number, -1), axis=0)[:-1]
    known = (latest >= 0) & (number[1:] - latest <= KEEP)
    now, frames = present[1:], kpts.swapaxes(0, 1)
    step = max(1, _BLOCK // persons**2)
    for start in range(0, total - 1, step):
        part = slice(start, start + step)
        before = frames[latest[part], np.arange(persons)]
        alike = _alike(before, frames[1:][part], known[part], now[part])
        own = np.diagonal(alike, axis1=1, axis2=2)
        claim = np.maximum(own[:, :, None], own[:, None, :])
        # Somebody whose row ends, and who goes on in one that nobody had, is a broken track.
        taken = now[part, :, None] | known[part, None, :]
        yield bool(((alike - claim >= _CLEARLY) & taken).any())


def _alike(before: F32, after: F32, known: Mask, now: Mask) -> F32:
    """Similarities [n, P, P] of the rows [n, P, 17, 3] of frames to those of the next ones, of
    those that are there; 0 where they do not meet, which most pairs of a crowd do not."""
    near = touching(before, after) | np.eye(before.shape[1], dtype=bool)
    frame, row, other = np.nonzero(near & known[:, :, None] & now[:, None, :])
    found = np.zeros(near.shape, np.float32)
    pairs = before[frame, row, None], after[frame, other, None]
    found[frame, row, other] = similarities(*pairs)[:, 0, 0]
    return found
