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
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import zmq

from engine.base import threads
from engine.base.addresses import bracketed, host_and_port, is_loopback, tcp_endpoint
from engine.base.curve import ClientKeys, ServerKeys
from engine.base.errors import SourceError, UsageError
from engine.base.gate import Door, Gate
from engine.base.listener import Listener
from engine.base.private import private_directory
from engine.sources.pose_frames import MAX_BYTES
from engine.sources.source import Source, Stop

_POLL_MS = 100
_WAITING = 64  # messages, in each of the queues on the way
_ROOM = 128 << 20  # bytes that peers of a ZeroMQ source may make its gate hold
_PUSHED = 64  # messages of all WebSockets; who pushes more is kept waiting by TCP
_THREADS = 4  # of a connection
_GOODBYE_S = 0.5  # for WebSockets to say that they are over, too


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
    return Source(name, partial(_received, "PULL", tcp_endpoint(host, port), keys, None), live=True)


def subscribe(rest: str) -> Source:
    """``zmq+sub:``."""
    name = f"zmq+sub:{rest}"
    host, port, given = _address(name, rest, {"key", "server"})
    if ("key" in given) != ("server" in given):
        raise UsageError(f"--source {name}: key and server go together")
    keys = ClientKeys.of(Path(given["key"]), Path(given["server"])) if given else None
    return Source(name, partial(_received, "SUB", tcp_endpoint(host, port), None, keys), live=True)


def _received(
    front: str, endpoint: str, server: ServerKeys | None, client: ClientKeys | None, stop: Stop
) -> Iterator[bytes | SourceError]:
    """Last parts of messages: a publisher's topic comes before."""
    with contextlib.ExitStack() as stack:
        directory = private_directory()
        back = f"ipc://{directory}/messages"
        context = stack.enter_context(zmq.Context())
        inbox: zmq.Socket[bytes] = stack.enter_context(context.socket(zmq.PULL))
        inbox.setsockopt(zmq.RCVHWM, _WAITING)
        inbox.bind(back)
        door = Door(endpoint, front, endpoint, back, MAX_BYTES, _WAITING, server, client)
        gate = Gate(directory, [door], _ROOM)
        stack.callback(gate.close)
        try:
            assert gate.ports
        except UsageError as error:
            raise SourceError(str(error)) from None
        while not stop():
            if inbox.poll(_POLL_MS):
                yield inbox.recv_multipart()[-1]
            yield from map(SourceError, gate.news())


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
    over = threading.Event()
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
                while not over.is_set():  # then what still comes is read for its end alone
                    with contextlib.suppress(queue.Full):
                        said = message.encode() if isinstance(message, str) else message
                        arrived.put(said, timeout=_POLL_MS / 1e3)
                        break

    origins: list[Any] = [None, *pages]
    try:
        listener = Listener(
            f"ws://{bracketed(host)}:{port}", socket.create_server((host, port)), _THREADS
        )
    except OSError as error:
        raise SourceError(f"{host}:{port}: {error.strerror}") from None
    server: Server = serve(
        handle, sock=listener, origins=origins, process_request=check_host, max_size=MAX_BYTES
    )
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        threads.start(thread)
        try:
            while not stop():
                if not thread.is_alive():
                    raise SourceError(f"{host}:{port}: its server has ended")
                with contextlib.suppress(queue.Empty):
                    yield arrived.get(timeout=_POLL_MS / 1e3)
        finally:
            over.set()
            late = threading.Timer(_GOODBYE_S, listener.hang_up)
            late.daemon = True
            late.start()
            server.shutdown()  # waits for threads that the interpreter would wait for, too
            thread.join()
            late.cancel()


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
