"""Links: the line of a worker or an executor to its supervisor, and how a child process ends.

A child never sees SIGINT, SIGTERM or SIGHUP (`engine.runtime.processes` blocks them; the
supervisor decides when it is over) and ends itself as soon as its parent is gone, taking
the private socket directory with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import multiprocess.connection
import orjson
import zmq

from engine.base import memory
from engine.base.errors import EngineError, WireError, printable
from engine.base.records import Cause
from engine.base.threads import require
from engine.runtime.transport import wire
from engine.runtime.transport.bodies import Body
from engine.runtime.transport.messages import (
    Dropped,
    ExecutorAddress,
    Failed,
    Log,
    Told,
    to_child,
)
from engine.runtime.transport.wire import Message
from engine.skeletons.samples import MAX_POSES

ORPHANED = 70  # exit code of a child whose parent has gone
SEND_TIMEOUT_MS = 2000


def socket_directory(address: str) -> Path:
    """The private directory that an address lies in."""
    return Path(address.removeprefix("ipc://")).parent


def started_file(directory: Path, name: str) -> Path:
    """The file in which a child says which leases it has started."""
    return directory / f"{name}.started"


class Link(ABC):
    """A socket to the supervisor. `read` as in `engine.runtime.transport.messages`."""

    def __init__(self, read: Callable[[Message], Told]) -> None:
        self.context = zmq.Context()
        self.socket: zmq.Socket[bytes] = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.SNDTIMEO, SEND_TIMEOUT_MS)
        wire.limit(self.socket, MAX_POSES)
        self._read = read

    @abstractmethod
    def send(self, body: Body) -> None:
        """Send to the supervisor."""

    @abstractmethod
    def started(self, leases: list[int]) -> None:
        """Leave word of what is being worked on."""

    @abstractmethod
    def wait(self) -> None:
        """Wait for a message."""

    @abstractmethod
    def connect(self, socket: zmq.Socket[bytes], executor: ExecutorAddress) -> None:
        """Connect a socket to an executor."""

    def receive(self) -> Told | None:
        """The next message, or None when there is none."""
        while True:
            try:
                return self._next()
            except WireError as error:
                self.report_dropped(error)
                if error.lease is not None:  # nobody else would say what has become of it
                    self.send(Failed(error.lease, Cause.of(error, "decode")))

    def close(self) -> None:
        """What was said last still goes out; nobody there any more is no reason to stay."""
        self.context.destroy(linger=SEND_TIMEOUT_MS)

    def report_dropped(self, error: WireError) -> None:
        """Report a message that was not one of ours; in a flood of them, not every one."""
        with contextlib.suppress(zmq.Again):
            message = wire.encode(Dropped(str(error)).write())
            self.socket.send_multipart(message, zmq.NOBLOCK)

    def _next(self) -> Told | None:
        """As `receive`. Raises `WireError` for a message that is not one of ours."""
        try:
            message = wire.receive(self.socket)[1]
        except zmq.Again:
            return None
        with wire.naming(message.fields.get("lease")):
            return self._read(message)


class ChildLink(Link):
    """The link of a child, which shares a directory with its supervisor."""

    def __init__(self, address: str, name: str) -> None:
        super().__init__(to_child)
        self.socket.setsockopt(zmq.IDENTITY, name.encode())
        self.socket.connect(address)
        # Opened once: that takes a hundred times as long as writing to it.
        self._started = started_file(socket_directory(address), name).open("wb", buffering=0)
        self._longest = 0  # of what has been written there, bytes
        self._told = False  # that nothing can be

    def started(self, leases: list[int]) -> None:
        """Where a crash cannot lose it: a message would die with this process if the crash came
        at once. Where the disk is full, nothing is noted, and the death of this process would
        count against nobody."""
        data = orjson.dumps(leases)
        self._longest = max(self._longest, len(data))
        try:
            os.pwrite(self._started.fileno(), data.ljust(self._longest), 0)
        except OSError as error:
            if not self._told:
                log = logging.getLogger("engine")
                log.warning("cannot note in TMPDIR what it has started: %s", error.strerror)
            self._told = True

    def send(self, body: Body) -> None:
        """A supervisor that does not take it is as good as gone."""
        try:
            self.socket.send_multipart(wire.encode(body.write()))
        except zmq.Again:
            sys.exit(ORPHANED)

    def wait(self) -> None:
        """As in `Link`."""
        self.socket.poll()

    def connect(self, socket: zmq.Socket[bytes], executor: ExecutorAddress) -> None:
        """As in `Link`."""
        socket.connect(executor.endpoint)

    def close(self) -> None:
        """As in `Link`."""
        self._started.close()
        super().close()


def run_child(address: str, name: str, serve: Callable[[ChildLink], None]) -> None:
    """The body of a child process: connect, serve, say goodbye."""
    try:
        require()
        threading.Thread(
            target=_end_with_parent, args=(socket_directory(address),), daemon=True
        ).start()
        link = ChildLink(address, name)
    except EngineError as error:  # nobody can be told but who reads what is printed
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    log = logging.getLogger("engine")
    log.addHandler(_Forward(link))
    log.propagate = False
    log.setLevel(logging.INFO)
    try:
        serve(link)
    except EngineError as error:
        log.error("%s", error)
        sys.exit(error.exit_code)
    except Exception as error:
        if memory.ran_out(error):  # of which a traceback would say nothing more
            sys.exit(memory.EXIT_CODE)
        log.exception("crashed")
        sys.exit(1)
    finally:
        link.close()


class _Forward(logging.Handler):
    """Hands what this process logs to the supervisor, which logs it under this process's name."""

    def __init__(self, link: Link) -> None:
        super().__init__(logging.INFO)
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        if threading.current_thread() is not threading.main_thread():
            print(self.format(record), file=sys.stderr)  # a socket belongs to one thread
            return
        self._link.send(Log(record.levelno, printable(self.format(record)[-2000:])))


def _end_with_parent(directory: Path) -> None:
    parent = multiprocess.parent_process()
    multiprocess.connection.wait([parent.sentinel])
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(ORPHANED)
