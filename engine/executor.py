"""The executor: clips of several samples through one device.

`Executor` packs clips into runs of the sizes that a backend takes; `engine.pipeline` uses
it in-process, and `main` puts it behind sockets: clips come in from the workers, logits
go out to the supervisor. One process a device; nothing else touches the runtime.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from engine import backends, wire
from engine.backends import Backend, Facts
from engine.batching import Batcher, split_rows
from engine.child import Control, run_child
from engine.clips import Clips, ClipTensor, HeatmapClips
from engine.constants import CLIP_LEN, CLIP_SHAPE, JOINTS, NUM_CLIPS, SIZE, VIEWS
from engine.errors import BackendError, EngineError, UsageError, WireError
from engine.models import ModelFile
from engine.wire import Message

F32 = NDArray[np.float32]


class Executor:
    """Owns a backend and the buffers that it runs on.

    `clips_run` and `clips_padded` count what the device was given: real and filler.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._buffers: dict[tuple[int, int], F32] = {}
        self.clips_run = 0
        self.clips_padded = 0

    def infer(
        self, batch: Sequence[Clips], meanwhile: Callable[[], object] = lambda: None
    ) -> Iterator[F32]:
        """Logits, float32 [20, classes], of each sample of the batch, in order.

        `meanwhile` is called between two runs, while the device is at work.
        """
        total = VIEWS * len(batch)
        under_way: deque[tuple[int, int, int]] = deque()  # lane, size, real clips
        rows: list[F32] = []  # of samples not complete yet
        first = 0
        for turn, size in enumerate(split_rows(total, self._backend.sizes)):
            lane = turn % self._backend.lanes
            if len(under_way) == self._backend.lanes:
                yield from self._collect(under_way, rows)
            buffer = self._buffer(lane, size)
            real = min(size, total - first)
            _fill(buffer[:real], batch, first)
            buffer[real:] = 0
            self._backend.start(lane, buffer)
            under_way.append((lane, size, real))
            self.clips_run += real
            self.clips_padded += size - real
            first += real
            meanwhile()
        while under_way:
            yield from self._collect(under_way, rows)

    def _buffer(self, lane: int, size: int) -> F32:
        if (lane, size) not in self._buffers:
            self._buffers[lane, size] = np.zeros((size, *CLIP_SHAPE), np.float32)
        return self._buffers[lane, size]

    def _collect(self, under_way: deque[tuple[int, int, int]], rows: list[F32]) -> Iterator[F32]:
        """Finish the oldest run; yield the samples that it completes."""
        lane, size, real = under_way.popleft()
        output = self._backend.finish(lane)
        if output.ndim != 2 or len(output) != size:
            raise BackendError(
                f"the network returned shape {output.shape} for {size} clips; "
                "expected one row of logits a clip"
            )
        rows.extend(output[:real])
        while len(rows) >= VIEWS:
            yield np.stack(rows[:VIEWS])
            del rows[:VIEWS]


def _fill(out: F32, batch: Sequence[Clips], first: int) -> None:
    """Write rows `first`, `first` + 1, … of the batch's clips, counted through all samples."""
    done = 0
    while done < len(out):
        sample, clip = divmod(first + done, VIEWS)
        count = min(VIEWS - clip, len(out) - done)
        batch[sample].write(clip, out[done : done + count])
        done += count


@dataclass(frozen=True)
class ExecutorSettings:
    """What an executor process is told at its start."""

    backend: str
    model: ModelFile
    device: str | None
    precision: backends.Precision
    threads: int
    max_batch: int
    max_wait: float  # seconds


@dataclass(frozen=True, eq=False)
class _Arrival:
    lease: int
    clips: Clips


def main(control: str, name: str, endpoint: str, settings: ExecutorSettings) -> None:
    """The process: load the model, say READY, run until told to stop."""
    run_child(control, name, lambda link: _serve(link, endpoint, settings))


def _serve(control: Control, endpoint: str, settings: ExecutorSettings) -> None:
    try:
        backend = backends.load(
            settings.backend,
            settings.model,
            device=settings.device,
            precision=settings.precision,
            threads=settings.threads,
        )
    except EngineError as error:
        usage = isinstance(error, UsageError)
        control.send(Message("fatal", {"usage": usage, "message": str(error)}))
        return
    inbox = control.context.socket(zmq.PULL)
    wire.limit(inbox, wire.MAX_CLIPS)
    inbox.bind(endpoint)
    control.send(Message("ready", {"facts": asdict(backend.facts)}))
    _Service(control, inbox, Executor(backend), settings).run()
    inbox.close()
    backend.close()


class _Service:
    """The loop of an executor process."""

    def __init__(
        self,
        control: Control,
        inbox: zmq.Socket[bytes],
        executor: Executor,
        settings: ExecutorSettings,
    ) -> None:
        self._control, self._inbox, self._executor = control, inbox, executor
        self._batcher: Batcher[_Arrival] = Batcher(settings.max_batch, settings.max_wait)
        self._stopping = False

    def run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._inbox, zmq.POLLIN)
        poller.register(self._control.socket, zmq.POLLIN)
        while True:
            self._drain()
            if self._stopping:
                return
            now = time.monotonic()
            batch = self._batcher.take(now)
            if batch:
                self._run_batch(batch)
                continue
            due = self._batcher.due()
            poller.poll(None if due is None else math.ceil(1e3 * max(0.0, due - now)))

    def _run_batch(self, batch: list[_Arrival]) -> None:
        leases = [arrival.lease for arrival in batch]
        self._control.send(Message("running", {"leases": leases}))
        start = time.monotonic()
        padded = self._executor.clips_padded
        outputs = self._executor.infer([a.clips for a in batch], meanwhile=self._drain)
        for lease, logits in zip(leases, outputs, strict=True):
            now = time.monotonic()
            fields = {"lease": lease, "busy": now - start,
                      "padded": self._executor.clips_padded - padded}  # fmt: skip
            self._control.send(Message("result", fields, (logits,)))
            start, padded = now, self._executor.clips_padded

    def _drain(self) -> None:
        """Take what has arrived, without waiting."""
        while (message := self._control.receive()) is not None:
            self._stopping = self._stopping or message.kind == "stop"
        while True:
            try:
                _, message = wire.receive(self._inbox)
                arrival = _arrival(message)
            except zmq.Again:
                return
            except WireError as error:
                self._control.dropped(error)
                continue
            self._batcher.add(arrival, time.monotonic())
            self._control.send(Message("queued", {"lease": arrival.lease}))


def _arrival(message: Message) -> _Arrival:
    """A sample's clips out of a message. Raises `WireError`."""
    lease = message.fields.get("lease")
    if type(lease) is not int:
        raise WireError("clips without a lease")
    clips: Clips
    if message.kind == wire.FRAMES and len(message.arrays) == 2:
        frames = wire.check_array(
            message.arrays[0], "frames", np.float32, (2, None, JOINTS, SIZE, SIZE)
        )
        plan = wire.check_array(message.arrays[1], "plan", np.int32, (NUM_CLIPS, CLIP_LEN))
        if plan.min() < 0 or plan.max() >= frames.shape[1]:
            raise WireError(f"a plan that points beyond {frames.shape[1]} frames")
        clips = HeatmapClips(frames, plan)
    elif message.kind == wire.CLIPS and len(message.arrays) == 1:
        clips = ClipTensor(
            wire.check_array(message.arrays[0], "clips", np.float32, (VIEWS, *CLIP_SHAPE))
        )
    else:
        raise WireError(f"a message of kind {message.kind!r:.20}")
    return _Arrival(lease, clips)


def facts_from(fields: dict[str, Any]) -> Facts:
    """The facts that an executor's READY carries."""
    return Facts(**fields["facts"])
