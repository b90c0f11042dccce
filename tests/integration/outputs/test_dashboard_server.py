"""Who may look, and what a reader is told, over real sockets."""

from __future__ import annotations

import http.client
import platform
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engine.base.errors import UsageError
from engine.outputs.dashboard.server import Server


@contextmanager
def serving(address: str = "127.0.0.1:0", *camera: str) -> Iterator[Server]:
    server = Server(address, list(camera))
    try:
        yield server
    finally:
        server.close()


def ask(
    server: Server, path: str = "/", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=given)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


class Reader:
    """Somebody who listens."""

    def __init__(self, server: Server) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        self.connection.request("GET", "/events")
        self.response = self.connection.getresponse()

    def next(self, *, skip: str = "beat") -> tuple[str, str] | None:
        """The next event, or None at the end."""
        name = ""
        while line := self.response.readline().decode():
            kind, _, value = line.strip().partition(": ")
            if kind == "event":
                name = value
            elif kind == "data" and name != skip:
                return name, value
        return None


def test_the_page_is_whole() -> None:
    with serving() as server:
        status, headers, page = ask(server)
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert headers["content-security-policy"] == (
            "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        )
        assert headers["x-content-type-options"] == "nosniff"
        files = re.findall(r'(?:href|src)="([^"]+)"', page)
        assert len(files) == 3
        imports = set(files)
        while True:
            bodies = {path: ask(server, f"/{path}") for path in imports}
            found = {
                f"static/{name}"
                for path, body in bodies.items()
                if path.endswith(".js")
                for name in re.findall(r'from "\./([^"]+)"', body[2])
            }
            if found <= imports:
                break
            imports |= found
        assert all(status == 200 for status, _, _ in bodies.values())
        assert len(imports) > 6
        assert ask(server, "/static/..%2Fserver.py")[0] == 404
        assert ask(server, "/nowhere")[0] == 404
        assert ask(server, "/", "POST")[0] == 405


def test_pages_of_others_are_kept_out() -> None:
    with serving() as server:
        port = server.port
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost:9", "[::1]:80"):
            assert ask(server, Host=host)[0] == 200, host
        for host in (
            "evil.example",
            f"evil.example:{port}",
            f"127.0.0.1.evil.example:{port}",
            "10.0.0.5",
            "",
            "[",
            "localhost@evil.example:80",
        ):
            assert ask(server, Host=host)[0] in (400, 403), host
        here = f"127.0.0.1:{port}"
        assert ask(server, Host=here, Origin=f"http://{here}")[0] == 200
        for origin in ("http://evil.example", "null", f"http://localhost:{port}", "http://["):
            assert ask(server, "/events", Host=here, Origin=origin)[0] == 403, origin


def test_a_token_elsewhere() -> None:
    with serving("0.0.0.0:0") as server:
        host, port = platform.node(), server.port
        where, _, token = server.url.partition("?token=")
        assert (where, len(token)) == (f"http://{host}:{port}/", 32)
        here = f"{host}:{port}"
        for path in (
            "/",
            "/events",
            "/static/main.js",
            "/?token=",
            f"/?token={token[:-1]}",
            f"/events?token={token}",
        ):
            assert ask(server, path, Host=here)[0] == 401, path
        status, headers, _ = ask(server, f"/?token={token}", Host=here)
        assert status == 200
        cookie, *flags = headers["set-cookie"].split("; ")
        assert {"HttpOnly", "SameSite=strict"} <= set(flags)
        assert ask(server, "/static/main.js", Host=here, Cookie=cookie)[0] == 200
        assert ask(server, "/static/main.js", Host="10.1.2.3:80", Cookie=cookie)[0] == 200
        assert ask(server, "/static/main.js", Host="evil.example", Cookie=cookie)[0] == 403
        assert ask(server, "/static/main.js", Host=here, Cookie=cookie[:-1])[0] == 401


def test_a_camera_opens_the_policy_for_models_and_its_source() -> None:
    with serving("127.0.0.1:0", "ws://127.0.0.1:8765") as server:
        policy = ask(server)[1]["content-security-policy"]
        assert re.search(r"script-src 'self' blob: [^;]*'wasm-unsafe-eval'", policy)
        assert re.search(r"connect-src 'self' [^;]*ws://127\.0\.0\.1:8765(;|$)", policy)
        assert server.origins == [f"http://{n}:{server.port}" for n in ("127.0.0.1", "localhost")]


def test_a_reader_gets_the_latest() -> None:
    with serving() as server:
        server.publish("state", b"1")
        server.publish("state", b"2")
        server.publish("events", b"[]")
        reader = Reader(server)
        assert [reader.next(), reader.next()] == [("state", "2"), ("events", "[]")]
        assert server.readers == 1
        server.publish("state", b"3")
        assert reader.next() == ("state", "3")
        server.publish("state", b'"the last"')
        server.close()
        assert reader.next() == ("state", '"the last"')
        assert reader.next() is None
        reader.connection.close()


def test_readers_who_do_not_read_hold_up_nobody() -> None:
    with serving() as server:
        stuck = socket.create_connection(("127.0.0.1", server.port))
        stuck.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reader = Reader(server)
        for number in range(100):
            server.publish("state", b"%d" % number + b" " * (1 << 20))
            found = reader.next()
            assert found is not None
            assert found[1].split()[0] == str(number)
        stuck.close()
        reader.connection.close()


def test_not_too_many_readers() -> None:
    with serving() as server:
        server.publish("state", b"1")
        readers = [Reader(server) for _ in range(16)]
        assert all(reader.next() == ("state", "1") for reader in readers)
        assert ask(server, "/events")[0] == 503
        for reader in readers:
            reader.response.close()
            reader.connection.close()
        until = time.monotonic() + 10
        while server.readers and time.monotonic() < until:
            server.publish("state", b"2")
            time.sleep(0.05)
        assert server.readers == 0


def test_somebody_is_there() -> None:
    with serving() as server:
        reader = Reader(server)
        assert reader.next(skip="") == ("beat", "0")
        reader.connection.close()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "8017",
        "127.0.0.1",
        "127.0.0.1:x",
        "127.0.0.1:99999",
        "127.0.0.1:80/path",
        "no.such.host.invalid:80",
    ],
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(UsageError, match="--dashboard"):
        Server(address, [])


def test_an_address_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="in use; port 0"):
            Server(f"127.0.0.1:{taken.getsockname()[1]}", [])
