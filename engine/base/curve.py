"""CURVE: key pairs for sockets that other machines reach, and who may use them.

The listening side reads a folder of keys; a connecting one has its own pair and the listener's
public key. Formats and authentication are pyzmq's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth

from engine.base.addresses import is_loopback, tcp_address, tcp_endpoint
from engine.base.errors import OutputError, UsageError

ENGINE = "engine"
HANDSHAKE_FAILED = (  # events of a connection that is not let in
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
_DOMAIN = b"posec3d"
_ALLOWED = "workers"  # the folder of the public keys that may connect


@dataclass(frozen=True)
class ServerKeys:
    """What the listening side needs: its own pair, and the folder of the keys it lets in."""

    public: bytes
    secret: bytes
    allowed: str

    @classmethod
    def of(cls, folder: Path) -> ServerKeys:
        """Read them. Raises `UsageError` that says how to make them."""
        public, secret = _load(folder / f"{ENGINE}.key_secret")
        allowed = folder / _ALLOWED
        if not any(allowed.glob("*.key")):
            raise UsageError(
                f"{allowed} holds no key, so nobody could connect: python -m engine.keys "
                f"{folder} NAME makes one"
            )
        return cls(public, secret, str(allowed))

    def protect(self, socket: zmq.Socket[bytes]) -> None:
        """Let only holders of an allowed key connect. Before `bind`; see `Authenticator`."""
        socket.curve_publickey, socket.curve_secretkey = self.public, self.secret
        socket.curve_server = True
        # Without a authenticator that knows this domain nobody is let in, not everybody.
        socket.zap_domain = _DOMAIN
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


class Authenticator:
    """Answers libzmq's question whether a key may connect, in a thread; one a context."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys) -> None:
        from zmq.auth.thread import ThreadAuthenticator  # on use: it needs all of asyncio

        self._thread = ThreadAuthenticator(context)
        self._thread.start()
        self._thread.configure_curve(domain=_DOMAIN.decode(), location=keys.allowed)

    def close(self) -> None:
        """End the thread. Before the context ends."""
        self._thread.stop()


@dataclass(frozen=True)
class ClientKeys:
    """What a connecting side needs: its own pair, and the public key of whom it means."""

    public: bytes
    secret: bytes
    server: bytes

    @classmethod
    def of(cls, own: Path, server: Path) -> ClientKeys:
        """Read ``NAME.key_secret`` and ``engine.key``. Raises `UsageError`."""
        return cls(*_load(own), _load(server, secret=False)[0])

    def use(self, socket: zmq.Socket[bytes]) -> None:
        """Before `connect`."""
        socket.curve_publickey, socket.curve_secretkey = self.public, self.secret
        socket.curve_serverkey = self.server


def _load(path: Path, *, secret: bool = True) -> tuple[bytes, bytes]:
    try:
        public, private = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} is not a key ({error}); python -m engine.keys FOLDER NAME makes them"
        ) from None
    if secret and private is None:
        raise UsageError(f"{path} has no secret key; the file ends in .key_secret")
    return public, private or b""


def make(folder: Path, names: Sequence[str]) -> list[Path]:
    """Make what is missing of the engine's pair and of the named workers'. Returns the files of
    secrets made. Raises `UsageError` for a name that exists, `OutputError`."""
    made: list[Path] = []
    allowed = folder / _ALLOWED
    for name in names:
        if not re.fullmatch(r"[\w.-]{1,64}", name) or name == ENGINE:
            raise UsageError(f"{name!r:.80}: a worker's name is of letters, digits, . _ and -")
        if (allowed / f"{name}.key").exists():
            raise UsageError(f"{allowed / name}.key exists; delete it to let {name} in no more")
    before = os.umask(0o077)
    try:
        for place in (folder, allowed):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / f"{ENGINE}.key_secret").exists():
            made.append(Path(zmq.auth.create_certificates(folder, ENGINE)[1]))
        for name in names:
            public, secret = zmq.auth.create_certificates(folder, name)
            Path(public).rename(allowed / f"{name}.key")
            made.append(Path(secret))
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}") from None
    finally:
        os.umask(before)
    return made


@dataclass(frozen=True)
class Listening:
    """Where guests may connect, and with which keys."""

    host: str  # as in a TCP address
    port: int | None
    keys: ServerKeys | None
    option: str = "--listen"  # that says so

    @classmethod
    def of(cls, address: str, keys: str | None, option: str = "--listen") -> Listening:
        """Of what an option and ``--keys`` say. Raises `UsageError`."""
        host, port = tcp_address(address, option)
        if keys is None and not is_loopback(host):
            raise UsageError(
                f"{option} {address} is reachable from other machines, so it needs --keys FOLDER; "
                "python -m engine.keys makes them"
            )
        return cls(host, port, ServerKeys.of(Path(keys)) if keys is not None else None, option)

    def endpoint(self, port: int | None) -> str:
        """The address of that port, or of a free one."""
        return tcp_endpoint(self.host, port or "*")
