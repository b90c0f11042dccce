"""Files that a run writes: whole or not at all, and errors that name them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

from engine.errors import OutputError

T = TypeVar("T")


def guarded(path: Path, action: Callable[[], T]) -> T:
    """What `action` returns. Its `OSError` becomes an `OutputError` that names the file."""
    try:
        return action()
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from None


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a whole file beside `path` and move it there. Raises `OutputError`."""
    part = part_of(path)

    def save() -> None:
        with part.open("wb") as target:
            write(target)
        os.replace(part, path)

    try:
        guarded(path, save)
    finally:
        part.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """The file beside `path` that becomes it when it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")
