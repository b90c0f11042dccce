"""The decode worker: poses in, heatmap clips out.

A process of its own. Comes in: leases with poses, from the supervisor. Goes out: clips, to
the executor that the lease names. Never imports a runtime.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import NoReturn

import numpy as np
import zmq

from engine.base.choices import CLIPS, KEYPOINTS
from engine.base.records import Cause
from engine.runtime.transport import clip_messages, wire
from engine.runtime.transport.clip_messages import most_nbytes
from engine.runtime.transport.link import Link, run_child
from engine.runtime.transport.messages import (
    Decoding,
    ExecutorAddress,
    Failed,
    Grant,
    Sent,
    Stop,
    WorkerReady,
    WorkerSettings,
)
from engine.runtime.transport.wire import Message
from engine.skeletons.clips import Clips, ClipTensor, JointClips, sampled
from engine.skeletons.poses import PoseSequence

_SEND_TIMEOUT_MS = 500


def main(address: str, name: str, settings: WorkerSettings) -> None:
    """The process: say READY, decode until told to stop."""
    run_child(address, name, lambda link: Worker(link, settings).run())


def clips_of(poses: PoseSequence, settings: WorkerSettings) -> Clips | JointClips:
    """The clips of a sample, in the form that the wire has. Raises `SampleError`."""
    placed = sampled(poses, settings.recipe)
    # a crowd's joints may be more than what is drawn of them
    if settings.wire == KEYPOINTS and placed.joints.centres.nbytes <= most_nbytes(settings.recipe):
        return placed
    drawn = placed.drawn()
    return ClipTensor(drawn.tensor()) if settings.wire == CLIPS else drawn


class Worker:
    """The loop of a worker process."""

    def __init__(self, link: Link, settings: WorkerSettings) -> None:
        self._link, self._settings = link, settings
        self._grants: deque[Grant] = deque()
        self._executors: dict[str, str] = {}  # the incarnation alive in each slot
        self._sockets: dict[str, zmq.Socket[bytes]] = {}  # to each incarnation
        self._stopping = False

    def run(self) -> NoReturn:
        """Decode until told to stop, and end the process."""
        self._link.send(WorkerReady(os.getpid(), np.__version__))
        while not self._stopping:
            self._drain()
            if self._grants:
                self._handle(self._grants.popleft())
            elif not self._stopping:
                self._link.wait()
        # Nobody wants the rest; closing the sockets would wait for executors to take it.
        os._exit(0)

    def _drain(self) -> None:
        while (message := self._link.receive()) is not None:
            if isinstance(message, Stop):
                self._stopping = True
            elif isinstance(message, ExecutorAddress):
                self._connect(message)
            elif isinstance(message, Grant):
                self._grants.append(message)

    def _connect(self, executor: ExecutorAddress) -> None:
        """An executor has (re)started; leases on the one before it are void."""
        old = self._executors.get(executor.slot)
        self._executors[executor.slot] = executor.name
        if old is not None:
            self._sockets.pop(old).close()
            self._grants = deque(grant for grant in self._grants if grant.executor != old)
        socket = self._link.context.socket(zmq.PUSH)
        socket.setsockopt(zmq.LINGER, wire.LINGER_MS)
        socket.setsockopt(zmq.SNDTIMEO, _SEND_TIMEOUT_MS)
        self._link.connect(socket, executor)
        self._sockets[executor.name] = socket

    def _handle(self, grant: Grant) -> None:
        self._link.started([grant.lease])
        self._link.send(Decoding(grant.lease))
        start = time.monotonic()
        try:
            clips = clips_of(grant.poses(), self._settings)
            message = clip_messages.of_clips(grant.lease, grant.seal, clips).write()
        except Exception as error:
            # Whatever an unforeseen annotation provokes concerns that sample only.
            self._link.send(Failed(grant.lease, Cause.of(error, "decode")))
            return
        finally:
            self._link.started([])
        rendered = time.monotonic()
        if self._push(message, grant.executor):
            self._link.send(Sent(grant.lease, rendered - start, message.nbytes))

    def _push(self, message: Message, executor: str) -> bool:
        """Hand clips to the transport without copying; False if their executor has died."""
        frames = wire.encode(message)
        while not self._stopping and executor in self._sockets:
            try:
                self._sockets[executor].send_multipart(frames, copy=False)
                return True
            except zmq.Again:
                self._drain()
        return False
