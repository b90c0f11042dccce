"""The router: the supervisor's sockets, and who is at the other end of them.

Children connect to a socket in the private directory and are known by the names they were given.
Workers of other machines, *guests*, connect to a gate (`engine.base.gate`) where ``--listen`` opens
one; libzmq tells their connections apart, so that none can pass for another.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import zmq

from engine.base.curve import Listening
from engine.base.errors import WireError
from engine.base.gate import Door, Gate
from engine.runtime.transport import wire
from engine.runtime.transport.bodies import Body
from engine.runtime.transport.messages import FromChild, FromGuest, Join, from_child, from_guest

ALIVE_EVERY_S = 1.0  # an idle guest says so
GUESTS = "guests"  # the door of what they say; those of their clips are called as the executors
_SAID, _CLIPS = 100, 2  # messages of a guest that wait at a door
_ROOM = 128 << 20  # bytes for what guests say, beside their clips

Address = tuple[bytes, ...]  # of a guest: its gate, and its connection there


class Router:
    """Sends to names, receives from names. `largest`: bytes of a child's largest frame."""

    def __init__(self, directory: Path, largest: int) -> None:
        self._directory = directory
        self._context = zmq.Context()
        self.address = f"ipc://{directory}/control"
        self._children: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        wire.limit(self._children, largest)
        self._children.bind(self.address)
        self.sockets = [self._children]
        self.ports: dict[str, int] = {}  # of the doors, by name
        self._gate: Gate | None = None
        self._doors: list[str] = []
        self._names: dict[Address, str] = {}  # of guests
        self._connections: dict[str, Address] = {}
        self._guests = 0

    def listen(self, listening: Listening, executors: int, largest: int, clips: int) -> None:
        """Open a gate for guests; `await_ports` tells whether it is. `executors`: how many take
        clips, of `largest` bytes a sample; `clips`: bytes that may be on their way together."""
        self._doors = [GUESTS, *(f"executor-{number}" for number in range(executors))]
        name = f"{listening.option} {listening.endpoint(listening.port)}"
        doors = []
        for door in self._doors:
            said = door == GUESTS
            doors.append(
                Door(
                    name,
                    front="ROUTER" if said else "PULL",
                    endpoint=listening.endpoint(listening.port if said else None),
                    back=f"ipc://{self._directory}/{door}",
                    largest=wire.MAX_HEADER if said else largest,
                    waiting=_SAID if said else _CLIPS,
                    server=listening.keys,
                )
            )
        guests: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        wire.limit(guests, wire.MAX_HEADER)
        guests.bind(doors[0].back)
        self.sockets.append(guests)
        self._gate = Gate(self._directory, doors, _ROOM + clips)

    def await_ports(self) -> None:
        """Wait until the gate is open, if there is one. Raises `UsageError` where it cannot be."""
        if self._gate is not None:
            self.ports = dict(zip(self._doors, self._gate.ports, strict=True))

    def send(self, name: str, body: Body) -> None:
        """Send to a child or a guest. One that is gone gets nothing."""
        guest = self._connections.get(name)
        socket = self._children if guest is None else self.sockets[1]
        to = (name.encode(),) if guest is None else guest
        socket.send_multipart([*to, *wire.encode(body.write())])

    def receive(self) -> Iterator[tuple[str | None, FromChild | FromGuest | WireError]]:
        """What has come: (name, message), or an error for what is no message. The name is
        None for a connection of no guest; a child's is what the child says it is."""
        if self._gate is not None:
            for text in self._gate.news():
                yield None, WireError(text)
        for socket in self.sockets:
            own = socket is self._children
            for _ in range(wire.AT_ONCE):
                try:
                    sender, message = wire.receive(socket, routed=1 if own else 2)
                except zmq.Again:
                    break
                except WireError as error:
                    yield None, error
                    continue
                name = sender[0].decode(errors="replace") if own else self._names.get(sender)
                body: FromChild | FromGuest | WireError
                try:
                    body = from_child(message) if own else from_guest(message)
                except WireError as error:
                    body = error
                if isinstance(body, Join) and name is None:
                    name = self._admit(sender)
                yield name, body

    def _admit(self, connection: Address) -> str:
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
        for socket in self.sockets:
            socket.close()
        self._context.term()
        if self._gate is not None:
            self._gate.close()
            self._gate = None
