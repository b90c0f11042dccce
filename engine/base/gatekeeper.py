"""The gatekeeper: the process of a gate (`engine.base.gate`).

Comes in: doors, as a line of JSON, and messages. Goes out: ports, or an error, and what there is
to say, as lines of JSON; and whole messages. It ends when its standard input does.

libzmq bounds the size of a part and the number of whole messages that wait, but not the parts of
one that has no end. So the memory of this process is looked at many times a second: where it is
more than there is room for, the connection is closed whose peer has sent most since its last whole
message.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import orjson
import zmq
from zmq.utils.monitor import recv_monitor_message

from engine.base.curve import HANDSHAKE_FAILED, Authenticator, ClientKeys, ServerKeys
from engine.base.descriptors import raise_limit
from engine.base.errors import EngineError
from engine.base.gate import HEARTBEAT_MS, MAX_PARTS, Door
from engine.base.listener import bytes_received
from engine.base.threads import require

_LOOK_MS = 20
_AT_ONCE = 100  # messages, before others get their turn
_CONNECTIONS = 512  # of a door
_SPARE = 64  # descriptors that are no connections
_SMALL = 1 << 16  # bytes: what CURVE, a header or a topic add; nobody is put out for less
_HANDSHAKE_MS = 10_000  # whoever has not said who it is by then is put out
_LINGER_MS = 300
_END_S = 0.3  # for what is on its way when it is over
_BACK = {"PULL": zmq.PUSH, "SUB": zmq.PUSH, "ROUTER": zmq.DEALER, "PUB": zmq.PULL}
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED | HANDSHAKE_FAILED
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STDIN, _STDOUT = 0, 1

Socket = zmq.Socket[bytes]
Parts = list[Any]


def main() -> None:
    """The process."""
    os.set_blocking(_STDOUT, False)
    told = orjson.loads(sys.stdin.buffer.readline())
    doors = [_door(one) for one in told["doors"]]
    most = min(_CONNECTIONS, max(1, (raise_limit() - _SPARE) // len(doors)))
    room = told["room"] + _memory()
    # Where a look comes too late, there is no more, and this process ends.
    resource.setrlimit(resource.RLIMIT_DATA, (2 * room + (1 << 30),) * 2)
    with ExitStack() as stack:
        try:
            require()
        except EngineError as error:
            _say(error=str(error))
            return
        context = zmq.Context()
        stack.callback(context.destroy, linger=_LINGER_MS)
        for keys in [door.server for door in doors if door.server is not None][:1]:
            stack.callback(Authenticator(context, keys).close)
        try:
            opened = [_OpenDoor(context, door, most) for door in doors]
        except _NoDoor as error:
            _say(error=str(error))
            return
        _say(ports=[door.port for door in opened])
        _serve(opened, room)
    shutil.rmtree(told["directory"], ignore_errors=True)  # the owner may have been killed


def _serve(doors: Sequence[_OpenDoor], room: int) -> None:
    """Pass on what comes, until nobody wants it: a killed owner closes our standard input, too."""
    passages = [passage for door in doors for passage in door.passages]
    end, looked = float("inf"), 0.0
    while True:
        poller = zmq.Poller()
        wanted: dict[Socket, int] = {}
        for passage in passages:
            waited, event = passage.waits_for
            wanted[waited] = wanted.get(waited, 0) | event
        for waited, events in wanted.items():
            poller.register(waited, events)
        if end == float("inf"):
            poller.register(_STDIN, zmq.POLLIN)
        ready = dict(poller.poll(_LOOK_MS))
        moved = [passage.move() for passage in passages]
        now = time.monotonic()
        if now >= end or (end < float("inf") and not any(moved)):
            return
        if _STDIN in ready and not os.read(_STDIN, 1):
            end = now + _END_S
        if now - looked >= _LOOK_MS / 1e3:
            _look(doors, room)
            looked = now


def _look(doors: Sequence[_OpenDoor], room: int) -> None:
    """See who has come and gone, and who takes too much room."""
    for door in doors:
        door.look()
    if _memory() > room:
        ctypes.CDLL(None).malloc_trim(0)  # what is free already
        if (now := _memory()) > room:
            found = max(((*door.most_behind(), door) for door in doors), key=lambda one: one[0])
            if found[0] > _SMALL:
                why = (
                    f"{found[0]} bytes came without the end of a message, and there is no more "
                    f"room ({now >> 20} MB in use)"
                )
                found[2].put_out(found[1], why)


def _door(said: dict[str, Any]) -> Door:
    def keys(kind: Callable[..., Any], given: dict[str, str] | None) -> Any:
        if given is None:
            return None
        return kind(**{k: v if k == "allowed" else v.encode() for k, v in given.items()})

    server, client = said.pop("server"), said.pop("client")
    return Door(**said, server=keys(ServerKeys, server), client=keys(ClientKeys, client))


def _say(**what: Any) -> None:
    """To the owner; one that does not listen misses it."""
    with suppress(BlockingIOError):
        os.write(_STDOUT, orjson.dumps(what) + b"\n")


def _memory() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE


def _received(descriptor: int) -> int:
    """Bytes that have come over a connection so far; 0 where it is closed."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        return bytes_received(connection)
    return 0


class _NoDoor(Exception):
    """A door that cannot be opened, and why."""


class _Passage:
    """Whole messages, from one socket to another one, which may make them wait."""

    def __init__(
        self, source: Socket, sink: Socket, read: Callable[[Socket], Parts | None]
    ) -> None:
        self._source, self._sink, self._read = source, sink, read
        self._held: Parts | None = None

    @property
    def waits_for(self) -> tuple[Socket, int]:
        """What has to happen before there is anything to do."""
        return (self._source, zmq.POLLIN) if self._held is None else (self._sink, zmq.POLLOUT)

    def move(self) -> bool:
        """Pass on what there is. Returns whether there was any."""
        for count in range(_AT_ONCE):
            try:
                if self._held is None:
                    self._held = self._read(self._source)
                if self._held is not None:
                    self._sink.send_multipart(self._held, zmq.NOBLOCK, copy=False)
                    self._held = None
            except zmq.Again:
                return count > 0
        return True


class _OpenDoor:
    """A door that is open, and who is connected to it."""

    def __init__(self, context: zmq.Context[Any], door: Door, most: int) -> None:
        self._door, self._most = door, most
        self._at_last: dict[int, int] = {}  # bytes up to the last whole message, by descriptor
        self._closing: set[int] = set()
        self._front: Socket = context.socket(getattr(zmq, door.front))
        self._monitor: Socket = self._front.get_monitor_socket(_EVENTS)
        self.port = self._open()
        back: Socket = context.socket(_BACK[door.front])
        back.setsockopt(zmq.IMMEDIATE, 1)  # nothing waits for one that is no more
        for limit in (zmq.RCVHWM, zmq.SNDHWM):
            back.setsockopt(limit, door.waiting)
        back.connect(door.back)
        self.passages = []
        if door.front != "PUB":
            self.passages.append(_Passage(self._front, back, self._take))
        if door.front in ("PUB", "ROUTER"):
            self.passages.append(
                _Passage(back, self._front, lambda own: own.recv_multipart(zmq.NOBLOCK, copy=False))
            )

    def _open(self) -> int:
        front, door = self._front, self._door
        front.setsockopt(zmq.IPV6, "[" in door.endpoint)
        front.setsockopt(zmq.MAXMSGSIZE, door.largest + _SMALL)
        front.setsockopt(zmq.RCVHWM, door.waiting)
        front.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        if door.server is not None:
            door.server.protect(front)
        if door.client is not None:
            door.client.use(front)
        if door.front == "ROUTER":
            front.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        try:
            if door.front == "SUB":
                front.subscribe(b"")
                front.connect(door.endpoint)
                return 0
            front.bind(door.endpoint)
        except zmq.ZMQError as error:
            raise _NoDoor(f"{door.name}: {error.strerror}") from None
        return int(front.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])

    def look(self) -> None:
        """See who has come and gone."""
        while self._monitor.poll(0):
            found = recv_monitor_message(self._monitor)
            event, descriptor = found["event"], int(found["value"])
            if event == zmq.EVENT_DISCONNECTED:
                self._at_last.pop(descriptor, None)
                self._closing.discard(descriptor)
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                _say(said="a connection whose key is not allowed (--keys)")
            elif event & HANDSHAKE_FAILED:
                _say(said="a connection that does not speak as ours do, or without a key (--keys)")
            else:
                self._at_last[descriptor] = 0
                if len(self._at_last) > self._most:
                    self.put_out(descriptor, f"{self._most} are open already")

    def most_behind(self) -> tuple[int, int]:
        """Bytes that a peer has sent since its last whole message, at most, and its descriptor."""
        found = [
            (_received(descriptor) - at, descriptor)
            for descriptor, at in self._at_last.items()
            if descriptor not in self._closing
        ]
        return max(found, default=(0, -1))

    def put_out(self, descriptor: int, why: str) -> None:
        """Close a connection; libzmq does so when it sees the end of it."""
        self._closing.add(descriptor)
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
            host, port = connection.getpeername()[:2]
            connection.shutdown(socket.SHUT_RDWR)
            _say(said=f"{self._door.name}: the connection of {host}:{port} is closed: {why}")

    def _take(self, front: Socket) -> Parts | None:
        """The next message, None for one that is not passed on. Raises `zmq.Again`."""
        parts: Parts = []
        count = size = 0
        while True:
            part: Any = front.recv(zmq.NOBLOCK, copy=False)
            count, size = count + 1, size + len(part)
            if count <= MAX_PARTS:
                parts.append(part)
            if not part.more:
                break
        with suppress(zmq.ZMQError):
            descriptor = int(part.get("__fd"))
            if descriptor in self._at_last:
                self._at_last[descriptor] = _received(descriptor)
        if count > MAX_PARTS or size > self._door.largest + _SMALL:
            what = f"a message of {count} parts, {size} bytes, is not passed on"
            _say(said=f"{self._door.name}: {what}")
            return None
        return parts


if __name__ == "__main__":
    main()
