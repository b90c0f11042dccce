"""A backend whose runtime is in a process of its own, fed through slots.

Nothing of the runtime is in the executor, so that neither its GIL nor its crash is the executor's.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from engine.backends.ascend import npus
from engine.backends.ascend.printed import advised
from engine.backends.ascend.process import OutOfDeviceMemory
from engine.backends.ascend.slots import Line, Slot, SlotShape
from engine.base import subprocesses
from engine.base.errors import BackendError, ModelError, UsageError
from engine.base.records import Facts
from engine.network.backend import Array, ClipsBackend, PlanBackend, TablesBackend, split_rows
from engine.network.models import ModelFile
from engine.network.om import CompiledFile, Interface, memory_advice

log = logging.getLogger("engine")

LANES = 2  # one slot is run, the other one filled
_STOP_S = 5.0
_DOCTOR = "python -m engine.doctor says what this host lacks"


def open_remote(
    opener: str, model: ModelFile, device: int
) -> ClipsBackend | PlanBackend | TablesBackend:
    """A compiled network on a device, by its layout. `opener`: ``module:name`` of the
    `engine.backends.ascend.process.Opener` in the device process. Raises `UsageError`, `ModelError`
    or `BackendError` where the device or a file cannot be opened."""
    interface = model.interface
    remote = RemoteTables if interface.tabled else RemoteClips if interface.whole else RemotePlan
    return remote(opener, model, interface, device)


class _Remote:
    """What both layouts share. Where the device has not the memory for a run and there is a
    smaller file, it goes on with that one."""

    lanes = LANES

    def __init__(self, opener: str, model: ModelFile, interface: Interface, device: int) -> None:
        self._opener, self._model, self._device = opener, model, device
        self._interface = interface
        self._given = sorted(model.files, key=lambda file: file.gears, reverse=True)
        self._files = self._given  # those in use
        self._slots: list[Slot] = []
        self._jobs: deque[tuple[int, int, list[tuple[int, int]]]] = deque()
        self.executed_s: float | None = None
        self._open()

    facts: Facts
    sizes: tuple[int, ...]

    def start(self, lane: int, size: int) -> None:
        self._submit(lane, size)

    def finish(self, lane: int) -> NDArray[np.float32]:
        while True:
            try:
                return self._finished(lane)
            except OutOfDeviceMemory as error:
                self._shrink(error)

    def close(self) -> None:
        self._end(_STOP_S)
        for slot in self._slots:
            os.close(slot.fd)

    # The process

    def _open(self) -> None:
        """Start a device process with the files that are left."""
        self._line, theirs = Line.pair()
        fd = theirs.fileno()
        try:
            self._process = subprocesses.start(
                "engine.backends.ascend.process", str(fd), pass_fds=[fd]
            )
        finally:
            theirs.close()
        try:
            self._load()
        except BaseException:
            self._end(0)
            raise

    def _load(self) -> None:
        try:
            self._line.send(
                opener=self._opener,
                layout=self._interface.layout,
                recipe=self._interface.recipe.to_json(),
                levels=[*self._interface.levels.items()],
                device=self._device,
                files=[{**asdict(file), "path": str(file.path)} for file in self._files],
            )
            answer = self._line.receive()
        except EOFError:
            raise self._dead("while it loaded the model") from None
        if answer.get("error") == "OutOfDeviceMemory" and len(self._files) > 1:
            without = f"; going on without {self._files[0].path.name}"
            log.warning("%s", advised(answer["message"], without))
            self._files = self._files[1:]
            self._end(0)
            self._open()
            return
        if "error" in answer:
            _refuse(answer, self._files, self._interface)
        for note in answer["notes"]:
            log.warning("%s", note)
        if answer["classes"] != len(self._model.classes):
            raise ModelError(
                f"{self._model.path} has {answer['classes']} outputs a clip, and "
                f"{len(self._model.classes)} class names are known; python -m converters.onnx2om "
                "MODEL.onnx --describe writes them beside it"
            )
        gears = {path: tuple(found) for path, found in answer["gears"].items()}
        self._given = [
            replace(file, gears=gears.get(str(file.path), file.gears)) for file in self._given
        ]
        self._files = [file for file in self._given if str(file.path) in gears]
        self.sizes = tuple(answer["sizes"])
        self.facts = replace(Facts(**answer["facts"]), precision=self._model.precision)
        if not self._slots:  # else they are large enough, and hold what has to be run again
            shape = SlotShape(self._interface, self.sizes[-1], answer["dtype"], answer["classes"])
            self._shape = shape
            self._slots = [Slot.create(shape) for _ in range(LANES)]
        shape = self._shape
        try:
            self._line.send(size=shape.size, dtype=shape.dtype, classes=shape.classes)
            self._line.send_slots(self._slots)
        except EOFError:
            raise self._dead("after it had loaded the model") from None

    def _end(self, patience: float) -> None:
        with suppress(EOFError):
            self._line.send(stop=True)
        self._reap(patience)
        self._line.close()

    def _dead(self, when: str) -> BackendError:
        how = subprocesses.spell_exit(self._reap(_STOP_S))
        return BackendError(f"the device process died {when} ({how}); {_DOCTOR}")

    def _reap(self, patience: float) -> int:
        """The exit code of the process, which is killed if it does not end by itself. Raises
        `BackendError` where even that does not help."""
        code = subprocesses.reap(self._process, patience)
        if code is None:
            raise BackendError(
                f"the device process (pid {self._process.pid}) was killed and does not die: it "
                "hangs in the device's driver"
            )
        return code

    # Runs

    def _submit(self, lane: int, size: int) -> None:
        """Send a run, as several where its size is no longer to be had."""
        pieces = _pieces(size, self.sizes)
        self._jobs.append((lane, size, pieces))
        try:
            for first, count in pieces:
                self._line.send(slot=lane, first=first, size=count)
        except EOFError:
            raise self._dead("between two runs") from None

    def _finished(self, lane: int) -> NDArray[np.float32]:
        """The logits of the oldest run, when the device process has them."""
        expected, size, pieces = self._jobs[0]
        assert lane == expected
        seconds = 0.0
        for _ in pieces:
            try:
                answer = self._line.receive()
            except EOFError:
                raise self._dead(f"over a run of {size}") from None
            if answer.get("error") == "OutOfDeviceMemory":
                raise OutOfDeviceMemory(answer["message"])
            if "error" in answer:
                raise BackendError(answer["message"])
            seconds += answer["seconds"]
        self._jobs.popleft()
        self.executed_s = seconds
        rows = self._interface.rows(self._interface.gear(size))
        return np.array(self._slots[lane].logits[:rows])

    def _shrink(self, error: OutOfDeviceMemory) -> None:
        """Go on without the files of the failed run's size or more, in a new process: what the
        old one has allocated for that run is lost to it."""
        largest = max(count for _, count in self._jobs[0][2])
        interface = self._interface
        # One that did not fit beside a larger one may do so now; its size may not be known.
        smaller = [
            file
            for file in self._given
            if (interface.size(file.gears[-1]) < largest if file.gears else file not in self._files)
        ]
        if not interface.whole or not smaller:
            advice = memory_advice(self._files, interface)
            raise ModelError(advised(error, f". {advice}")) from None
        names = ", ".join(file.path.name for file in smaller)
        log.warning("%s", advised(error, f"; going on with {names}"))
        self._end(0)
        self._files = smaller
        self._open()
        jobs = list(self._jobs)
        self._jobs.clear()
        for lane, whole, _ in jobs:
            self._submit(lane, whole)


class RemoteClips(_Remote):
    """Whole clips."""

    def clips(self, lane: int, size: int) -> Array:
        [clips] = self._slots[lane].inputs(0, size)
        return clips


class RemotePlan(_Remote):
    """Distinct frames and a plan of the clips."""

    def planned(self, lane: int, size: int) -> tuple[Array, Array]:
        frames, plan = self._slots[lane].inputs(0, size)
        return frames, plan


class RemoteTables(_Remote):
    """Distinct frames and tables of contexts."""

    def tabled(self, lane: int, size: int) -> tuple[Array, ...]:
        return self._slots[lane].inputs(0, size)


def _pieces(size: int, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of the sizes to be had over rows 0 to `size`: (first row, rows). Where they do not
    fit exactly, the last one begins earlier and computes some rows twice."""
    if size in sizes:
        return [(0, size)]
    pieces, first = [], 0
    for count in split_rows(size, sizes):
        pieces.append((min(first, size - count), count))
        first += count
    return pieces


def _refuse(
    answer: dict[str, Any], files: Sequence[CompiledFile], interface: Interface
) -> NoReturn:
    """Raise what kept the device process from loading the model."""
    kind, message = answer["error"], answer["message"]
    if missing := answer["missing"]:
        if advice := npus.library_advice(message):
            raise UsageError(advised(f"{missing} cannot be imported: {message}", f"; {advice}"))
        raise UsageError(advised(f"this host has no {missing} ({message}", f"); {_DOCTOR}"))
    if kind == "ModelError":
        raise ModelError(message)
    if kind == "OutOfDeviceMemory":
        raise ModelError(advised(message, f". {memory_advice(files, interface)}"))
    if kind == "UsageError":
        raise UsageError(message)
    raise BackendError(message)
