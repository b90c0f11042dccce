"""Clip plans: which frames of a video the test clips hold.

Comes in: the number of frames. Goes out: a `ClipPlan`. Source: ``UniformSampleFrames`` of mmaction2
0.24.1 (1.x gives the same indices) and of pyskl, with ``test_mode=True``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.base.recipe import Recipe


@dataclass(frozen=True, eq=False)
class ClipPlan:
    """The frames of the clips of a video; depends on its length alone.

    `frames`: int32 [clips, length], frame numbers in the video.
    `unique`: int32 [U], the distinct ones, ascending.
    `positions`: int32 [clips, length], where in `unique` each of `frames` stands.
    """

    frames: NDArray[np.int32]
    unique: NDArray[np.int32]
    positions: NDArray[np.int32]


@lru_cache(maxsize=1024)
def clip_plan(total_frames: int, recipe: Recipe) -> ClipPlan:
    """The plan for a video of `total_frames` frames (at least one).

    Plans are cached and shared: their arrays are read-only. Raises `ValueError`
    for fewer than one frame.
    """
    if total_frames < 1:
        raise ValueError(f"a video needs at least one frame, this one has {total_frames}")
    frames = _sample(total_frames, recipe).astype(np.int32)
    unique, positions = distinct(frames)
    for array in (frames, unique, positions):
        array.flags.writeable = False
    return ClipPlan(frames, unique, positions)


def distinct(frames: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The distinct ones of frame numbers, ascending, and where in these each of them stands."""
    unique, inverse = np.unique(frames, return_inverse=True)
    return unique, inverse.reshape(frames.shape).astype(np.int32)


def _sample(total: int, recipe: Recipe) -> NDArray[np.int64]:
    """Frame numbers, int64 [clips, length]."""
    count, length = recipe.clips, recipe.length
    if total < length:  # too short: consecutive frames, wrapping around
        clips = np.arange(count)
        starts = clips if total < count else clips * total // count
        return (starts[:, None] + np.arange(length)) % total

    # A legacy generator of its own gives the stream that the reference draws
    # from numpy's global one; numpy guarantees that this stream never changes.
    rng = np.random.RandomState(recipe.seed)
    clips_ = np.empty((count, length), np.int64)
    for clip in clips_:
        if recipe.sampler == "pyskl":
            rng.random_sample()  # for a part of the video to sample from, which is all of it
        if total < 2 * length:  # skip `total - length` frames at random places
            skips = np.zeros(length + 1, np.int64)
            skips[rng.choice(length + 1, total - length, replace=False)] = 1
            clip[:] = np.arange(length) + np.cumsum(skips)[:length]
        else:  # one random frame out of each of `length` equal segments
            borders = np.arange(length + 1) * total // length
            clip[:] = borders[:-1] + rng.randint(np.diff(borders))
    return clips_
