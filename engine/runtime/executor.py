"""The executor: a process that owns one device; nothing else touches the runtime.

Comes in: clips, from the workers. Goes out: logits, to the supervisor. In between they wait
for a batch (`engine.runtime.batching`) and go through the network (`engine.network.runners`).
"""

from __future__ import annotations

import contextlib
import hmac
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import numpy as np
import zmq
from numpy.typing import NDArray

from engine.backends import registry
from engine.base.choices import CLIPS, FRAMES, KEYPOINTS, Precision
from engine.base.constants import CLIP_LEN, CLIP_SHAPE, JOINTS, REFERENCES, Views, plan_rows
from engine.base.curve import Authenticator, Listening
from engine.base.errors import ModelError, UsageError, WireError, printable
from engine.base.records import Cause, Facts
from engine.network.models import ModelFile
from engine.network.recogniser import prepared
from engine.network.runners.base import Runner
from engine.network.runners.opening import default_batch, open_runner
from engine.runtime.batching import Batcher
from engine.runtime.transport import wire
from engine.runtime.transport.link import Control, run_child
from engine.runtime.transport.wire import Message
from engine.skeletons.clips import Clips, ClipTensor, HeatmapClips, JointClips
from engine.skeletons.heatmaps import Joints
from engine.skeletons.sparse import Frames

_REMEMBERED = 10_000  # leases; many more than can be out
_WAITING = 16  # messages of one worker that libzmq keeps

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class ExecutorSettings:
    """What an executor process is told at its start."""

    backend: str
    model: ModelFile
    device: str | None
    precision: Precision
    threads: int
    max_batch: int | None  # samples; None: what suits the runner
    max_wait: float  # seconds
    secret: bytes  # see `engine.runtime.transport.wire.seal`
    views: Views  # clips of every sample
    listening: Listening | None = None  # for clips of workers on other machines
    room: int = 0  # bytes for what is kept of tracks

    def open_runner(self) -> Runner:
        """Load the model. Raises what `backends.load` and `runners.open_runner` do."""
        backend = registry.load(
            self.backend,
            self.model,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
        )
        return open_runner(backend, self.model, self.views, self.room)


def main(control: str, name: str, endpoint: str, settings: ExecutorSettings) -> None:
    """The process: load the model, say READY, run until told to stop."""
    run_child(control, name, lambda link: _serve(link, endpoint, settings))


def _serve(control: Control, endpoint: str, settings: ExecutorSettings) -> None:
    try:
        runner = settings.open_runner()
    except UsageError as error:
        _give_up(control, error)
        return
    with ExitStack() as stack:
        stack.callback(runner.close)
        inbox, port = _inbox(control), None
        inbox.bind(endpoint)
        inboxes = [inbox]
        if settings.listening is not None:
            if settings.listening.keys is not None:
                authenticator = Authenticator(control.context, settings.listening.keys)
                stack.callback(authenticator.close)
            gate = _inbox(control)
            port = settings.listening.bind(gate, None)
            inboxes.append(gate)
        batch = settings.max_batch or default_batch(runner, settings.views, settings.room)
        about = {"facts": asdict(runner.facts), "port": port, "max_batch": batch}
        control.send(Message("ready", about))
        try:
            _Service(control, inboxes, runner, settings, batch).run()
        except ModelError as error:  # another process could not do better with this file
            _give_up(control, error)
        for inbox in inboxes:
            inbox.close()


def _inbox(control: Control) -> zmq.Socket[bytes]:
    inbox: zmq.Socket[bytes] = control.context.socket(zmq.PULL)
    wire.limit(inbox, wire.MAX_CLIPS)
    # Leases bound what honest workers send; this bounds what others could make us hold.
    inbox.setsockopt(zmq.RCVHWM, _WAITING)
    return inbox


def _give_up(control: Control, error: UsageError) -> None:
    """Tell the supervisor what no other process could do better."""
    control.send(Message("fatal", {"message": printable(error)}))


class _Stop(Exception):
    """The supervisor says that it is over."""


class _Service:
    """The loop of an executor process. Samples are known by their leases' numbers."""

    def __init__(
        self,
        control: Control,
        inboxes: Sequence[zmq.Socket[bytes]],
        runner: Runner,
        settings: ExecutorSettings,
        max_batch: int,
    ) -> None:
        self._control, self._inboxes, self._runner = control, inboxes, runner
        self._secret, self._max_batch = settings.secret, max_batch
        self._views = settings.views
        self._batcher: Batcher[tuple[int, Clips | JointClips]] = Batcher(
            max_batch, settings.max_wait
        )
        self._since = 0.0  # when the device began, or last completed a sample
        self._together = 0  # samples that are complete and not reported yet
        self._busy = 0.0  # seconds of the device for each of them
        self._padded = 0  # filler clips reported so far
        self._arrived: set[int] = set()  # leases that have their clips, the latest of them
        self._oldest = 0

    def run(self) -> None:
        """Serve until told to stop."""
        with contextlib.suppress(_Stop):
            self._loop()

    def _loop(self) -> NoReturn:
        poller = zmq.Poller()
        for inbox in self._inboxes:
            poller.register(inbox, zmq.POLLIN)
        poller.register(self._control.socket, zmq.POLLIN)
        while True:
            self._drain()
            now = time.monotonic()
            # A batch that would be padded goes on filling while the device is busy.
            size = self._batcher.next_size
            held = size < self._max_batch and not self._runner.idle and self._runner.pads(size)
            batch = [] if held else self._batcher.take(now)
            if batch:
                self._start(batch, now)
            elif not self._runner.idle:
                self._report(self._runner.collect(meanwhile=self._drain))
            else:
                due = self._batcher.due()
                poller.poll(None if due is None else math.ceil(1e3 * max(0.0, due - now)))

    def _start(self, batch: list[tuple[int, Clips | JointClips]], now: float) -> None:
        leases = [lease for lease, _ in batch]
        self._control.started([*self._runner.pending, *leases])
        self._control.send(Message("running", {"leases": leases}))
        if self._runner.idle:
            self._since = now
        ready = [(lease, clips) for lease, found in batch if (clips := self._drawn(lease, found))]
        self._report(self._runner.feed(ready, meanwhile=self._drain))

    def _drawn(self, lease: int, clips: Clips | JointClips) -> Clips | JointClips | None:
        """Clips to run; None for joints that cannot be drawn, or clips that the network cannot
        take, which concerns that sample only."""
        try:
            return prepared(self._runner, clips)
        except Exception as error:
            cause = Cause.of(error, "decode")
            self._control.send(Message("failed", {"lease": lease, **asdict(cause)}))
            return None

    def _report(self, completed: Iterator[tuple[int, F32]]) -> None:
        """Send logits as they come."""
        for lease, logits in completed:
            if not self._together:  # the first of those that complete with it, who share the time
                now, self._together = time.monotonic(), self._runner.together
                self._busy, self._since = (now - self._since) / self._together, now
            self._together -= 1
            padded = self._runner.clips_padded
            fields = {"lease": lease, "busy": self._busy, "padded": padded - self._padded}
            self._control.send(Message("result", fields, (logits,)))
            self._padded = padded
            self._control.started(self._runner.pending)

    def _drain(self) -> None:
        """Take what has arrived, without waiting. Raises `_Stop` when told to, which
        abandons the batch: whoever stops an executor wants none of its results."""
        while (message := self._control.receive()) is not None:
            if message.kind == "stop":
                raise _Stop
        for inbox in self._inboxes:
            self._take(inbox)

    def _take(self, inbox: zmq.Socket[bytes]) -> None:
        for _ in range(wire.AT_ONCE):
            try:
                _, message = wire.receive(inbox)
                lease = self._admit(message)
                clips = _clips(message, self._views)
            except zmq.Again:
                return
            except WireError as error:
                self._control.report_dropped(error)
                continue
            self._batcher.add((lease, clips), time.monotonic())
            self._control.send(Message("queued", {"lease": lease}))

    def _admit(self, message: Message) -> int:
        """The lease that clips belong to. Raises `WireError` for one that was never granted, or
        that has its clips: what waits here is bounded by the leases that are out."""
        lease, seal = message.fields.get("lease"), message.fields.get("seal")
        if type(lease) is not int or not isinstance(seal, str):
            raise WireError("clips without a lease")
        if not hmac.compare_digest(seal.encode(), wire.seal(self._secret, lease).encode()):
            raise WireError("clips of a lease that was never granted")
        if lease in self._arrived or lease < self._oldest:
            raise WireError("clips of a lease that has had its own")
        self._arrived.add(lease)
        if len(self._arrived) > 2 * _REMEMBERED:  # numbers ascend
            self._arrived = set(sorted(self._arrived)[_REMEMBERED:])
            self._oldest = min(self._arrived)
        return lease


def _clips(message: Message, views: int) -> Clips | JointClips:
    """Clips out of a message, so many. Raises `WireError`."""
    arrays, (rows, twins) = message.arrays, plan_rows(views)
    track = wire.whole_numbers(message.fields.get("track"), "track", 4)
    if message.kind == FRAMES and len(arrays) == 4:
        frames = Frames(
            wire.check_array(arrays[0], "starts", np.int32, (None,)),
            wire.check_array(arrays[1], "cells", np.uint16, (None,)),
            wire.check_array(arrays[2], "values", np.float32, (None,)),
        )
        if flaw := frames.flawed():
            raise WireError(flaw)
        plan = _plan(arrays[3], len(frames) // (1 + twins), rows)
        return HeatmapClips(frames, plan, twins, track)
    if message.kind == KEYPOINTS and len(arrays) == 3:
        reference = message.fields.get("reference")
        if reference not in REFERENCES:
            raise WireError(f"keypoints for reference {reference!r:.20}")
        persons, unique = arrays[1].shape[:2] if arrays[1].ndim == 3 else (0, 0)
        joints = Joints(
            wire.check_array(arrays[0], "centres", np.float64, (persons, unique, JOINTS, 2)),
            wire.check_array(arrays[1], "peaks", np.float32, (persons, unique, JOINTS)),
        )
        plan = _plan(arrays[2], unique, rows)
        return JointClips(joints, plan, reference, twins, track)
    if message.kind == CLIPS and len(arrays) == 1:
        return ClipTensor(wire.check_array(arrays[0], "clips", np.float32, (views, *CLIP_SHAPE)))
    raise WireError(f"a message of kind {message.kind!r:.20} with {len(arrays)} arrays")


def _plan(array: NDArray[Any], unique: int, rows: int) -> NDArray[np.int32]:
    """A clip plan of so many rows over so many frames. Raises `WireError`."""
    plan = wire.check_array(array, "plan", np.int32, (rows, CLIP_LEN))
    if plan.min() < 0 or plan.max() >= unique:
        raise WireError(f"a plan that points beyond {unique} frames")
    return plan


def facts_from(fields: dict[str, Any]) -> Facts:
    """The facts that an executor's READY carries."""
    return Facts(**fields["facts"])
