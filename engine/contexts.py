"""Contexts: which positions of the ten clips are the same to the network, layer by layer.

Comes in: the clip plan of a video. Goes out: `Contexts`, tables of ids. Called by the executor
of layout ``shared``. What a layer computes at a position of a clip depends on the frames
around it alone, and the clips of one video overlap: every distinct context is computed once.

Pure, and depends on the plan only: cached by the number of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.sampling import clip_plan

Ids = NDArray[np.int32]
PADDING = -1  # the id of what lies before the first and behind the last position of a clip


@dataclass(frozen=True, eq=False)
class Level:
    """The distinct contexts of one temporal convolution.

    `sources`: int32 [n, 3], for each context the ids, in the level below, of the previous
    position, this one and the next; `PADDING` beyond a clip's ends.
    """

    sources: Ids

    def __len__(self) -> int:
        return len(self.sources)


@dataclass(frozen=True, eq=False)
class Contexts:
    """All levels of a video.

    `frames`: how many distinct frames it has; their ids are those of the plan.
    `levels`: one for each temporal convolution, in order.
    `clips`: int32 [distinct clips, positions], ids in the last level.
    `inverse`: int32 [10], which of `clips` each of the ten is.
    """

    frames: int
    levels: tuple[Level, ...]
    clips: Ids
    inverse: Ids


@lru_cache(maxsize=1024)
def contexts(total_frames: int, strides: tuple[int, ...]) -> Contexts:
    """The contexts of a video of `total_frames` frames.

    `strides`: the temporal stride of each temporal convolution, in order.
    """
    plan = clip_plan(total_frames)
    return of_plan(plan.positions, strides)


def of_plan(positions: Ids, strides: Sequence[int]) -> Contexts:
    """The contexts of clips given by the ids of their frames, int [clips, length]."""
    ids: NDArray[Any] = positions
    levels: list[Level] = []
    for stride in strides:
        padded = np.pad(ids, ((0, 0), (1, 1)), constant_values=PADDING)
        around = np.stack([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], axis=-1)[:, ::stride]
        sources, inverse = np.unique(around.reshape(-1, 3), axis=0, return_inverse=True)
        ids = inverse.reshape(around.shape[:2])
        levels.append(Level(_frozen(sources)))
    clips, inverse = np.unique(ids, axis=0, return_inverse=True)
    return Contexts(
        frames=int(positions.max()) + 1,
        levels=tuple(levels),
        clips=_frozen(clips),
        inverse=_frozen(inverse.reshape(-1)),
    )


def _frozen(array: NDArray[Any]) -> Ids:
    """The array as ids that nobody can change: tables are shared."""
    ids = array.astype(np.int32)
    ids.flags.writeable = False
    return ids
