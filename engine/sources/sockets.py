"""Sources that others push into: ZeroMQ and WebSockets. Each message is a pose frame in JSON.

* ``zmq+pull://HOST:PORT``: we bind; anybody may connect a PUSH socket. Off loopback with
  ``?keys=FOLDER`` only (`engine.keys`): holders of an allowed key.
* ``zmq+sub://HOST:PORT``: we connect to a PUB socket of theirs; with
  ``?key=NAME.key_secret&server=engine.key`` over CURVE.
* ``ws://HOST:PORT``: a browser or a device connects. Loopback only. A page of another site could
  connect as well, through a browser on this machine, so that Host and Origin are looked at:
  ``?origin=https://page`` lets a page in (several times several), programs send no Origin.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import zmq

from engine.base.addresses import bracketed, host_and_port, is_loopback, tcp_endpoint
from engine.base.curve import Authenticator, ClientKeys, ServerKeys
from engine.base.errors import SourceError, UsageError
from engine.sources.pose_frames import MAX_BYTES
from engine.sources.source import Source, Stop

_POLL_MS = 100
_WAITING = 1000  # messages
_PUSHED = 64  # messages of all WebSockets; who pushes more is kept waiting by TCP


def pull(rest: str) -> Source:
    """``zmq+pull:``."""
    name = f"zmq+pull:{rest}"
    host, port, given = _address(name, rest, {"keys"})
    keys = ServerKeys.of(Path(given["keys"])) if "keys" in given else None
    if keys is None and not is_loopback(host):
        raise UsageError(
            f"--source {name} is reachable from other machines, so it needs ?keys=FOLDER; "
            "python -m engine.keys makes them"
        )
    return Source(name, partial(_pulled, tcp_endpoint(host, port), keys), live=True)


def _pulled(endpoint: str, keys: ServerKeys | None, stop: Stop) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        if keys is not None:
            stack.callback(Authenticator(context, keys).close)
        socket = stack.enter_context(_socket(context, zmq.PULL))
        if keys is not None:
            keys.protect(socket)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise SourceError(f"{endpoint}: {error.strerror}") from None
        yield from _received(socket, stop)


def subscribe(rest: str) -> Source:
    """``zmq+sub:``."""
    name = f"zmq+sub:{rest}"
    host, port, given = _address(name, rest, {"key", "server"})
    if ("key" in given) != ("server" in given):
        raise UsageError(f"--source {name}: key and server go together")
    keys = ClientKeys.of(Path(given["key"]), Path(given["server"])) if given else None
    return Source(name, partial(_subscribed, tcp_endpoint(host, port), keys), live=True)


def _subscribed(endpoint: str, keys: ClientKeys | None, stop: Stop) -> Iterator[bytes]:
    with zmq.Context() as context, _socket(context, zmq.SUB) as socket:
        if keys is not None:
            keys.use(socket)
        socket.subscribe(b"")
        socket.connect(endpoint)
        yield from _received(socket, stop)


def _socket(context: zmq.Context[Any], kind: int) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
    socket.setsockopt(zmq.RCVHWM, _WAITING)
    socket.setsockopt(zmq.LINGER, 0)
    return socket


def _received(socket: zmq.Socket[bytes], stop: Stop) -> Iterator[bytes]:
    """Last parts of messages: a publisher's topic comes before."""
    while not stop():
        if socket.poll(_POLL_MS):
            parts = socket.recv_multipart()
            yield parts[-1]


def admitting(source: str | Source, pages: list[str]) -> str | Source:
    """A source that lets these pages in, too, if it is a WebSocket's."""
    if not isinstance(source, str) or not source.startswith("ws:"):
        return source
    return source + ("&" if "?" in source else "?") + urlencode({"origin": pages}, doseq=True)


def websocket(rest: str) -> Source:
    """``ws:``."""
    import websockets.sync.server  # noqa: F401 - missed now, not in a thread

    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # a line for every connection

    name = f"ws:{rest.partition('?')[0]}"
    host, port, given = _address(name, rest, {"origin"})
    if not is_loopback(host):
        raise UsageError(
            f"--source {name}: WebSockets are taken on loopback only; a proxy that asks who is "
            "there may forward to it"
        )
    return Source(name, partial(_pushed, host, port, given.get("origin", "").split()), live=True)


def _pushed(host: str, port: int, pages: list[str], stop: Stop) -> Iterator[bytes | SourceError]:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.server import Server, ServerConnection, serve

    arrived: queue.Queue[bytes] = queue.Queue(_PUSHED)
    known = {f"{name}:{port}" for name in (bracketed(host), "localhost", "127.0.0.1")}

    def check_host(connection: ServerConnection, request: Any) -> Any:
        """A name that somebody else's server resolves to this machine is none of ours."""
        hosts = request.headers.get_all("Host")
        if len(hosts) == 1 and hosts[0] in known:
            return None
        return connection.respond(403, "this Host is not ours\n")

    def handle(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                arrived.put(message.encode() if isinstance(message, str) else message)

    origins: list[Any] = [None, *pages]
    try:
        server: Server = serve(
            handle, host, port, origins=origins, process_request=check_host, max_size=MAX_BYTES
        )
    except OSError as error:
        raise SourceError(f"{host}:{port}: {error.strerror}") from None
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            while not stop():
                with contextlib.suppress(queue.Empty):
                    yield arrived.get(timeout=_POLL_MS / 1e3)
        finally:
            server.shutdown()
            thread.join()


def _address(name: str, rest: str, known: set[str]) -> tuple[str, int, dict[str, str]]:
    """Host, port and the query of ``//HOST:PORT?KEY=VALUE&…``; a path between them says nothing.
    Raises `UsageError`."""
    refusal = f"--source {name}: //HOST:PORT is needed"
    address, _, query = rest.partition("?")
    host, port = host_and_port(address.removeprefix("//").partition("/")[0], refusal)
    if not address.startswith("//") or port == 0:
        raise UsageError(refusal)
    given = {key: " ".join(values) for key, values in parse_qs(query).items()}
    if unknown := given.keys() - known:
        raise UsageError(
            f"--source {name}: unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}"
        )
    return host, port, given
