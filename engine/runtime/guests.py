"""Guests: decode workers of other machines, which come and go as they like.

They are no children: nobody starts them again, and that one is gone shows by its silence only. Pure
bookkeeping; the clock is an argument.
"""

from __future__ import annotations

import logging

from engine.base.errors import printable
from engine.base.events import event
from engine.base.version import __version__
from engine.runtime.transport.messages import Join, Refused, Welcome, WorkerSettings

log = logging.getLogger("engine")

_SILENCE_S = 5.0  # a guest that says less gets no further lease until it is heard again


class Guests:
    """Who has joined, and who of them can take work."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._heard: dict[str, float] = {}  # of those that are ready
        self._joined: set[str] = set()

    def join(self, name: str, asked: Join) -> Welcome | Refused:
        """A guest asks to join. Returns the answer."""
        answer: Welcome | Refused = Welcome(name, self._settings)
        if asked.version == __version__:
            self._joined.add(name)
        else:
            reason = f"this engine is version {__version__}, the worker is {asked.version:.20}"
            answer = Refused(reason)
        host = printable(asked.host)[:100]
        about = event("joining", name, host=host, answer=answer.kind)
        log.warning("%s (%s): %s", name, host, answer.kind, extra=about)
        return answer

    def ready(self, name: str, now: float) -> None:
        """A guest that has joined can take work."""
        if name in self._joined:
            self._heard[name] = now

    def heard(self, name: str, now: float) -> bool:
        """A guest said something. False for one that has no business here."""
        if name in self._heard:
            self._heard[name] = now
        return name in self._joined

    def workers(self, now: float) -> list[str]:
        """Those that can take a lease."""
        return [name for name, heard in self._heard.items() if now - heard < _SILENCE_S]

    @property
    def names(self) -> list[str]:
        """Those that are ready, heard or not."""
        return list(self._heard)

    def part(self, name: str, reason: str) -> None:
        """A guest is gone, or to be heard no more."""
        self._joined.discard(name)
        if self._heard.pop(name, None) is not None:
            log.warning("%s %s", name, reason, extra=event("parted", name, reason=reason))
