"""Motion: skeletons of many samples in few bytes, for a page that has to carry them.

Comes in: poses. Goes out: bytes. Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.skeletons.poses import PoseSequence

U8 = NDArray[np.uint8]

_PERSONS = 2
_FRAMES = (32, 24, 16, 12, 8)  # the most that find room are kept
_SEEN = 0.05  # scores of joints that are drawn


def thinned(poses: PoseSequence) -> U8:
    """The persons seen best, in at most 32 frames: uint8 [P, 17, 2, T]; x and y are 1 to 255, of
    one scale, and 0 for a joint that is not seen."""
    total = poses.total_frames
    frames = np.unique(np.linspace(0, total - 1, min(total, _FRAMES[0])).astype(int))
    joints = np.nan_to_num(poses.keypoint[:, frames].astype(np.float32)).clip(-1e5, 1e5)
    score = np.ones(joints.shape[:3], np.float32)
    if poses.keypoint_score is not None:
        score = np.nan_to_num(poses.keypoint_score[:, frames].astype(np.float32))
    score = score * (joints != 0).any(axis=-1)
    best = np.argsort(-score.mean(axis=(1, 2)), kind="stable")[:_PERSONS]
    joints, seen = joints[best], score[best] > _SEEN
    if not seen.any():
        return np.zeros((0, joints.shape[2], 2, 0), np.uint8)
    low, high = joints[seen].min(axis=0), joints[seen].max(axis=0)
    scale = 254 / max(float((high - low).max()), 1.0)
    drawn = np.where(seen[..., None], np.rint((joints - low) * scale) + 1, 0)
    people: U8 = drawn.transpose(0, 2, 3, 1).astype(np.uint8)
    present: U8 = people[seen.any(axis=(1, 2))]
    return present


def packed(motions: Sequence[U8], limit: int) -> bytes:
    """As many of `motions` (of `thinned`) from the first as `limit` bytes hold, in as many frames
    as that allows: deflated. Each is a byte T, a byte P, and for each person, joint and axis T
    bytes: the first as it is, the others less the one before, modulo 256."""
    for frames in _FRAMES:
        if len(found := _deflated(motions, frames)) <= limit:
            return found
    kept = len(motions)
    while len(found) > limit and kept:
        kept = min(kept - 1, kept * limit // len(found))
        found = _deflated(motions[:kept], _FRAMES[-1])
    return found


def _deflated(motions: Sequence[U8], frames: int) -> bytes:
    parts = []
    for motion in motions:
        total = motion.shape[-1]
        chosen = motion[..., np.unique(np.linspace(0, total - 1, min(total, frames)).astype(int))]
        steps = np.diff(chosen, axis=-1, prepend=np.uint8(0))
        parts.append(bytes([chosen.shape[-1], len(chosen)]) + steps.tobytes())
    return zlib.compress(b"".join(parts), 9)
