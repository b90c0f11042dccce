"""Heatmap clips: a sample as frames and plan, and as the tensor that the network takes.

Comes in: an annotation. Goes out: `HeatmapClips`, a hundredth of the clip tensor's size and equal
to it; the tensor is materialised as late as the runtime demands, if at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.recipe import Recipe
from engine.skeletons.heatmaps import Joints, place, render
from engine.skeletons.poses import PoseSequence, Track
from engine.skeletons.sampling import clip_plan, distinct
from engine.skeletons.sparse import Frames


@dataclass(frozen=True, eq=False)
class HeatmapClips:
    """The clips of a sample, each distinct frame stored once.

    `frames`: the U distinct frames, then, if `twins`, their U flipped twins.
    `plan`: int32 [n, length], positions among the U, of the n clips before flipping.
    Clip c is ``frames[plan[c]]`` for c < n and ``frames[U + plan[c - n]]`` after.
    `track`: where they are a window of a track.
    """

    frames: Frames
    plan: NDArray[np.int32]
    twins: bool = True
    track: Track | None = None

    @property
    def views(self) -> int:
        """Clips: n, or 2 n with twins."""
        return (1 + self.twins) * len(self.plan)

    @property
    def unique(self) -> int:
        """U."""
        return len(self.frames) // (1 + self.twins)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of a clip: channels, length, size, size."""
        channels, height, width = self.frames.shape
        return channels, self.plan.shape[1], height, width

    def write(self, first: int, out: NDArray[Any]) -> None:
        """Write clips `first`, `first` + 1, … into `out`, [n, channels, length, size, size],
        float32 or float16."""
        for row, clip in enumerate(range(first, first + len(out))):
            flipped, number = divmod(clip, len(self.plan))
            self.frames.write_clip(self.plan[number] + flipped * self.unique, out[row])

    def part(self, first: int, last: int) -> HeatmapClips:
        """Clips `first` to `last` of the n, and their twins, with the frames that they need."""
        if (first, last) == (0, len(self.plan)):
            return self
        frames, plan = distinct(self.plan[first:last])
        chosen = np.concatenate([frames, self.unique + frames]) if self.twins else frames
        return replace(self, frames=self.frames.chosen(chosen), plan=plan)

    def tensor(self) -> NDArray[np.float32]:
        """The whole clip tensor, float32 [views, channels, length, size, size] (205 MB for HMDB51's
        recipe)."""
        out = np.empty((self.views, *self.shape), np.float32)
        self.write(0, out)
        return out


@dataclass(frozen=True, eq=False)
class ClipTensor:
    """The clips of a sample as the whole tensor, float32 [views, channels, length, size, size]."""

    clips: NDArray[np.float32]

    @property
    def views(self) -> int:
        """Clips."""
        return len(self.clips)

    def write(self, first: int, out: NDArray[Any]) -> None:
        """As `HeatmapClips.write`."""
        out[:] = self.clips[first : first + len(out)]


@dataclass(frozen=True, eq=False)
class JointClips:
    """The clips of a sample before anything is drawn: its joints; `plan` and `track` as above."""

    joints: Joints
    plan: NDArray[np.int32]
    recipe: Recipe
    track: Track | None = None

    @property
    def twins(self) -> bool:
        """Whether flipped clips follow."""
        return self.recipe.flip is not None

    @property
    def unique(self) -> int:
        """U."""
        return int(self.joints.peaks.shape[1])

    def part(self, first: int, last: int) -> JointClips:
        """As `HeatmapClips.part`."""
        if (first, last) == (0, len(self.plan)):
            return self
        frames, plan = distinct(self.plan[first:last])
        joints = Joints(self.joints.centres[:, frames], self.joints.peaks[:, frames])
        return replace(self, joints=joints, plan=plan)

    def drawn(self) -> HeatmapClips:
        """The same clips, drawn."""
        return HeatmapClips(render(self.joints, self.recipe), self.plan, self.twins, self.track)


Clips = HeatmapClips | ClipTensor
"""What a runner takes."""


def decode(poses: PoseSequence, recipe: Recipe) -> HeatmapClips:
    """Sample and draw the clips of a checked pose sequence."""
    return sampled(poses, recipe).drawn()


def sampled(poses: PoseSequence, recipe: Recipe) -> JointClips:
    """The clips of a checked pose sequence, not drawn yet."""
    plan = clip_plan(poses.total_frames, recipe)
    return JointClips(place(poses, plan, recipe), plan.positions, recipe, poses.track)
