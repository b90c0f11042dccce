"""The router: the supervisor's sockets, and who is at the other end of them.

Children connect to a socket in the private directory and are known by the names they were given.
Workers of other machines, *guests*, connect to a TCP socket where ``--listen`` opens one; libzmq
tells their connections apart, so that none can pass for another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from engine.base.curve import Authenticator, Listening
from engine.base.errors import UsageError, WireError
from engine.runtime.transport import wire
from engine.runtime.transport.bodies import Body
from engine.runtime.transport.messages import FromChild, FromGuest, Join, from_child, from_guest

HEARTBEAT_MS = 5000  # of idle connections to other machines
ALIVE_EVERY_S = 1.0  # an idle guest says so
HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


def _refusal(found: Mapping[str, Any]) -> WireError:
    """A connection that libzmq did not let in, as the message that it never came to send."""
    if found["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return WireError("a connection whose key is not allowed (--keys)")
    return WireError("a connection that does not speak as ours do, or without a key (--keys)")


class Router:
    """Sends to names, receives from names. `largest`: bytes of a child's largest frame."""

    def __init__(self, directory: Path, largest: int, listening: Listening | None) -> None:
        self._context = zmq.Context()
        self.address = f"ipc://{directory}/control"
        self._children: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        wire.limit(self._children, largest)
        self._children.bind(self.address)
        self.sockets = [self._children]
        self.port: int | None = None
        self._names: dict[bytes, str] = {}  # of guests, by their connection
        self._connections: dict[str, bytes] = {}
        self._guests = 0
        self._authenticator: Authenticator | None = None
        self._monitor: zmq.Socket[bytes] | None = None  # of connections that are not let in
        if listening is not None:
            self._listen(listening)

    def _listen(self, listening: Listening) -> None:
        if listening.keys is not None:
            self._authenticator = Authenticator(self._context, listening.keys)
        guests: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        wire.limit(guests, wire.MAX_HEADER)
        guests.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        try:
            self.port = listening.bind(guests, listening.port)
        except UsageError:
            guests.close()
            self.close()
            raise
        self.sockets.append(guests)
        self._monitor = guests.get_monitor_socket(HANDSHAKE_FAILED)

    def send(self, name: str, body: Body) -> None:
        """Send to a child or a guest. One that is gone gets nothing."""
        connection = self._connections.get(name)
        socket = self._children if connection is None else self.sockets[1]
        to = name.encode() if connection is None else connection
        socket.send_multipart([to, *wire.encode(body.write())])

    def receive(self) -> Iterator[tuple[str | None, FromChild | FromGuest | WireError]]:
        """What has come: (name, message), or an error for what is no message. The name is
        None for a connection of no guest; a child's is what the child says it is."""
        while self._monitor is not None and self._monitor.poll(0):
            yield None, _refusal(recv_monitor_message(self._monitor))
        for socket in self.sockets:
            for _ in range(wire.AT_ONCE):
                try:
                    sender, message = wire.receive(socket, routed=True)
                except zmq.Again:
                    break
                except WireError as error:
                    yield None, error
                    continue
                own = socket is self._children
                name = sender.decode(errors="replace") if own else self._names.get(sender)
                body: FromChild | FromGuest | WireError
                try:
                    body = from_child(message) if own else from_guest(message)
                except WireError as error:
                    body = error
                if isinstance(body, Join) and name is None:
                    name = self._admit(sender)
                yield name, body

    def _admit(self, connection: bytes) -> str:
        """Name a guest that asks to join; it has no choice in that."""
        self._guests += 1
        name = f"guest-{self._guests}.1"
        self._names[connection], self._connections[name] = name, connection
        return name

    def is_guest(self, name: str) -> bool:
        """Whether a guest of that name is connected."""
        return name in self._connections

    def forget(self, name: str) -> None:
        """A guest is gone, or to be heard no more."""
        connection = self._connections.pop(name, None)
        if connection is not None:
            del self._names[connection]

    def close(self) -> None:
        """Close the sockets. Safe to call twice."""
        if self._monitor is not None:
            self.sockets[1].disable_monitor()
            self._monitor.close()
            self._monitor = None
        for socket in self.sockets:
            socket.close()
        if self._authenticator is not None:
            self._authenticator.close()
            self._authenticator = None
        self._context.term()
