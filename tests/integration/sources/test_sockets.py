"""Sources that others push into, over real sockets; outsiders inject nothing."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from engine.base.curve import Authenticator, ClientKeys, ServerKeys, make
from engine.base.errors import UsageError
from engine.sources.sockets import admitting
from engine.sources.source import open_source

websockets = pytest.importorskip("websockets")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def listening(uri: str) -> Iterator[list[bytes]]:
    """The messages of a source, as they come."""
    found: list[bytes] = []
    done = threading.Event()

    def run() -> None:
        for message in open_source(uri).messages(done.is_set):
            if isinstance(message, bytes):
                found.append(message)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join(10)
        assert not thread.is_alive()


def wait_for(found: list[bytes], count: int) -> None:
    until = time.monotonic() + 10
    while len(found) < count and time.monotonic() < until:
        time.sleep(0.02)
    assert len(found) >= count


@contextmanager
def pushing(port: int, own: ClientKeys | None = None) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.LINGER, 0)
        if own is not None:
            own.use(push)
        push.connect(f"tcp://127.0.0.1:{port}")
        yield push


def test_pull() -> None:
    port = free_port()
    with listening(f"zmq+pull://127.0.0.1:{port}") as found, pushing(port) as push:
        push.send(b"one")
        push.send_multipart([b"topic", b"two"])
        wait_for(found, 2)
        push.send(b" " * (2 << 20))  # too large: libzmq closes the connection
        push.send(b"three")
        time.sleep(0.5)
    assert found[:2] == [b"one", b"two"]
    assert b" " * (2 << 20) not in found


def test_pull_lets_in_by_key(tmp_path: Path) -> None:
    make(tmp_path / "ours", ["camera"])
    make(tmp_path / "theirs", ["outsider"])
    server = tmp_path / "ours" / "engine.key"
    camera = ClientKeys.of(tmp_path / "ours" / "camera.key_secret", server)
    outsider = ClientKeys.of(tmp_path / "theirs" / "outsider.key_secret", server)
    port = free_port()
    with (
        listening(f"zmq+pull://127.0.0.1:{port}?keys={tmp_path / 'ours'}") as found,
        pushing(port, outsider) as other,
        pushing(port) as bare,
        pushing(port, camera) as push,
    ):
        other.send(b"injected")
        bare.send(b"injected")
        push.send(b"ours")
        wait_for(found, 1)
        time.sleep(0.5)
    assert found == [b"ours"]


@pytest.mark.parametrize("secured", [False, True])
def test_subscribe(tmp_path: Path, secured: bool) -> None:
    with zmq.Context() as context:
        more, authenticator = "", None
        publisher = context.socket(zmq.PUB)
        publisher.setsockopt(zmq.LINGER, 0)
        if secured:
            make(tmp_path, ["us"])
            server = ServerKeys.of(tmp_path)
            authenticator = Authenticator(context, server)
            server.protect(publisher)
            more = f"?key={tmp_path / 'us.key_secret'}&server={tmp_path / 'engine.key'}"
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        with listening(f"zmq+sub://127.0.0.1:{port}{more}") as found:
            until = time.monotonic() + 10
            while not found and time.monotonic() < until:
                publisher.send_multipart([b"poses", b"frame"])
                time.sleep(0.05)
        publisher.close()
        if authenticator is not None:
            authenticator.close()
    assert set(found) == {b"frame"}


def connected(port: int, **more: Any) -> Any:
    from websockets.sync.client import connect

    until = time.monotonic() + 10
    while True:
        try:
            return connect(f"ws://127.0.0.1:{port}", **more)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def test_websocket() -> None:
    from websockets.exceptions import ConnectionClosed, InvalidStatus

    port = free_port()
    uri = admitting(f"ws://127.0.0.1:{port}?origin=https://page.example", ["http://localhost:8017"])
    assert isinstance(uri, str)
    with listening(uri) as found:
        with connected(port) as client:
            client.send("text")
            client.send(b"bytes")
            wait_for(found, 2)
        with connected(port, origin="https://page.example") as page:
            page.send("page")
            wait_for(found, 3)
        with connected(port, origin="http://localhost:8017") as dashboard:
            dashboard.send("dashboard")
            wait_for(found, 4)
        for more in (
            {"origin": "https://evil.example"},
            {"additional_headers": {"Host": f"evil.example:{port}"}},
        ):
            with pytest.raises(InvalidStatus), connected(port, **more) as evil:
                evil.send("injected")
        with connected(port) as client:
            client.send("x" * (2 << 20))
            with pytest.raises(ConnectionClosed):
                client.recv()
    assert found == [b"text", b"bytes", b"page", b"dashboard"]
    gc.collect()  # clients that were refused are held by their errors


def test_the_end_waits_for_nobody_who_pushes() -> None:
    """Neither for those who push on, nor for those who never answer: a thread that waits for them
    keeps the interpreter alive."""
    port, stopping = free_port(), threading.Event()
    before = set(threading.enumerate())
    messages = open_source(f"ws://127.0.0.1:{port}").messages(stopping.is_set)
    heard: list[object] = []
    reader = threading.Thread(target=lambda: heard.append(next(iter(messages))))
    reader.start()
    with connected(port):  # it listens
        pass
    deaf = upgraded(port)
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    sent: list[int] = []
    pushed = [threading.Thread(target=push_on, args=(port, sent)) for _ in range(5)]
    for thread in pushed:
        thread.start()
    reader.join(10)
    assert heard == [b"x" * 100_000]
    while len(sent) < 150:  # nobody reads on, so all that is on the way fills up
        time.sleep(0.01)
    start = time.monotonic()
    stopping.set()
    assert list(messages) == []
    assert time.monotonic() - start < 5
    for thread in pushed:
        thread.join(10)
    for one in (*silent, deaf):
        one.close()
    until = time.monotonic() + 5
    while left := {t for t in threading.enumerate() if not t.daemon} - before:
        assert time.monotonic() < until, left
        time.sleep(0.01)
    gc.collect()  # clients are held by what they were told


def push_on(port: int, sent: list[int]) -> None:
    from websockets.exceptions import WebSocketException

    slow = {"ping_interval": None, "compression": None}
    with suppress(WebSocketException, OSError), connected(port, **slow) as client:
        while True:
            client.send("x" * 100_000)
            sent.append(1)


def upgraded(port: int) -> socket.socket:
    """A WebSocket that answers nothing, not even that it is over."""
    deaf = socket.create_connection(("127.0.0.1", port))
    deaf.sendall(
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert deaf.recv(4096).startswith(b"HTTP/1.1 101")
    return deaf


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("zmq+pull://0.0.0.0:5555", "needs .keys=FOLDER; python -m engine.keys"),
        ("zmq+pull://127.0.0.1", "//HOST:PORT is needed"),
        ("zmq+pull://127.0.0.1:99999", "//HOST:PORT is needed"),
        ("zmq+pull://127.0.0.1:5555?key=x", "unknown key; known: keys"),
        ("zmq+sub://127.0.0.1:5555?key=x", "key and server go together"),
        ("ws://0.0.0.0:8765", "on loopback only; a proxy"),
    ],
)
def test_refused(uri: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_source(uri)
