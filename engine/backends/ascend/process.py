"""The device process: owns a device whose runtime holds the GIL, and does nothing else.

Started by `engine.backends.ascend.remote`, as ``python -m engine.backends.ascend.process``. Comes
in: slots that are filled. Goes out: slots with logits. What the runtime prints on standard output
is kept and sent along with an error, because it is the only place where some runtimes give the
reason.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
import traceback
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.backends.ascend.printed import Printed, with_printed
from engine.backends.ascend.slots import Line, Slot, SlotShape
from engine.base.errors import BackendError, EngineError, printable
from engine.base.recipe import Recipe
from engine.base.records import Facts
from engine.base.subprocesses import end_with
from engine.network.backend import Array
from engine.network.om import CompiledFile, Interface


class OutOfDeviceMemory(BackendError):
    """The device has not the memory for a run, or for a file. A smaller one may do."""


class Session(Protocol):
    """A network on a device, in the device process.

    `sizes` and `lanes` as of a `Backend`; `dtype` of its clips or frames. `classes`: how many
    logits it gives a clip. `files`: those that it has loaded, with their gears. `notes`: what
    became of the others.
    """

    facts: Facts
    files: list[CompiledFile]
    notes: list[str]
    sizes: tuple[int, ...]
    lanes: int
    dtype: str
    classes: int

    def start(self, lane: int, inputs: tuple[Array, ...]) -> None:
        """Take a run, and begin it if the runtime can do so without waiting for it."""

    def finish(self, lane: int) -> tuple[NDArray[np.float32], float]:
        """Execute, or wait: logits [clips, classes], and the seconds that the device took for
        execution alone. Raises `BackendError` or `OutOfDeviceMemory`."""

    def close(self) -> None:
        """Give the device back."""


class Opener(Protocol):
    """What makes a session. `said`: returns what the runtime has printed since the last call.
    Raises `UsageError`, `BackendError` or `OutOfDeviceMemory`."""

    def __call__(
        self, files: tuple[CompiledFile, ...], interface: Interface, device: int, said: Printed
    ) -> Session: ...


def main() -> None:
    """The process."""
    parent, fd = map(int, sys.argv[1:3])
    end_with(parent)
    line = Line(socket.socket(fileno=fd))
    with contextlib.suppress(EOFError):  # nobody is there any more
        _serve(line, Printed())
    os._exit(0)  # a runtime's own clean-up at exit may hang when the device is lost


def _serve(line: Line, said: Printed) -> None:
    request = line.receive()
    module, _, name = request["opener"].partition(":")
    files = tuple(
        CompiledFile(
            **{
                **about,
                "path": Path(about["path"]),
                "gears": tuple(about["gears"]),
                "levels": tuple(about["levels"]),
            }
        )
        for about in request["files"]
    )
    levels = {gear: tuple(counts) for gear, counts in request["levels"]}
    interface = Interface(request["layout"], Recipe.from_json(request["recipe"]), levels)
    try:
        opener: Opener = getattr(importlib.import_module(module), name)
        session = opener(files, interface, request["device"], said)
    except Exception as error:
        line.send(**_trouble(error, said))
        return
    facts = asdict(session.facts)
    gears = {str(file.path): file.gears for file in session.files}
    line.send(
        facts=facts,
        sizes=session.sizes,
        dtype=session.dtype,
        classes=session.classes,
        gears=gears,
        notes=session.notes,
    )
    shape = SlotShape(interface, **line.receive())
    try:
        _loop(line, session, line.receive_slots(shape), said)
    finally:
        session.close()


def _loop(line: Line, session: Session, slots: list[Slot], said: Printed) -> None:
    """Run what comes, in order. A second run is taken while the first one is under way; it may
    be of the same slot."""
    under_way: deque[tuple[int, int, int]] = deque()
    free = deque(range(session.lanes))
    while True:
        if under_way and (not free or not line.waiting()):
            lane, slot, first = under_way.popleft()
            free.append(lane)
            try:
                logits, seconds = session.finish(lane)
            except Exception as error:
                line.send(**_trouble(error, said))
                continue
            said()  # a long run must not keep what was of no use
            slots[slot].logits[first : first + len(logits)] = logits
            line.send(seconds=seconds)
            continue
        job = line.receive()
        if "stop" in job:
            return
        lane, slot, first = free.popleft(), job["slot"], job["first"]
        try:
            session.start(lane, slots[slot].inputs(first, job["size"]))
        except Exception as error:
            free.append(lane)
            line.send(**_trouble(error, said))
            continue
        under_way.append((lane, slot, first))


def _trouble(error: Exception, said: Printed) -> dict[str, Any]:
    """An error as a message."""
    if not isinstance(error, (EngineError, ImportError)):  # what nobody foresaw
        traceback.print_exception(error)
        error = BackendError(f"the device process failed: {type(error).__name__}: {error}")
    missing = error.name if isinstance(error, ImportError) else None
    return {
        "error": type(error).__name__,
        "message": with_printed(printable(error), said()),
        "missing": missing,
    }


if __name__ == "__main__":
    main()
