"""The decode worker: poses in, heatmap clips out.

A process of its own. Comes in: leases with poses, from the supervisor. Goes out: clips, to
the executor that the lease names. Never imports a runtime.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import numpy as np
import zmq

from engine.base.choices import CLIPS, FRAMES, KEYPOINTS, Wire
from engine.base.constants import JOINTS, VIEWS, Reference, Views
from engine.base.errors import WireError
from engine.base.records import Cause
from engine.runtime.transport import wire
from engine.runtime.transport.link import Control, run_child
from engine.runtime.transport.wire import Message
from engine.skeletons.clips import sampled
from engine.skeletons.poses import PoseSequence

_SEND_TIMEOUT_MS = 500


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker process is told at its start."""

    reference: Reference
    wire: Wire
    views: Views = VIEWS


def main(control: str, name: str, settings: WorkerSettings) -> None:
    """The process: say READY, decode until told to stop."""
    run_child(control, name, lambda link: Worker(link, settings).run())


def lease_message(lease: int, seal: str, executor: str, poses: PoseSequence) -> Message:
    """The message that grants a lease: fields, keypoints and, if there are any, scores."""
    fields = {
        "lease": lease,
        "seal": seal,
        "executor": executor,
        "img_shape": poses.img_shape,
        "total_frames": poses.total_frames,
        "crop": poses.crop,
        "track": poses.track,
    }
    arrays = [poses.keypoint]
    if poses.keypoint_score is not None:
        arrays.append(poses.keypoint_score)
    return Message("lease", fields, tuple(_portable(a) for a in arrays))


def clips_message(poses: PoseSequence, fields: dict[str, Any], settings: WorkerSettings) -> Message:
    """What an executor needs of a sample, as the wire has it. Raises `SampleError`."""
    kind, reference = settings.wire, settings.reference
    if poses.track is not None:
        fields = {**fields, "track": poses.track}
    placed = sampled(poses, reference, settings.views)
    # a crowd's joints may be more than what is drawn of them
    if kind == KEYPOINTS and placed.joints.centres.nbytes <= wire.MAX_CLIPS:
        arrays = placed.joints.centres, placed.joints.peaks, placed.plan
        return Message(KEYPOINTS, {**fields, "reference": reference}, arrays)
    clips = placed.drawn()
    if kind == CLIPS:
        return Message(CLIPS, fields, (clips.tensor(),))
    frames = clips.frames
    return Message(FRAMES, fields, (frames.starts, frames.cells, frames.values, clips.plan))


def _portable(array: Any) -> Any:
    """The array in a dtype that the wire knows; float32 is what decoding casts to anyway."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return little if little.dtype.str in wire.DTYPES else array.astype(np.float32)


class Worker:
    """The loop of a worker process."""

    def __init__(self, control: Control, settings: WorkerSettings) -> None:
        self._control, self._settings = control, settings
        self._leases: deque[Message] = deque()
        self._executors: dict[str, str] = {}  # the incarnation alive in each slot
        self._outlets: dict[str, zmq.Socket[bytes]] = {}  # by incarnation
        self._stopping = False

    def run(self) -> NoReturn:
        """Decode until told to stop, and end the process."""
        facts = {"pid": os.getpid(), "numpy": np.__version__}
        self._control.send(Message("ready", {"facts": facts}))
        while not self._stopping:
            self._drain()
            if self._leases:
                self._handle(self._leases.popleft())
            elif not self._stopping:
                self._control.wait()
        # Nobody wants the rest; closing the outlets would wait for executors to take it.
        os._exit(0)

    def _drain(self) -> None:
        while (message := self._control.receive()) is not None:
            if message.kind == "stop":
                self._stopping = True
            elif message.kind == "executor":
                self._connect(message.fields)
            elif message.kind == "lease":
                self._leases.append(message)

    def _connect(self, fields: dict[str, Any]) -> None:
        """An executor has (re)started; leases on the one before it are void."""
        slot, name = fields["slot"], fields["name"]
        old = self._executors.get(slot)
        self._executors[slot] = name
        if old is not None:
            self._outlets.pop(old).close()
            self._leases = deque(m for m in self._leases if m.fields["executor"] != old)
        outlet = self._control.context.socket(zmq.PUSH)
        outlet.setsockopt(zmq.LINGER, wire.LINGER_MS)
        outlet.setsockopt(zmq.SNDTIMEO, _SEND_TIMEOUT_MS)
        self._control.connect(outlet, fields)
        self._outlets[name] = outlet

    def _handle(self, message: Message) -> None:
        fields = message.fields
        lease, executor = fields["lease"], fields["executor"]
        self._control.started([lease])
        self._control.send(Message("decoding", {"lease": lease}))
        start = time.monotonic()
        try:
            out = clips_message(
                _poses(message), {"lease": lease, "seal": fields["seal"]}, self._settings
            )
        except Exception as error:
            # Whatever an unforeseen annotation provokes concerns that sample only.
            cause = Cause.of(error, "decode")
            self._control.send(Message("failed", {"lease": lease, **asdict(cause)}))
            return
        finally:
            self._control.started([])
        rendered = time.monotonic()
        if self._push(out, executor):
            fields = {"lease": lease, "busy": rendered - start, "bytes": out.nbytes}
            self._control.send(Message("sent", fields))

    def _push(self, message: Message, executor: str) -> bool:
        """Hand clips to the transport without copying; False if their executor has died."""
        frames = wire.encode(message)
        while not self._stopping and executor in self._outlets:
            try:
                self._outlets[executor].send_multipart(frames, copy=False)
                return True
            except zmq.Again:
                self._drain()
        return False


def _poses(message: Message) -> PoseSequence:
    """The poses of a lease. Raises `WireError` or `SampleError`."""
    fields: Mapping[str, Any] = message.fields
    if not 1 <= len(message.arrays) <= 2:
        raise WireError(f"a lease with {len(message.arrays)} arrays")
    keypoint, *scores = message.arrays
    wire.check_array(keypoint, "keypoint", keypoint.dtype, (None, None, JOINTS, 2))
    return PoseSequence(
        keypoint,
        scores[0] if scores else None,
        (fields["img_shape"][0], fields["img_shape"][1]),
        fields["total_frames"],
        wire.whole_numbers(fields.get("crop"), "crop", 4),
        wire.whole_numbers(fields.get("track"), "track", 4),
    )
