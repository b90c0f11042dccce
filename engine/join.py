"""Join: a decode worker on another machine, for an engine that listens.

``python -m engine.join tcp://HOST:PORT`` serves one run and ends with it. Start as many as
there are cores to spare. It is the same worker as the engine's own children; what differs is
the line to the supervisor, which goes over TCP and may break.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import zmq
from zmq.utils.monitor import recv_monitor_message

from engine.base.addresses import tcp_address, tcp_endpoint
from engine.base.choices import WIRES
from engine.base.constants import REFERENCES, Views
from engine.base.curve import ClientKeys
from engine.base.errors import EngineError, UsageError, WireError, printable
from engine.base.version import __version__
from engine.runtime.guests import ALIVE_EVERY_S
from engine.runtime.transport import wire
from engine.runtime.transport.link import SEND_TIMEOUT_MS, Control
from engine.runtime.transport.sockets import HEARTBEAT_MS
from engine.runtime.transport.wire import Message
from engine.runtime.worker import Worker, WorkerSettings
from engine.skeletons.samples import MAX_POSES

_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class EngineGone(EngineError):
    """The connection to the engine broke."""


class GuestControl(Control):
    """The line over TCP. Raises `EngineGone` when it breaks, from whatever uses it."""

    def __init__(self, address: str, keys: ClientKeys | None) -> None:
        self._host, port = tcp_address(address)
        if port is None:
            raise UsageError(f"{address} has no port; the engine prints it")
        try:
            socket.getaddrinfo(self._host, port)
        except OSError as error:
            raise UsageError(f"{address}: {error.strerror}") from None
        self._keys = keys
        self._said = 0.0
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.SNDTIMEO, SEND_TIMEOUT_MS)
        self.socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        wire.limit(self.socket, MAX_POSES)
        events = _REFUSED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        self._events = self.socket.get_monitor_socket(events)
        self._shaken = False
        self._open(self.socket, port)

    def join(self, seconds: float) -> WorkerSettings:
        """Wait so long for an engine that takes us. Raises `EngineError` where none does."""
        self.send(
            Message("join", {"version": __version__, "host": platform.node(), "pid": os.getpid()})
        )
        until = time.monotonic() + seconds
        while (message := self.receive()) is None:
            if time.monotonic() > until:
                raise EngineGone(f"no engine answered for {seconds:g} s (--wait)")
            self.socket.poll(100)
        if message.kind == "refused":
            raise UsageError(f"refused: {printable(message.fields.get('message'))}")
        fields = message.fields
        known = (
            fields.get("reference") in REFERENCES
            and fields.get("wire") in WIRES
            and fields.get("views") in get_args(Views)
        )
        if message.kind != "welcome" or not known:
            raise WireError("the engine's answer is none that this version knows")
        print(f"joined as {message.fields.get('name')}", flush=True)
        return WorkerSettings(fields["reference"], fields["wire"], fields["views"])

    def leave(self) -> None:
        """Say that we go, so that no sample is suspected."""
        self.send(Message("leave"))

    def close(self) -> None:
        """What was said last still goes out."""
        self.socket.disable_monitor()
        self.context.destroy(linger=SEND_TIMEOUT_MS)

    def started(self, leases: list[int]) -> None:
        """Nothing: no file of ours reaches the supervisor."""

    def send(self, message: Message) -> None:
        """Send to the supervisor."""
        self._said = time.monotonic()
        try:
            self.socket.send_multipart(wire.encode(message))
        except zmq.Again:
            raise EngineGone("the engine takes no messages any more") from None

    def receive(self) -> Message | None:
        """The next message, or None when there is none."""
        while self._events.poll(0):
            self._look_at(recv_monitor_message(self._events)["event"])
        message = super().receive()
        if message is not None and message.kind == "stop":
            print(printable(message.fields.get("reason", "the run is over")), flush=True)
        return message

    def wait(self) -> None:
        """Wait a moment for a message; say that we are alive."""
        self.socket.poll(int(1e3 * ALIVE_EVERY_S))
        if time.monotonic() - self._said >= ALIVE_EVERY_S:
            self.send(Message("alive"))

    def connect(self, outlet: zmq.Socket[bytes], fields: dict[str, Any]) -> None:
        """Connect a socket to an executor, which is on the engine's machine."""
        self._open(outlet, fields["port"])

    def _open(self, line: zmq.Socket[bytes], port: int) -> None:
        line.setsockopt(zmq.IPV6, ":" in self._host)
        if self._keys is not None:
            self._keys.use(line)
        line.connect(tcp_endpoint(self._host, port))

    def _look_at(self, event: int) -> None:
        if event & _REFUSED:
            raise EngineGone(
                "the engine did not let us in: it wants a key that is in its folder (--key, "
                "--engine-key), or none where it was started without --keys"
            )
        if event == zmq.EVENT_DISCONNECTED and self._shaken:
            raise EngineGone("the engine has gone")
        self._shaken = self._shaken or event == zmq.EVENT_HANDSHAKE_SUCCEEDED


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.join",
        description="Decode for an engine that runs with --listen, until its run is over.",
    )
    parser.add_argument("address", metavar="tcp://HOST:PORT", help="as the engine prints it")
    parser.add_argument("--key", type=Path, help="our NAME.key_secret (python -m engine.keys)")
    parser.add_argument("--engine-key", type=Path, help="engine.key, with --key")
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="S", help="for the engine (default: 30)"
    )
    given = parser.parse_args(arguments)
    if (given.key is None) != (given.engine_key is None):
        parser.error("--key and --engine-key belong together")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    control = None
    try:
        keys = ClientKeys.of(given.key, given.engine_key) if given.key is not None else None
        control = GuestControl(given.address, keys)
        Worker(control, control.join(given.wait)).run()
    except EngineError as error:
        print(f"engine.join: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        if control is not None:
            with contextlib.suppress(EngineGone):
                control.leave()
        return 130
    finally:
        if control is not None:
            control.close()


if __name__ == "__main__":
    sys.exit(main())
