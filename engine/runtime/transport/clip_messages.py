"""Clip messages: the clips of a sample, from a worker to an executor.

Comes in: clips, in the form that ``--wire`` chooses. Goes out: the same clips, whose arrays are
those of the message. A message is let in by its seal before its arrays are looked at.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import CLIPS, FRAMES, KEYPOINTS, Wire
from engine.base.constants import CLIP_LEN, CLIP_SHAPE, JOINTS, VIEWS, Reference, plan_rows
from engine.base.errors import WireError
from engine.runtime.transport import messages
from engine.runtime.transport.bodies import Body
from engine.runtime.transport.wire import Message, check_array
from engine.skeletons.clips import Clips, ClipTensor, HeatmapClips, JointClips
from engine.skeletons.heatmaps import Joints
from engine.skeletons.poses import Track
from engine.skeletons.sparse import CELLS, CELLS_OF_JOINT, Frames

# A clip tensor; 480 distinct frames and their twins, were every cell drawn, are as many values.
MAX_CLIPS = VIEWS * int(np.prod(CLIP_SHAPE)) * 4

_PLAN = (np.int32, (None, CLIP_LEN))


def seal(secret: bytes, lease: int) -> str:
    """What an executor lets clips in by: only who has been granted a lease can have its seal."""
    return hmac.digest(secret, str(lease).encode(), "sha256").hex()


@dataclass(frozen=True, eq=False)
class SentFrames(
    Body,
    kind=FRAMES,
    arrays={
        "starts": (np.int32, (None,)),
        "cells": (np.uint16, (None,)),
        "values": (np.float32, (None,)),
        "plan": _PLAN,
    },
):
    """Distinct frames and the plan of the clips: fields and arrays of `HeatmapClips`."""

    lease: int
    seal: str
    track: Track | None
    starts: NDArray[np.int32]
    cells: NDArray[np.uint16]
    values: NDArray[np.float32]
    plan: NDArray[np.int32]

    def clips(self, views: int) -> HeatmapClips:
        """The clips of a sample of so many. Raises `WireError`."""
        rows, twins = plan_rows(views)
        frames = Frames(self.starts, self.cells, self.values)
        if flaw := frames.flawed():
            raise WireError(flaw)
        _check_plan(self.plan, len(frames) // (1 + twins), rows)
        return HeatmapClips(frames, self.plan, twins, self.track)


@dataclass(frozen=True, eq=False)
class SentJoints(
    Body,
    kind=KEYPOINTS,
    arrays={
        "centres": (np.float64, (None, None, JOINTS, 2)),
        "peaks": (np.float32, (None, None, JOINTS)),
        "plan": _PLAN,
    },
):
    """Joints that are not drawn yet: fields and arrays of `JointClips`."""

    lease: int
    seal: str
    track: Track | None
    reference: Reference
    centres: NDArray[np.float64]
    peaks: NDArray[np.float32]
    plan: NDArray[np.int32]

    def clips(self, views: int) -> JointClips:
        """The clips of a sample of so many. Raises `WireError`."""
        rows, twins = plan_rows(views)
        persons, unique, _ = self.peaks.shape
        check_array(self.centres, "centres", np.float64, (persons, unique, JOINTS, 2))
        _check_plan(self.plan, unique, rows)
        return JointClips(
            Joints(self.centres, self.peaks), self.plan, self.reference, twins, self.track
        )


@dataclass(frozen=True, eq=False)
class SentTensor(Body, kind=CLIPS, arrays={"tensor": (np.float32, (None, *CLIP_SHAPE))}):
    """The whole clip tensor."""

    lease: int
    seal: str
    tensor: NDArray[np.float32]

    def clips(self, views: int) -> ClipTensor:
        """The clips of a sample of so many. Raises `WireError`."""
        return ClipTensor(check_array(self.tensor, "clips", np.float32, (views, *CLIP_SHAPE)))


SentClips = SentFrames | SentJoints | SentTensor
_KINDS: dict[str, type[Body]] = {one.kind: one for one in (SentFrames, SentJoints, SentTensor)}


def of_clips(lease: int, sealed: str, clips: Clips | JointClips) -> SentClips:
    """The message that carries clips. Copies nothing."""
    if isinstance(clips, ClipTensor):
        return SentTensor(lease, sealed, clips.clips)
    if isinstance(clips, JointClips):
        joints = clips.joints
        return SentJoints(
            lease, sealed, clips.track, clips.reference, joints.centres, joints.peaks, clips.plan
        )
    frames = clips.frames
    return SentFrames(
        lease, sealed, clips.track, frames.starts, frames.cells, frames.values, clips.plan
    )


def read(message: Message) -> SentClips:
    """What `of_clips` makes, as far as it can be told without a look into the arrays. Raises
    `WireError`."""
    found: SentClips = messages.read(message, _KINDS)
    return found


def _check_plan(plan: NDArray[np.int32], unique: int, rows: int) -> None:
    """Raise `WireError` where it is not of so many rows over so many frames."""
    check_array(plan, "plan", np.int32, (rows, CLIP_LEN))
    if plan.min() < 0 or plan.max() >= unique:
        raise WireError(f"a plan that points beyond {unique} frames")


def clips_nbytes(wire: Wire, unique_frames: int, persons: int, views: int = VIEWS) -> int:
    """Bytes that the arrays of one sample's clips have at most, and what is drawn of them."""
    if wire == CLIPS:
        return views * MAX_CLIPS // VIEWS
    rows, twins = plan_rows(views)
    halves, plan = 1 + twins, rows * CLIP_LEN * 4
    entries = min(CELLS, persons * JOINTS * CELLS_OF_JOINT) * halves * unique_frames
    frames = 6 * entries + 4 * (halves * unique_frames + 1)
    if wire == KEYPOINTS:
        return frames + persons * unique_frames * JOINTS * (2 * 8 + 4) + plan
    return frames + plan
