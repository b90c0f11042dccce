"""A door: where something of others comes in, what comes in there, and what is done with it.

Each makes an input of random numbers and takes it in as a run does. Whatever is no `EngineError`
is a finding: `Found` where something raised that is called unforeseen, or the exception itself.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from engine.base.records import Cause
from engine.skeletons.samples import Sample

CLASSES = 51  # of whom samples are read for
_KNOWN = {"EngineError", "SampleError", "DatasetError", "SourceError", "WireError"}  # that may be


class Found(Exception):
    """Something that should not have happened, in words."""


class Door(ABC):
    """A way in. `folder`: for files."""

    suffix = ""  # of files with an input

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @abstractmethod
    def make(self, rng: random.Random) -> Any:
        """An input."""

    @abstractmethod
    def enter(self, made: Any) -> None:
        """Take an input in. Raises `EngineError` where it is refused."""

    @staticmethod
    def look(sample: Sample) -> None:
        """Read a sample, which may be refused. Raises `Found`."""
        found = sample.read(CLASSES)
        if isinstance(found, Cause) and found.type not in _KNOWN:
            raise Found(f"{found.type}: {found.message}")

    def stored(self, made: Any) -> bytes:
        """An input as a file to look at."""
        return made if isinstance(made, bytes) else repr(made).encode()
