"""The executor: clips of several samples through one device.

`Executor` packs clips into runs of the sizes that a backend takes; `engine.pipeline` uses
it in-process, and `main` puts it behind sockets: clips come in from the workers, logits
go out to the supervisor. One process a device; nothing else touches the runtime.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import numpy as np
import zmq
from numpy.typing import NDArray

from engine import backends, wire
from engine.backends import Backend, Facts
from engine.batching import Batcher, split_rows
from engine.child import Control, run_child
from engine.clips import Clips, ClipTensor, HeatmapClips
from engine.constants import CLIP_LEN, CLIP_SHAPE, JOINTS, NUM_CLIPS, SIZE, VIEWS
from engine.errors import EngineError, ModelError, UsageError, WireError, printable
from engine.models import ModelFile
from engine.wire import Message

F32 = NDArray[np.float32]


class Executor:
    """Owns a backend and the buffers that it runs on. `classes`: how many the model names.

    `clips_run` and `clips_padded` count what the device was given: real and filler.
    """

    def __init__(self, backend: Backend, classes: int) -> None:
        self._backend = backend
        self._classes = classes
        self._buffers: dict[tuple[int, int], F32] = {}
        self._turn = 0
        self._runs: deque[tuple[int, int, int]] = deque()  # under way: lane, size, real clips
        self._keys: deque[int] = deque()  # of the samples not complete yet, in order
        self._rows: list[F32] = []  # logits of the first of them, so far
        self.clips_run = 0
        self.clips_padded = 0

    @property
    def idle(self) -> bool:
        """Whether no run is under way."""
        return not self._runs

    @property
    def pending(self) -> list[int]:
        """Keys of the samples that are not complete."""
        return list(self._keys)

    def pads(self, samples: int) -> bool:
        """Whether a batch of so many samples needs filler clips."""
        return sum(split_rows(VIEWS * samples, self._backend.sizes)) > VIEWS * samples

    def feed(
        self,
        batch: Sequence[tuple[int, Clips]],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Iterator[tuple[int, F32]]:
        """Start the runs of a batch of (key, clips).

        Yields (key, logits float32 [20, classes]) of samples that complete on the way, in
        the order in which they were fed; the last runs are still under way at the end, so
        that the device has work until the next batch (or `collect`). `meanwhile` is called
        after each start, while the device is busy.
        """
        self._keys.extend(key for key, _ in batch)
        total, first = VIEWS * len(batch), 0
        for size in split_rows(total, self._backend.sizes):
            lane = self._turn % self._backend.lanes
            if len(self._runs) == self._backend.lanes:
                yield from self.collect()
            buffer = self._buffer(lane, size)
            real = min(size, total - first)
            _fill(buffer[:real], [clips for _, clips in batch], first)
            buffer[real:] = 0
            self._backend.start(lane, buffer)
            self._runs.append((lane, size, real))
            self._turn += 1
            self.clips_run += real
            self.clips_padded += size - real
            first += real
            meanwhile()

    def collect(self) -> Iterator[tuple[int, F32]]:
        """Wait for the oldest run; yield the samples that it completes, as `feed` does."""
        lane, size, real = self._runs.popleft()
        output = self._backend.finish(lane)
        if output.shape != (size, self._classes):
            raise ModelError(
                f"the network returned shape {output.shape} for {size} clips; "
                f"expected a row of {self._classes} logits a clip"
            )
        self._rows.extend(output[:real].astype(np.float32, copy=False))
        while len(self._rows) >= VIEWS:
            yield self._keys.popleft(), np.stack(self._rows[:VIEWS])
            del self._rows[:VIEWS]

    def infer(self, batch: Sequence[Clips]) -> Iterator[F32]:
        """Logits of each sample of the batch, in order; the device is idle at the end."""
        for _, logits in self.feed(list(enumerate(batch))):
            yield logits
        while not self.idle:
            for _, logits in self.collect():
                yield logits

    def _buffer(self, lane: int, size: int) -> F32:
        if (lane, size) not in self._buffers:
            self._buffers[lane, size] = np.zeros((size, *CLIP_SHAPE), np.float32)
        return self._buffers[lane, size]


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
        _give_up(control, error)
        return
    inbox = control.context.socket(zmq.PULL)
    wire.limit(inbox, wire.MAX_CLIPS)
    inbox.bind(endpoint)
    control.send(Message("ready", {"facts": asdict(backend.facts)}))
    executor = Executor(backend, len(settings.model.classes))
    try:
        _Service(control, inbox, executor, settings).run()
    except ModelError as error:  # another process could not do better with this file
        _give_up(control, error)
    inbox.close()
    backend.close()


def _give_up(control: Control, error: EngineError) -> None:
    """Tell the supervisor what ends the run."""
    usage = isinstance(error, UsageError)
    control.send(Message("fatal", {"usage": usage, "message": printable(error)}))


class _Stop(Exception):
    """The supervisor says that it is over."""


class _Service:
    """The loop of an executor process. Samples are known by their leases' numbers."""

    def __init__(
        self,
        control: Control,
        inbox: zmq.Socket[bytes],
        executor: Executor,
        settings: ExecutorSettings,
    ) -> None:
        self._control, self._inbox, self._executor = control, inbox, executor
        self._settings = settings
        self._batcher: Batcher[tuple[int, Clips]] = Batcher(settings.max_batch, settings.max_wait)
        self._since = 0.0  # when the device began, or last completed a sample
        self._padded = 0  # filler clips reported so far

    def run(self) -> None:
        """Serve until told to stop."""
        with contextlib.suppress(_Stop):
            self._loop()

    def _loop(self) -> NoReturn:
        poller = zmq.Poller()
        poller.register(self._inbox, zmq.POLLIN)
        poller.register(self._control.socket, zmq.POLLIN)
        while True:
            self._drain()
            now = time.monotonic()
            # A batch that would be padded goes on filling while the device is busy.
            size = self._batcher.next_size
            held = (
                size < self._settings.max_batch
                and not self._executor.idle
                and self._executor.pads(size)
            )
            batch = [] if held else self._batcher.take(now)
            if batch:
                self._start(batch, now)
            elif not self._executor.idle:
                self._report(self._executor.collect())
            else:
                due = self._batcher.due()
                poller.poll(None if due is None else math.ceil(1e3 * max(0.0, due - now)))

    def _start(self, batch: list[tuple[int, Clips]], now: float) -> None:
        leases = [lease for lease, _ in batch]
        self._control.started([*self._executor.pending, *leases])
        self._control.send(Message("running", {"leases": leases}))
        if self._executor.idle:
            self._since = now
        self._report(self._executor.feed(batch, meanwhile=self._drain))

    def _report(self, completed: Iterator[tuple[int, F32]]) -> None:
        """Send logits as they come."""
        for lease, logits in completed:
            now, padded = time.monotonic(), self._executor.clips_padded
            fields = {"lease": lease, "busy": now - self._since, "padded": padded - self._padded}
            self._control.send(Message("result", fields, (logits,)))
            self._since, self._padded = now, padded
            self._control.started(self._executor.pending)

    def _drain(self) -> None:
        """Take what has arrived, without waiting. Raises `_Stop` when told to, which
        abandons the batch: whoever stops an executor wants none of its results."""
        while (message := self._control.receive()) is not None:
            if message.kind == "stop":
                raise _Stop
        while True:
            try:
                _, message = wire.receive(self._inbox)
                lease, clips = _arrival(message)
            except zmq.Again:
                return
            except WireError as error:
                self._control.report_dropped(error)
                continue
            self._batcher.add((lease, clips), time.monotonic())
            self._control.send(Message("queued", {"lease": lease}))


def _arrival(message: Message) -> tuple[int, Clips]:
    """Lease and clips out of a message. Raises `WireError`."""
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
    return lease, clips


def facts_from(fields: dict[str, Any]) -> Facts:
    """The facts that an executor's READY carries."""
    return Facts(**fields["facts"])
