"""Heatmap clips: a sample as frames and plan, and as the tensor that the network takes.

Comes in: an annotation. Goes out: `HeatmapClips`, a hundredth of the clip tensor's size and
equal to it; the tensor is materialised as late as the runtime demands, if at all. Called by
the decode stage (`decode`) and the executor (`HeatmapClips.write`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.constants import CLIP_SHAPE, NUM_CLIPS, REFERENCES, VIEWS, Reference
from engine.errors import UsageError
from engine.frames import Frames
from engine.heatmaps import Joints, place, render
from engine.poses import PoseSequence
from engine.sampling import clip_plan


@dataclass(frozen=True, eq=False)
class HeatmapClips:
    """The 20 clips of a sample, each distinct frame stored once.

    `frames`: the U distinct frames, then their U flipped twins.
    `plan`: int32 [10, 48], positions among the U.
    Clip c is ``frames[plan[c]]`` for c < 10 and ``frames[U + plan[c - 10]]`` after.
    """

    frames: Frames
    plan: NDArray[np.int32]

    @property
    def unique(self) -> int:
        """U."""
        return len(self.frames) // 2

    def write(self, first: int, out: NDArray[Any]) -> None:
        """Write clips `first`, `first` + 1, … into `out`, [n, 17, 48, 56, 56], float32 or
        float16."""
        for row, clip in enumerate(range(first, first + len(out))):
            flipped, number = divmod(clip, NUM_CLIPS)
            self.frames.write_clip(self.plan[number] + flipped * self.unique, out[row])

    def tensor(self) -> NDArray[np.float32]:
        """The whole clip tensor, float32 [20, 17, 48, 56, 56] (205 MB)."""
        out = np.empty((VIEWS, *CLIP_SHAPE), np.float32)
        self.write(0, out)
        return out


@dataclass(frozen=True, eq=False)
class ClipTensor:
    """The 20 clips of a sample as the whole tensor, float32 [20, 17, 48, 56, 56]."""

    clips: NDArray[np.float32]

    def write(self, first: int, out: NDArray[Any]) -> None:
        """As `HeatmapClips.write`."""
        out[:] = self.clips[first : first + len(out)]


@dataclass(frozen=True, eq=False)
class JointClips:
    """The 20 clips of a sample before anything is drawn: its joints, and `plan` as above."""

    joints: Joints
    plan: NDArray[np.int32]
    reference: Reference

    def drawn(self) -> HeatmapClips:
        """The same clips, drawn."""
        return HeatmapClips(render(self.joints, self.reference), self.plan)


Clips = HeatmapClips | ClipTensor
"""What a runner takes."""


def decode(poses: PoseSequence, reference: Reference = "0.24.1") -> HeatmapClips:
    """Sample and draw the clips of a checked pose sequence."""
    plan = clip_plan(poses.total_frames)
    return JointClips(place(poses, plan, reference), plan.positions, reference).drawn()


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
