"""Heatmap clips: a sample as frames and plan, and as the tensor that the network takes.

Comes in: an annotation. Goes out: `HeatmapClips`, smaller than the clip tensor and equal
to it; the tensor is materialised as late as the runtime
demands. Called by the decode stage (`decode`) and the executor (`HeatmapClips.write`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.constants import CLIP_SHAPE, NUM_CLIPS, REFERENCES, VIEWS, Reference
from engine.errors import UsageError
from engine.heatmaps import render
from engine.poses import PoseSequence
from engine.sampling import clip_plan


@dataclass(frozen=True, eq=False)
class HeatmapClips:
    """The 20 clips of a sample, each distinct frame stored once.

    Never larger than the tensor: 16 times smaller for 30 frames, 5 for 90, 2 for 300.

    `frames`: float32 [2, U, 17, 56, 56], the distinct frames and their flipped twins.
    `plan`: int32 [10, 48], positions in the second axis of `frames`.
    Clip c is ``frames[0][plan[c]]`` for c < 10 and ``frames[1][plan[c - 10]]`` after.
    """

    frames: NDArray[np.float32]
    plan: NDArray[np.int32]

    def write(self, first: int, out: NDArray[np.float32]) -> None:
        """Write clips `first`, `first` + 1, … into `out`, float32 [n, 17, 48, 56, 56]."""
        for row, clip in enumerate(range(first, first + len(out))):
            frames = self.frames[clip // NUM_CLIPS]
            for time, position in enumerate(self.plan[clip % NUM_CLIPS]):
                out[row, :, time] = frames[position]

    def tensor(self) -> NDArray[np.float32]:
        """The whole clip tensor, float32 [20, 17, 48, 56, 56] (205 MB)."""
        out = np.empty((VIEWS, *CLIP_SHAPE), np.float32)
        self.write(0, out)
        return out


@dataclass(frozen=True, eq=False)
class ClipTensor:
    """The 20 clips of a sample as the whole tensor, float32 [20, 17, 48, 56, 56]."""

    clips: NDArray[np.float32]

    def write(self, first: int, out: NDArray[np.float32]) -> None:
        """As `HeatmapClips.write`."""
        out[:] = self.clips[first : first + len(out)]


Clips = HeatmapClips | ClipTensor
"""What an executor takes."""


def decode(poses: PoseSequence, reference: Reference = "0.24.1") -> HeatmapClips:
    """Sample and draw the clips of a checked pose sequence."""
    plan = clip_plan(poses.total_frames)
    return HeatmapClips(render(poses, plan, reference), plan.positions)


def preprocess(
    annotation: Mapping[str, Any], reference: Reference = "0.24.1"
) -> NDArray[np.float32]:
    """The network's input for one annotation: float32 [20, 17, 48, 56, 56].

    `annotation` is a dict as in mmaction2's pose pickles (``keypoint`` [P, T, 17, 2],
    ``keypoint_score`` [P, T, 17], ``img_shape`` (height, width), ``total_frames``). The
    values equal those of mmaction2's test pipeline bit for bit: ten clips, then the
    same ten flipped. Raises `SampleError` for an annotation that cannot be used, and
    `UsageError` for an unknown reference.
    """
    if reference not in REFERENCES:
        raise UsageError(f"reference {reference!r}: choose from {', '.join(REFERENCES)}")
    return decode(PoseSequence.from_annotation(annotation), reference).tensor()
