"""A peer of libzmq's sockets that is no libzmq: ZMTP 3.0 by hand, so that it can misbehave."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

_MORE, _LONG, _COMMAND = 1, 2, 4
_GREETING = 64  # bytes


def greeting(mechanism: bytes = b"NULL") -> bytes:
    """The first 64 bytes of a connection, of the side that is no server."""
    return b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)


def frame(body: bytes, flags: int = 0) -> bytes:
    """One frame."""
    return bytes([flags | _LONG]) + len(body).to_bytes(8, "big") + body


def ready(kind: str) -> bytes:
    """What completes the handshake of the mechanism NULL, for a socket of that kind."""
    properties = b"\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind.encode()
    properties += b"\x08Identity" + bytes(4)
    return frame(b"\x05READY" + properties, _COMMAND)


def connected(port: int, kind: str, mechanism: bytes = b"NULL") -> socket.socket:
    """A connection to a port of this machine that takes messages, if it takes any."""
    peer = socket.create_connection(("127.0.0.1", port), 10)
    peer.sendall(greeting(mechanism) + ready(kind))
    with suppress(ConnectionError):  # who is not let in
        peer.recv(_GREETING, socket.MSG_WAITALL)
        peer.recv(1)  # what comes before the other side is ready is no message to it
    return peer


def endless(peer: socket.socket, part: int, most: int, seconds: float) -> int:
    """Begin a message that has no end, of parts of so many bytes. Returns the bytes that were
    taken until `most`, the end of the time, or of the connection."""
    parts = frame(bytes(part), _MORE) * max(1, (1 << 20) // part)
    sent, until = 0, time.monotonic() + seconds
    peer.settimeout(0.5)
    with suppress(ConnectionError):
        while sent < most and time.monotonic() < until:
            with suppress(TimeoutError):
                sent += peer.send(memoryview(parts)[sent % len(parts) :])
    return sent
