"""The executor: a process that owns one device; nothing else touches the runtime.

Comes in: clips, from the workers. Goes out: logits, to the supervisor. In between they wait
for a batch (`engine.runtime.batching`) and go through the network (`engine.network.runners`).
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NoReturn

import numpy as np
import zmq
from numpy.typing import NDArray

from engine.base.errors import ModelError, UsageError, WireError, printable
from engine.base.records import Cause
from engine.base.threads import reason, room
from engine.network.recogniser import prepared
from engine.network.runners.base import Runner
from engine.network.runners.opening import default_batch
from engine.runtime.batching import Batcher
from engine.runtime.settings import ExecutorSettings
from engine.runtime.transport import clip_messages, wire
from engine.runtime.transport.clip_messages import (
    SentClips,
    clips_of_guests,
    most_nbytes,
    seal,
)
from engine.runtime.transport.link import Link, run_child
from engine.runtime.transport.messages import (
    ExecutorReady,
    Failed,
    Fatal,
    Hurry,
    Queued,
    Result,
    Running,
    Stop,
)
from engine.skeletons.clips import Clips, JointClips

_REMEMBERED = 10_000  # leases; many more than can be out
_THREADS = 16  # that a runtime starts, at the least, beside those that compute
_WAITING = 16  # messages of one worker that libzmq keeps

F32 = NDArray[np.float32]

log = logging.getLogger("engine")


def main(address: str, name: str, endpoint: str, settings: ExecutorSettings) -> None:
    """The process: load the model, say READY, run until told to stop."""
    run_child(address, name, lambda link: _serve(link, endpoint, settings))


def _serve(link: Link, endpoint: str, settings: ExecutorSettings) -> None:
    wanted = _THREADS + settings.threads
    if (there := room(wanted)) < wanted:  # who lacks some may crash, or hang, or blame the device
        log.warning("only %d threads can be started for the runtime: %s", there, reason(wanted))
    try:
        runner = settings.open_runner()
    except UsageError as error:
        _give_up(link, error)
        return
    with ExitStack() as stack:
        stack.callback(runner.close)
        socket = stack.enter_context(_receiving(link, settings))
        socket.bind(endpoint)
        if settings.guests:
            socket.bind(clips_of_guests(endpoint))
        batch = settings.max_batch or default_batch(runner, settings.recipe.views, settings.room)
        link.send(ExecutorReady(runner.facts, batch))
        try:
            _Service(link, socket, runner, settings, batch).run()
        except ModelError as error:  # another process could not do better with this file
            _give_up(link, error)


def _receiving(link: Link, settings: ExecutorSettings) -> zmq.Socket[bytes]:
    """A socket that takes clips."""
    socket: zmq.Socket[bytes] = link.context.socket(zmq.PULL)
    wire.limit(socket, most_nbytes(settings.recipe))
    # Leases bound what honest workers send; this bounds what others could make us hold.
    socket.setsockopt(zmq.RCVHWM, _WAITING)
    return socket


def _give_up(link: Link, error: UsageError) -> None:
    """Tell the supervisor what no other process could do better."""
    link.send(Fatal(printable(error)))


class _Stop(Exception):
    """The supervisor says that it is over."""


class _Service:
    """The loop of an executor process. Samples are known by their leases' numbers."""

    def __init__(
        self,
        link: Link,
        socket: zmq.Socket[bytes],
        runner: Runner,
        settings: ExecutorSettings,
        max_batch: int,
    ) -> None:
        self._link, self._socket, self._runner = link, socket, runner
        self._secret, self._max_batch = settings.secret, max_batch
        self._recipe = settings.recipe
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
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._link.socket, zmq.POLLIN)
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
        self._link.started([*self._runner.pending, *leases])
        self._link.send(Running(tuple(leases)))
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
            self._link.send(Failed(lease, Cause.of(error, "decode")))
            return None

    def _report(self, completed: Iterator[tuple[int, F32]]) -> None:
        """Send logits as they come."""
        for lease, logits in completed:
            if not self._together:  # the first of those that complete with it, who share the time
                now, self._together = time.monotonic(), self._runner.together
                self._busy, self._since = (now - self._since) / self._together, now
            self._together -= 1
            padded = self._runner.clips_padded
            self._link.send(Result(lease, self._busy, padded - self._padded, logits))
            self._padded = padded
            self._link.started(self._runner.pending)

    def _drain(self) -> None:
        """Take what has arrived, without waiting. Raises `_Stop` when told to, which
        abandons the batch: whoever stops an executor wants none of its results."""
        while (message := self._link.receive()) is not None:
            if isinstance(message, Stop):
                raise _Stop
            if isinstance(message, Hurry):
                self._batcher.hurry()
        for _ in range(wire.AT_ONCE):
            try:
                sent = clip_messages.read(wire.receive(self._socket)[1])
                self._admit(sent)
            except zmq.Again:
                return
            except WireError as error:
                self._link.report_dropped(error)
                continue
            try:
                clips = sent.clips(self._recipe)
            except WireError as error:  # nobody else would say what has become of the lease
                self._link.report_dropped(error)
                self._link.send(Failed(sent.lease, Cause.of(error, "decode")))
                continue
            self._batcher.add((sent.lease, clips), time.monotonic())
            self._link.send(Queued(sent.lease))

    def _admit(self, sent: SentClips) -> None:
        """Let clips in. Raises `WireError` for those of a lease that was never granted, or that
        has its clips: what waits here is bounded by the leases that are out."""
        lease = sent.lease
        if not hmac.compare_digest(sent.seal.encode(), seal(self._secret, lease).encode()):
            raise WireError("clips of a lease that was never granted")
        if lease in self._arrived or lease < self._oldest:
            raise WireError("clips of a lease that has had its own")
        self._arrived.add(lease)
        if len(self._arrived) > 2 * _REMEMBERED:  # numbers ascend
            self._arrived = set(sorted(self._arrived)[_REMEMBERED:])
            self._oldest = min(self._arrived)
