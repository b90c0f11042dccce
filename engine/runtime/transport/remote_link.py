"""The link of a guest: to the supervisor of an engine on another machine, over TCP.

Unlike a child's it may break, and its supervisor may not let it in.
"""

from __future__ import annotations

import os
import platform
import socket
import time

import zmq
from zmq.utils.monitor import recv_monitor_message

from engine.base.addresses import tcp_address, tcp_endpoint
from engine.base.curve import HANDSHAKE_FAILED, ClientKeys
from engine.base.errors import EngineError, UsageError, WireError, printable
from engine.base.gate import HEARTBEAT_MS
from engine.base.version import __version__
from engine.runtime.transport import wire
from engine.runtime.transport.bodies import Body
from engine.runtime.transport.link import Link
from engine.runtime.transport.messages import (
    Alive,
    ExecutorAddress,
    Join,
    Leave,
    Refused,
    Stop,
    Told,
    Welcome,
    WorkerSettings,
    to_guest,
)
from engine.runtime.transport.sockets import ALIVE_EVERY_S


class EngineGone(EngineError):
    """The connection to the engine broke."""


class RemoteLink(Link):
    """The link over TCP. Raises `EngineGone` when it breaks, from whatever uses it."""

    def __init__(self, address: str, keys: ClientKeys | None) -> None:
        self._host, port = tcp_address(address)
        if port is None:
            raise UsageError(f"{address} has no port; the engine prints it")
        try:
            socket.getaddrinfo(self._host, port)
        except OSError as error:
            raise UsageError(f"{address}: {error.strerror}") from None
        super().__init__(to_guest)
        self._keys = keys
        self._last_sent = 0.0
        self.socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        events = HANDSHAKE_FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        self._monitor = self.socket.get_monitor_socket(events)
        self._connected = False
        self._open(self.socket, port)

    def join(self, seconds: float) -> WorkerSettings:
        """Wait so long for an engine that takes us. Raises `EngineError` where none does."""
        self.send(Join(__version__, platform.node(), os.getpid()))
        until = time.monotonic() + seconds
        try:
            while (answer := self._next()) is None:
                if time.monotonic() > until:
                    raise EngineGone(f"no engine answered for {seconds:g} s (--wait)")
                self.socket.poll(100)
            if isinstance(answer, Refused):
                raise UsageError(f"refused: {printable(answer.message)}")
            if isinstance(answer, Stop):
                print(printable(answer.reason), flush=True)
            if not isinstance(answer, Welcome):
                raise WireError(f"it says {answer.kind}")
        except WireError as error:
            raise WireError(
                f"the engine's answer is none that this version knows: {error}"
            ) from None
        print(f"joined as {answer.name}", flush=True)
        return answer.settings

    def leave(self) -> None:
        """Say that we go, so that no sample is suspected."""
        self.send(Leave())

    def close(self) -> None:
        """As in `Link`."""
        self.socket.disable_monitor()
        super().close()

    def started(self, leases: list[int]) -> None:
        """Nothing: no file of ours reaches the supervisor."""

    def send(self, body: Body) -> None:
        """As in `Link`."""
        self._last_sent = time.monotonic()
        try:
            self.socket.send_multipart(wire.encode(body.write()))
        except zmq.Again:
            raise EngineGone("the engine takes no messages any more") from None

    def receive(self) -> Told | None:
        """As in `Link`."""
        message = super().receive()
        if isinstance(message, Stop):
            print(printable(message.reason), flush=True)
        return message

    def wait(self) -> None:
        """Wait a moment for a message; say that we are alive."""
        self.socket.poll(int(1e3 * ALIVE_EVERY_S))
        if time.monotonic() - self._last_sent >= ALIVE_EVERY_S:
            self.send(Alive())

    def connect(self, socket: zmq.Socket[bytes], executor: ExecutorAddress) -> None:
        """Connect a socket to an executor, which is on the engine's machine."""
        assert executor.port is not None  # it listens, for we are here
        self._open(socket, executor.port)

    def _next(self) -> Told | None:
        while self._monitor.poll(0):
            self._look_at(recv_monitor_message(self._monitor)["event"])
        return super()._next()

    def _open(self, socket: zmq.Socket[bytes], port: int) -> None:
        socket.setsockopt(zmq.IPV6, ":" in self._host)
        if self._keys is not None:
            self._keys.use(socket)
        socket.connect(tcp_endpoint(self._host, port))

    def _look_at(self, event: int) -> None:
        if event & HANDSHAKE_FAILED:
            raise EngineGone(
                "the engine did not let us in: it wants a key that is in its folder (--key, "
                "--engine-key), or none where it was started without --keys"
            )
        if event == zmq.EVENT_DISCONNECTED and self._connected:
            raise EngineGone("the engine has gone")
        self._connected = self._connected or event == zmq.EVENT_HANDSHAKE_SUCCEEDED
