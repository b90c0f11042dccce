"""The listener: a listening socket that takes no more connections than are good for the run.

Comes in: who connects. Goes out: a bounded number of connections. Servers of other packages have
such a socket in place of their own: some stop to listen for ever where descriptors run out once.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import sys
import time
from contextlib import suppress
from typing import Any
from weakref import ref

from engine.base.descriptors import raise_limit
from engine.base.threads import LIMITS, room

log = logging.getLogger("engine")

_MOST = 64  # connections, and no more than an eighth of all descriptors
_WAIT_MS = 100
_SAID_EVERY_S = 10.0
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TCP_INFO_BYTES, _BYTES_RECEIVED = 136, slice(128, 136)  # of struct tcp_info


def bytes_received(connection: socket.socket) -> int:
    """What has come over a connection so far. Raises `OSError` where it is closed."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    return int.from_bytes(info[_BYTES_RECEIVED], sys.byteorder)


class Listener(socket.socket):
    """Takes the place of a listening socket, called `name` where something is said of it. Of too
    many connections the oldest is closed over which nothing has come, or else the newest.
    `threads`: that its server starts for each; without them some stop to listen, too."""

    def __init__(self, name: str, listening: socket.socket, threads: int = 0) -> None:
        self._name, self._said, self._threads = name, 0.0, threads
        self._most = min(_MOST, raise_limit() // 8)
        self._open: list[ref[socket.socket]] = []
        self._closing: list[ref[socket.socket]] = []
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY)
        timeout = listening.gettimeout()
        super().__init__(listening.family, listening.type, listening.proto, listening.detach())
        self.settimeout(timeout)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection that is let in. Raises `OSError` where this socket is closed, and
        `BlockingIOError` where it does not wait."""
        while True:
            if self.gettimeout() is None:
                self._wait()
            try:
                connection, address = super().accept()
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._turn_away(os.strerror(error.errno))
            else:
                if self._admits(connection):
                    self._open.append(ref(connection))
                    return connection, address
                connection.close()
            if self.gettimeout() is not None:
                raise BlockingIOError(errno.EAGAIN, "nobody is let in")

    def hang_up(self) -> None:
        """End every connection, whatever is on its way. For when nobody is let in any more."""
        for held in (*self._open, *self._closing):
            with suppress(OSError):
                if (connection := held()) is not None:
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """As of any socket."""
        super().close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _wait(self) -> None:
        """For somebody to come; a thread in `accept` itself would not see that it is over."""
        while self.fileno() != -1:
            poll = select.poll()
            poll.register(self.fileno(), select.POLLIN)
            if poll.poll(_WAIT_MS):
                return
        raise OSError(errno.EBADF, "the socket is closed")

    def _admits(self, connection: socket.socket) -> bool:
        """Whether there is room for one more connection."""
        if room(self._threads) < self._threads:
            self._say(f"no more threads can be started ({LIMITS}); connections are turned away")
            return False
        self._open, self._closing = _alive(self._open), _alive(self._closing)
        if len(self._open) < self._most:
            return True
        self._say(f"{self._most} connections are open; closing those over which nothing comes")
        for held in self._open:
            with suppress(OSError):
                if (old := held()) is not None and not bytes_received(old):
                    old.shutdown(socket.SHUT_RDWR)  # its server does the rest
                    self._open.remove(held)
                    self._closing.append(held)
                    return len(self._closing) < self._most
        return False

    def _turn_away(self, why: str) -> None:
        """Nobody can be let in; who waits is told so, or would be asked for again at once."""
        self._say(f"{why} (ulimit -n); connections are turned away")
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
            with suppress(OSError):
                super().accept()[0].close()
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)
        if self._spare is None:
            time.sleep(_WAIT_MS / 1e3)

    def _say(self, what: str) -> None:
        if not self._said or time.monotonic() - self._said > _SAID_EVERY_S:
            self._said = time.monotonic()
            log.warning("%s: %s", self._name, what)


def _alive(held: list[ref[socket.socket]]) -> list[ref[socket.socket]]:
    return [one for one in held if (there := one()) is not None and there.fileno() != -1]
