"""Every error that the engine raises on purpose, one tree in one place.

Data flow, and where an error belongs::

    options ─► dataset, model ─► sample ─► clips ─► backend ─► results
    Usage      Dataset, Model    Sample    Sample   Backend    Output

A `SampleError` concerns one sample: it becomes that sample's error record and
the run goes on (exit code 3 at the end). Every other one ends the run: the
`exit_code` of its class is the exit code of the process.
"""

from __future__ import annotations

from reprlib import Repr
from typing import Final

_SPELT: Final = Repr()
_SPELT.maxlevel, _SPELT.maxdict, _SPELT.maxstring, _SPELT.maxother = 2, 2, 80, 80


class EngineError(Exception):
    """Root of the tree. The message says what was wrong, where, and what to do."""

    exit_code = 1


class Interrupted(KeyboardInterrupt):
    """A first signal while the processes are starting, when nothing is on its way yet."""

    exit_code = 130


class UsageError(EngineError):
    """An option, or a combination of options, that cannot be honoured."""

    exit_code = 2


class DatasetError(UsageError):
    """An annotation file that is missing, unreadable, hostile or without samples."""


class ModelError(UsageError):
    """A model file that is missing, unreadable or not a PoseC3D network."""


class BackendError(EngineError):
    """The runtime or its device failed while executing the network."""


class WorkerError(EngineError):
    """A child process that does not start, or that keeps dying."""


class StallError(EngineError):
    """Nothing moves any more, and starting processes anew has not helped."""

    exit_code = 4


class WireError(EngineError):
    """A message that is not one of ours. The receiver counts it and drops it. `lease`: which it
    concerns, where it says so much."""

    lease: int | None = None


class SourceError(EngineError):
    """A message of a live source that is no pose frame. The receiver counts it and drops it."""


class OutputError(EngineError):
    """A result file that cannot be written."""


def printable(said: object) -> str:
    """What an error says, or a path, fit to be sent, written and shown on a terminal: of bounded
    length, without the surrogates that stand for bytes that are not UTF-8 and without control
    characters, which come from files and from others."""
    text = (str(said) or repr(said))[:2000].encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def shown(value: object, length: int = 60) -> str:
    """A value that somebody else wrote, for a message: in at most so many characters, and at a cost
    that does not grow with it, whatever it contains how often."""
    if isinstance(value, str):
        return value[:length]
    about = f"a {type(value).__name__}"
    try:
        if hasattr(value, "__array__"):
            if value.size != 1:  # type: ignore[attr-defined]
                return f"{about} {value.shape!s:.40}"  # type: ignore[attr-defined]
            return shown(value.item(), length)  # type: ignore[attr-defined]
        return _SPELT.repr(value)[:length]
    except Exception:  # of somebody's own class, or a number of more digits than are spelt
        return about


class SampleError(EngineError):
    """One sample that cannot be scored.

    `stage` is where it failed: ``"read"``, ``"decode"``, ``"infer"`` or ``"score"``.
    """

    exit_code = 3

    def __init__(self, message: str, *, stage: str = "decode") -> None:
        super().__init__(message)
        self.stage = stage
