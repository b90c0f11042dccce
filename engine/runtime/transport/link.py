"""What worker and executor processes have in common: the line to the supervisor, and how
they end.

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import multiprocess.connection
import orjson
import zmq

from engine.base.errors import EngineError, WireError, printable
from engine.runtime.transport import wire
from engine.runtime.transport.wire import Message
from engine.skeletons.samples import MAX_POSES

ORPHANED = 70  # exit code of a child whose parent has gone
SEND_TIMEOUT_MS = 2000


def socket_directory(address: str) -> Path:
    """The private directory that an address lies in."""
    return Path(address.removeprefix("ipc://")).parent


def last_word(directory: Path, name: str) -> Path:
    """The file in which a child says which leases it has started."""
    return directory / f"{name}.started"


class Control:
    """A child's socket to the supervisor."""

    def __init__(self, address: str, name: str) -> None:
        self.context = zmq.Context()
        self.socket: zmq.Socket[bytes] = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, name.encode())
        self.socket.setsockopt(zmq.SNDTIMEO, SEND_TIMEOUT_MS)
        wire.limit(self.socket, MAX_POSES)
        self.socket.connect(address)
        # Opened once: that takes a hundred times as long as writing to it.
        self._word = last_word(socket_directory(address), name).open("wb", buffering=0)
        self._longest = 0  # of what has been written there, bytes

    def started(self, leases: list[int]) -> None:
        """Leave word of what is being worked on where a crash cannot lose it: a message
        would die with this process if the crash came at once."""
        data = orjson.dumps(leases)
        self._longest = max(self._longest, len(data))
        os.pwrite(self._word.fileno(), data.ljust(self._longest), 0)

    def send(self, message: Message) -> None:
        """Send to the supervisor. A supervisor that does not take it is as good as gone."""
        try:
            self.socket.send_multipart(wire.encode(message))
        except zmq.Again:
            sys.exit(ORPHANED)

    def receive(self) -> Message | None:
        """The next message, or None when there is none."""
        while True:
            try:
                return wire.receive(self.socket)[1]
            except zmq.Again:
                return None
            except WireError as error:
                self.report_dropped(error)

    def wait(self) -> None:
        """Wait for a message."""
        self.socket.poll()

    def connect(self, outlet: zmq.Socket[bytes], fields: dict[str, Any]) -> None:
        """Connect a socket to the executor that a message of the supervisor's describes."""
        outlet.connect(fields["endpoint"])

    def report_dropped(self, error: WireError) -> None:
        """Report a message that was not one of ours; in a flood of them, not every one."""
        with contextlib.suppress(zmq.Again):
            message = wire.encode(Message("dropped", {"message": str(error)}))
            self.socket.send_multipart(message, zmq.NOBLOCK)


def run_child(address: str, name: str, serve: Callable[[Control], None]) -> None:
    """The body of a child process: connect, serve, say goodbye."""
    threading.Thread(
        target=_end_with_parent, args=(socket_directory(address),), daemon=True
    ).start()
    control = Control(address, name)
    log = logging.getLogger("engine")
    log.addHandler(_Forward(control))
    log.propagate = False
    log.setLevel(logging.INFO)
    try:
        serve(control)
    except EngineError as error:
        log.error("%s", error)
        sys.exit(error.exit_code)
    except Exception:
        log.exception("crashed")
        sys.exit(1)
    finally:
        # What was said last still goes out; nobody there any more is no reason to stay.
        control.context.destroy(linger=SEND_TIMEOUT_MS)


class _Forward(logging.Handler):
    """Hands what this process logs to the supervisor, which logs it under this process's name."""

    def __init__(self, control: Control) -> None:
        super().__init__(logging.INFO)
        self._control = control

    def emit(self, record: logging.LogRecord) -> None:
        if threading.current_thread() is not threading.main_thread():
            print(self.format(record), file=sys.stderr)  # a socket belongs to one thread
            return
        fields = {"level": record.levelno, "message": printable(self.format(record)[-2000:])}
        self._control.send(Message("log", fields))


def _end_with_parent(directory: Path) -> None:
    parent = multiprocess.parent_process()
    multiprocess.connection.wait([parent.sentinel])
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(ORPHANED)
