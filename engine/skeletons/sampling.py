"""Clip plans: which frames of a video the ten test clips hold.

Comes in: the number of frames. Goes out: a `ClipPlan`. Source: ``UniformSampleFrames`` (mmaction2
0.24.1, ``test_mode=True``, ``clip_len=48``, ``num_clips=10``, ``seed=255``); 1.x gives the same
indices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.base.constants import CLIP_LEN, NUM_CLIPS, SEED


@dataclass(frozen=True, eq=False)
class ClipPlan:
    """The frames of the clips of a video; depends on its length alone.

    `frames`: int32 [clips, 48], frame numbers in the video.
    `unique`: int32 [U], the distinct ones, ascending.
    `positions`: int32 [clips, 48], where in `unique` each of `frames` stands.
    """

    frames: NDArray[np.int32]
    unique: NDArray[np.int32]
    positions: NDArray[np.int32]


@lru_cache(maxsize=1024)
def clip_plan(total_frames: int, clips: int = NUM_CLIPS) -> ClipPlan:
    """The plan for a video of `total_frames` frames (at least one): the first `clips` of the ten,
    which are what the reference draws where it is told ``num_clips=clips``, if that is 1.

    Plans are cached and shared: their arrays are read-only. Raises `ValueError`
    for fewer than one frame.
    """
    if total_frames < 1:
        raise ValueError(f"a video needs at least one frame, this one has {total_frames}")
    frames = _sample(total_frames)[:clips].astype(np.int32)
    unique, inverse = np.unique(frames, return_inverse=True)
    positions = inverse.reshape(frames.shape).astype(np.int32)
    for array in (frames, unique, positions):
        array.flags.writeable = False
    return ClipPlan(frames, unique, positions)


def _sample(total: int) -> NDArray[np.int64]:
    """Frame numbers, int64 [10, 48]."""
    if total < CLIP_LEN:  # too short: consecutive frames, wrapping around
        clips = np.arange(NUM_CLIPS)
        starts = clips if total < NUM_CLIPS else clips * total // NUM_CLIPS
        return (starts[:, None] + np.arange(CLIP_LEN)) % total

    # A legacy generator of its own gives the stream that the reference draws
    # from numpy's global one; numpy guarantees that this stream never changes.
    rng = np.random.RandomState(SEED)
    clips_ = np.empty((NUM_CLIPS, CLIP_LEN), np.int64)
    if total < 2 * CLIP_LEN:  # skip `total - 48` frames at random places
        for clip in clips_:
            skips = np.zeros(CLIP_LEN + 1, np.int64)
            skips[rng.choice(CLIP_LEN + 1, total - CLIP_LEN, replace=False)] = 1
            clip[:] = np.arange(CLIP_LEN) + np.cumsum(skips)[:CLIP_LEN]
    else:  # one random frame out of each of 48 equal segments
        borders = np.arange(CLIP_LEN + 1) * total // CLIP_LEN
        for clip in clips_:
            clip[:] = borders[:-1] + rng.randint(np.diff(borders))
    return clips_
