"""The gate: sockets that others reach, in a process of their own.

Whoever can connect to a libzmq socket can make it hold what it likes: messages without an end,
connections without number. So no process that anything depends on has such a socket. The gate's
process has them (`engine.base.gatekeeper`), within limits of memory and descriptors, and passes
whole messages on, over sockets in a private directory. A connection that costs too much is closed
and named. Should the process itself end, it is started again, with the same ports.

Comes in: doors. Goes out: their ports, and what there is to say.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from subprocess import PIPE, Popen

import orjson

from engine.base import subprocesses
from engine.base.curve import ClientKeys, ServerKeys
from engine.base.errors import EngineError, UsageError, WorkerError
from engine.base.private import remove_directory

MAX_PARTS = 8  # of a message that is passed on
HEARTBEAT_MS = 5000  # of idle connections to other machines
_START_S = 30.0
_END_S = 3.0
_PAUSE_S = 1.0  # at least, from one start to the next


@dataclass(frozen=True)
class Door:
    """A socket of the gate, and whom it leads to. `front`: ``PULL`` or ``SUB``, whose messages are
    pushed to `back`; ``ROUTER``, to and from which a DEALER of `back` passes messages; or ``PUB``,
    which gets what `back` pushes."""

    name: str  # as errors call it
    front: str
    endpoint: str  # of the front: where others connect, or, of SUB, where they are
    back: str  # where the owner binds
    largest: int  # bytes of a message
    waiting: int  # whole messages of a connection
    server: ServerKeys | None = None
    client: ClientKeys | None = None


class Gate:
    """The process, until `close`, with the directory of the sockets between it and its owner.
    `room`: bytes that all that is not passed on yet may take. Doors with keys have the same."""

    def __init__(self, directory: Path, doors: Sequence[Door], room: int) -> None:
        self._doors = list(doors)
        self._directory, self._room = directory, room
        self._ports: list[int] = []
        self._process = self._start()

    @property
    def fd(self) -> int:
        """Readable where there is something to say."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    @property
    def ports(self) -> list[int]:
        """Those of the doors, 0 for one that connects; waits for them. Raises `UsageError` for an
        address that is none or is taken."""
        until = self._started + _START_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.fd, selectors.EVENT_READ)
            while not self._ports:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise EngineError(f"{self._doors[0].name}: no answer within {_START_S:g} s")
                over = self._process.poll()
                for said in self._said():
                    if "error" in said:
                        raise UsageError(said["error"])
                if over is not None and not self._ports:
                    how = subprocesses.spell_exit(over)
                    raise EngineError(f"{self._doors[0].name}: its process has ended ({how})")
        return self._ports

    def news(self) -> Iterator[str]:
        """What there is to say since the last time. A process that has ended is started again."""
        over = self._process.poll()
        for said in self._said():
            if "ports" not in said:
                yield said.get("error") or said["said"]
        if over is not None and time.monotonic() - self._started >= _PAUSE_S:
            before = self._process
            try:
                self._process = self._start()
            except WorkerError as error:
                yield f"{self._doors[0].name}: {error}"
                return  # tried again after a pause
            _end(before, 0)
            how = subprocesses.spell_exit(over)
            yield f"{self._doors[0].name}: its process has ended ({how}) and is started again"

    def close(self) -> None:
        """What was handed over still goes out."""
        _end(self._process, _END_S)
        remove_directory(self._directory)

    def _start(self) -> Popen[bytes]:
        self._started, self._rest = time.monotonic(), b""
        doors = self._doors
        if self._ports:
            doors = [
                replace(door, endpoint=f"{door.endpoint.rpartition(':')[0]}:{port}")
                if port
                else door
                for door, port in zip(self._doors, self._ports, strict=True)
            ]
        process = subprocesses.start("engine.base.gatekeeper", stdin=PIPE, stdout=PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        # Not as an argument: arguments can be listed, and secret keys are among it.
        told = {
            "directory": str(self._directory),
            "room": self._room,
            "doors": [asdict(door) for door in doors],
        }
        process.stdin.write(orjson.dumps(told, default=bytes.decode) + b"\n")
        process.stdin.flush()
        return process

    def _said(self) -> Iterator[dict[str, str]]:
        """Whole lines."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for said in map(orjson.loads, lines):
            if "ports" in said:
                self._ports = said["ports"]
            yield said


def _end(process: Popen[bytes], patience: float) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    subprocesses.reap(process, patience)
    process.stdout.close()
