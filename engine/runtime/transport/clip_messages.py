"""Clip messages: the clips of a sample, from a worker to an executor.

Comes in: clips, in the form that ``--wire`` chooses. Goes out: the same clips, whose arrays are
those of the message. A message is let in by its seal before its arrays are looked at.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import CLIPS, FRAMES, KEYPOINTS, Wire
from engine.base.errors import WireError
from engine.base.recipe import Recipe
from engine.runtime.transport import messages
from engine.runtime.transport.bodies import Body
from engine.runtime.transport.wire import Message, check_array
from engine.skeletons.clips import Clips, ClipTensor, HeatmapClips, JointClips
from engine.skeletons.heatmaps import Joints
from engine.skeletons.poses import Track
from engine.skeletons.sparse import Frames

_PLAN = (np.int32, (None, None))


def seal(secret: bytes, lease: int) -> str:
    """What an executor lets clips in by: only who has been granted a lease can have its seal."""
    return hmac.digest(secret, str(lease).encode(), "sha256").hex()


def clips_of_guests(endpoint: str) -> str:
    """Where the gate passes clips of guests to, of the endpoint of whatever process an executor's
    slot has: its own is of that process alone."""
    return endpoint.rpartition(".")[0]


@dataclass(frozen=True, eq=False)
class SentFrames(
    Body,
    kind=FRAMES,
    arrays={
        "starts": (np.int32, (None,)),
        "cells": (None, (None,)),
        "values": (np.float32, (None,)),
        "plan": _PLAN,
    },
):
    """Distinct frames and the plan of the clips: fields and arrays of `HeatmapClips`."""

    lease: int
    seal: str
    track: Track | None
    starts: NDArray[np.int32]
    cells: NDArray[np.unsignedinteger[Any]]
    values: NDArray[np.float32]
    plan: NDArray[np.int32]

    def clips(self, recipe: Recipe) -> HeatmapClips:
        """The clips of a sample. Raises `WireError`."""
        twins = recipe.flip is not None
        check_array(self.cells, "cells", recipe.cell_type, (None,))
        frames = Frames(self.starts, self.cells, self.values, recipe.frame_shape)
        if flaw := frames.flawed():
            raise WireError(flaw)
        _check_plan(self.plan, len(frames) // (1 + twins), recipe)
        return HeatmapClips(frames, self.plan, twins, self.track)


@dataclass(frozen=True, eq=False)
class SentJoints(
    Body,
    kind=KEYPOINTS,
    arrays={
        "centres": (np.float64, (None, None, None, 2)),
        "peaks": (np.float32, (None, None, None)),
        "plan": _PLAN,
    },
):
    """Joints that are not drawn yet: fields and arrays of `JointClips`."""

    lease: int
    seal: str
    track: Track | None
    centres: NDArray[np.float64]
    peaks: NDArray[np.float32]
    plan: NDArray[np.int32]

    def clips(self, recipe: Recipe) -> JointClips:
        """The clips of a sample. Raises `WireError`."""
        persons, unique, _ = self.peaks.shape
        check_array(self.peaks, "peaks", np.float32, (None, None, recipe.joints))
        check_array(self.centres, "centres", np.float64, (persons, unique, recipe.joints, 2))
        _check_plan(self.plan, unique, recipe)
        return JointClips(Joints(self.centres, self.peaks), self.plan, recipe, self.track)


@dataclass(frozen=True, eq=False)
class SentTensor(Body, kind=CLIPS, arrays={"tensor": (np.float32, (None,) * 5)}):
    """The whole clip tensor."""

    lease: int
    seal: str
    tensor: NDArray[np.float32]

    def clips(self, recipe: Recipe) -> ClipTensor:
        """The clips of a sample. Raises `WireError`."""
        shape = recipe.views, *recipe.clip_shape
        return ClipTensor(check_array(self.tensor, "clips", np.float32, shape))


SentClips = SentFrames | SentJoints | SentTensor
_KINDS: dict[str, type[Body]] = {one.kind: one for one in (SentFrames, SentJoints, SentTensor)}


def of_clips(lease: int, sealed: str, clips: Clips | JointClips) -> SentClips:
    """The message that carries clips. Copies nothing."""
    if isinstance(clips, ClipTensor):
        return SentTensor(lease, sealed, clips.clips)
    if isinstance(clips, JointClips):
        joints = clips.joints
        return SentJoints(lease, sealed, clips.track, joints.centres, joints.peaks, clips.plan)
    frames = clips.frames
    return SentFrames(
        lease, sealed, clips.track, frames.starts, frames.cells, frames.values, clips.plan
    )


def read(message: Message) -> SentClips:
    """What `of_clips` makes, as far as it can be told without a look into the arrays. Raises
    `WireError`."""
    found: SentClips = messages.read(message, _KINDS)
    return found


def _check_plan(plan: NDArray[np.int32], unique: int, recipe: Recipe) -> None:
    """Raise `WireError` where it is none of the recipe over so many frames."""
    check_array(plan, "plan", np.int32, (recipe.clips, recipe.length))
    if plan.min() < 0 or plan.max() >= unique:
        raise WireError(f"a plan that points beyond {unique} frames")


def most_nbytes(recipe: Recipe) -> int:
    """Bytes of a clip tensor. As many distinct frames and their twins as the clips have, were
    every cell drawn, are as many values."""
    return recipe.views * prod(recipe.clip_shape) * 4


def clips_nbytes(wire: Wire, unique_frames: int, persons: int, recipe: Recipe) -> int:
    """Bytes that the arrays of one sample's clips have at most, and what is drawn of them."""
    if wire == CLIPS:
        return most_nbytes(recipe)
    halves, plan = 1 + (recipe.flip is not None), recipe.clips * recipe.length * 4
    drawn = recipe.cells  # a limb may be as long as the canvas
    if recipe.limbs is None:
        drawn = min(drawn, persons * recipe.joints * recipe.window**2)
    entry = 4 + recipe.cell_type.itemsize
    frames = halves * unique_frames * (drawn * entry + 4) + 4
    if wire == KEYPOINTS:
        return frames + persons * unique_frames * recipe.joints * (2 * 8 + 4) + plan
    return frames + plan
