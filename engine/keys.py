"""Keys: CURVE key pairs for sockets that other machines reach, and who may use them.

``python -m engine.keys FOLDER NAME…`` makes a pair for the engine, once, and one for every
named worker. The engine's side reads the folder; a worker gets ``NAME.key_secret`` and
``engine.key`` out of it. Formats and authentication are pyzmq's.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from engine.base.errors import EngineError, OutputError, UsageError

_ENGINE = "engine"
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
        public, secret = _load(folder / f"{_ENGINE}.key_secret")
        allowed = folder / _ALLOWED
        if not any(allowed.glob("*.key")):
            raise UsageError(
                f"{allowed} holds no key, so nobody could connect: python -m engine.keys "
                f"{folder} NAME makes one"
            )
        return cls(public, secret, str(allowed))

    def protect(self, socket: zmq.Socket[bytes]) -> None:
        """Let only holders of an allowed key connect. Before `bind`; see `Doorkeeper`."""
        socket.curve_publickey, socket.curve_secretkey = self.public, self.secret
        socket.curve_server = True
        # Without a doorkeeper that knows this domain nobody is let in, not everybody.
        socket.zap_domain = _DOMAIN
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


class Doorkeeper:
    """Answers libzmq's question whether a key may connect, in a thread; one a context."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys) -> None:
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
        if not re.fullmatch(r"[\w.-]{1,64}", name) or name == _ENGINE:
            raise UsageError(f"{name!r:.80}: a worker's name is of letters, digits, . _ and -")
        if (allowed / f"{name}.key").exists():
            raise UsageError(f"{allowed / name}.key exists; delete it to let {name} in no more")
    before = os.umask(0o077)
    try:
        for place in (folder, allowed):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / f"{_ENGINE}.key_secret").exists():
            made.append(Path(zmq.auth.create_certificates(folder, _ENGINE)[1]))
        for name in names:
            public, secret = zmq.auth.create_certificates(folder, name)
            Path(public).rename(allowed / f"{name}.key")
            made.append(Path(secret))
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}") from None
    finally:
        os.umask(before)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.keys",
        description="Make CURVE keys for --listen, and for workers that join from elsewhere.",
    )
    parser.add_argument("folder", type=Path, help="of the engine: what --keys names")
    parser.add_argument("names", nargs="+", metavar="NAME", help="a worker that may join")
    given = parser.parse_args(arguments)
    try:
        made = make(given.folder, given.names)
    except EngineError as error:
        print(f"engine.keys: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(f"made {path}" for path in made))
    print(
        f"The engine: --listen tcp://ADDRESS:PORT --keys {given.folder}\n"
        f"A worker, given its .key_secret and {_ENGINE}.key:\n"
        "  python -m engine.join tcp://ADDRESS:PORT --key NAME.key_secret "
        f"--engine-key {_ENGINE}.key"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
