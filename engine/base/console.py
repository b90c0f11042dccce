"""The console: standard output and standard error, which may go while a run goes on.

A terminal is closed, a reader of a pipe ends, a disk that a log goes to is full. What is said there
is worth no run: a stream that cannot be written any more falls silent.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Literal

from engine.base.errors import OutputError

Name = Literal["stdout", "stderr"]


class _Guarded:
    """A stream that may be lost. Who writes to it then hears of it once where it is `needed`, and
    never where it is not."""

    def __init__(self, stream: IO[str], *, needed: bool) -> None:
        self._stream, self._needed = stream, needed

    def write(self, text: str) -> int:
        with self._lost():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._lost():
            self._stream.flush()

    @contextmanager
    def _lost(self) -> Iterator[None]:
        reason = None
        with falls_silent(self._stream):
            try:
                yield
            except OSError as error:
                reason = error.strerror
                raise
        if reason is not None and self._needed:
            self._needed = False
            raise OutputError(f"standard output: {reason}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def falls_silent(stream: IO[str]) -> Iterator[None]:
    """Where the stream cannot be written, nothing is any more: what it holds back is lost, too."""
    try:
        yield
    except OSError:
        with suppress(OSError):  # of a stream without a descriptor
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


@contextmanager
def expendable(name: Name) -> Iterator[None]:
    """Meanwhile one of `sys`'s streams is worth no error."""
    with _guarded(name, needed=False):
        yield


@contextmanager
def needed() -> Iterator[None]:
    """Meanwhile what is printed is what is wanted: raises `OutputError` where it is lost, for a
    program that says so, once."""
    with _guarded("stdout", needed=True):
        yield


@contextmanager
def _guarded(name: Name, *, needed: bool) -> Iterator[None]:
    stream = getattr(sys, name)
    if stream is None:  # a program without a console
        yield
        return
    guarded = _Guarded(stream, needed=needed)
    setattr(sys, name, guarded)
    try:
        yield
        guarded.flush()
    finally:
        setattr(sys, name, stream)
        with falls_silent(stream):  # of what it holds back
            stream.flush()


def say(text: str) -> None:
    """Print what a run has found. Raises `OutputError` where nobody can read it any more, unless
    standard output is `expendable`."""
    try:
        print(text, flush=True)
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}") from None


def prepare() -> None:
    """Let names of all characters be printed, and open what of the first three descriptors is
    closed: the next file would get its number, and what processes say would be written there."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    while (nowhere := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(nowhere, True)
    os.close(nowhere)
