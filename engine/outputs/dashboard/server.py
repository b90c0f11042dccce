"""The server: one page and what it is told, over HTTP, by starlette and uvicorn in a thread.

Comes in: named messages, each of which replaces the one before it. Goes out: the page, and
``/events``, server-sent events: to each reader what is new to it since it last could take any.

Who may look: on loopback whoever has an account here, elsewhere whoever has the token. Pages of
other sites are kept out by the Host and the Origin of every request.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import platform
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from engine.base import threads
from engine.base.addresses import bracketed, host_and_port, is_here, is_loopback
from engine.base.errors import UsageError
from engine.base.listener import Listener
from engine.base.options import DASHBOARD

_READERS = 16
_LOOK_S = 0.03  # at what is new
_BEAT_S = 5.0  # without anything new; so that a reader knows that somebody is there
_END_S = 3.0
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_PAGES = {"http://127.0.0.1:*", "http://localhost:*", "https:"}  # that pose models come from


class Server:
    """Serves from its making until `close`. Raises `UsageError` for an address that is none or
    is taken. `camera`: WebSocket addresses that the page may send poses to."""

    def __init__(self, address: str, camera: list[str]) -> None:
        self._host, port = host_and_port(
            address, f"--dashboard {address}: HOST:PORT is needed, such as {DASHBOARD}"
        )
        self._token = None if is_loopback(self._host) else secrets.token_urlsafe(24)
        self._latest: dict[str, tuple[int, bytes]] = {}
        self._count = self.readers = 0
        self._over = False
        self._policy = _policy(camera)
        self._socket = _bind(address, self._host, port)
        self.port = int(self._socket.getsockname()[1])
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._guarded(
                    Starlette(
                        routes=[
                            Route("/", self._page),
                            Route("/events", self._events),
                            Route("/static/{name}", self._static),
                        ]
                    )
                ),
                loop="asyncio",  # which takes connections by the socket's own method
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=int(_END_S),
            )
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="dashboard", daemon=True
        )
        threads.start(self._thread)

    @property
    def url(self) -> str:
        """Where the page is, with the token if there is one."""
        host = self._host
        if host in ("0.0.0.0", "::"):
            host = platform.node()
        where = f"http://{bracketed(host)}:{self.port}/"
        return where if self._token is None else f"{where}?token={self._token}"

    @property
    def origins(self) -> list[str]:
        """What a browser calls the page's site."""
        names = {self._host, "localhost", "127.0.0.1"} if self._token is None else {self._host}
        return sorted(f"http://{bracketed(n)}:{self.port}" for n in names)

    def publish(self, name: str, data: bytes) -> None:
        """Tell every reader, JSON without line breaks. Called from one thread."""
        self._count += 1
        self._latest[name] = self._count, data

    def close(self) -> None:
        """Let readers have what is new, and stop."""
        self._over = True
        self._server.should_exit = True
        self._thread.join(2 * _END_S)
        self._socket.close()

    # Requests

    async def _page(self, request: Request) -> Response:
        response = _file("index.html")
        if self._token is not None:
            name = f"posec3d-{self.port}"  # ports of a host share their cookies
            response.set_cookie(name, self._token, httponly=True, samesite="strict")
        return response

    async def _static(self, request: Request) -> Response:
        return _file(request.path_params["name"])

    async def _events(self, request: Request) -> Response:
        if self.readers >= _READERS:
            return PlainTextResponse(f"{_READERS} pages are open already\n", 503)
        return StreamingResponse(self._told(), media_type="text/event-stream")

    async def _told(self) -> AsyncIterator[bytes]:
        self.readers += 1
        try:
            yield b"retry: 1000\n\n"
            seen, quiet = 0, 0.0
            while True:
                over, fresh = (
                    self._over,
                    sorted(
                        (number, name, data)
                        for name, (number, data) in list(self._latest.items())
                        if number > seen
                    ),
                )
                for number, name, data in fresh:
                    yield b"event: %s\ndata: %s\n\n" % (name.encode(), data)
                    seen = number
                if over:
                    return
                quiet = 0.0 if fresh else quiet + _LOOK_S
                if quiet >= _BEAT_S:
                    quiet = 0.0
                    yield b"event: beat\ndata: 0\n\n"
                await asyncio.sleep(_LOOK_S)
        finally:
            self.readers -= 1

    def _guarded(self, app: Starlette) -> Callable[..., Awaitable[None]]:
        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            refusal = self._refusal(Request(scope)) if scope["type"] == "http" else None

            async def with_headers(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] += self._policy
                await send(message)

            await (refusal or app)(scope, receive, with_headers)

        return guarded

    def _refusal(self, request: Request) -> Response | None:
        """Why a request is not answered."""
        hosts, origins = request.headers.getlist("host"), request.headers.getlist("origin")
        # (Starlette's TrustedHostMiddleware takes a list of names, and no addresses of any kind.)
        elsewhere = self._token is not None
        if len(hosts) != 1 or not is_here(hosts[0], self._host, elsewhere=elsewhere):
            return PlainTextResponse("this Host is not ours\n", 403)
        if origins and (len(origins) > 1 or origins[0].partition("://")[2] != hosts[0]):
            return PlainTextResponse("a page of another site may not look\n", 403)
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("there is nothing to send here\n", 405)
        if self._token is None:
            return None
        given = request.query_params.get("token", "") if request.url.path == "/" else ""
        given = given or request.cookies.get(f"posec3d-{self.port}", "")
        if hmac.compare_digest(given.encode(), self._token.encode()):
            return None
        return PlainTextResponse(
            "open the address that the engine has printed: it ends with ?token=…\n", 401
        )


def _bind(address: str, host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError as error:
        raise UsageError(f"--dashboard {address}: {error.strerror}") from None
    try:
        found.bind(where)
        found.listen()  # whoever comes before the thread does waits
    except OSError as error:
        found.close()
        raise UsageError(
            f"--dashboard {address}: {error.strerror}; port 0 takes a free one"
        ) from None
    return Listener(f"--dashboard {address}", found)


def _file(name: str) -> Response:
    """A file of the page. Whatever else is asked for is not there."""
    found = files("engine.outputs.dashboard").joinpath("static")
    known = {entry.name: entry for entry in found.iterdir() if entry.is_file()}
    if name not in known:
        return PlainTextResponse("no such file\n", 404)
    return Response(known[name].read_bytes(), media_type=_TYPES[name.rpartition(".")[2]])


def _policy(camera: list[str]) -> list[tuple[bytes, bytes]]:
    """Headers of every answer. What the page may load and whom it may speak to: this server
    alone, but for a pose model that its user has chosen and the sources it sends to."""
    sources: dict[str, list[str]] = {
        "default-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    if camera:
        models = ["'self'", "blob:", *sorted(_PAGES)]
        sources |= {
            "script-src": [*models, "'wasm-unsafe-eval'"],
            "worker-src": ["blob:"],
            "connect-src": [*models, *camera],
        }
    policy = "; ".join(f"{name} {' '.join(values)}" for name, values in sources.items())
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-store"),
    ]
