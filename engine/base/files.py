"""Files that a run writes: whole or not at all, and errors that name them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

import orjson

from engine.base.errors import OutputError

T = TypeVar("T")


def guarded(path: Path, action: Callable[[], T]) -> T:
    """What `action` returns. Its `OSError` becomes an `OutputError` that names the file."""
    try:
        return action()
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from None


def open_lines(path: Path) -> IO[bytes]:
    """Open a file to append lines to, unbuffered: a line is with the system when it is written.
    Raises `OutputError`. ``/dev/stdout`` and the like are what this process has, not opened
    anew: another offset into the same file would overwrite what is printed."""
    names = {"/dev/stdout": 1, "/dev/stderr": 2}
    number = names.get(str(path))
    if number is not None:
        return guarded(path, lambda: os.fdopen(os.dup(number), "wb", buffering=0))
    return guarded(path, lambda: path.open("ab", buffering=0))


def is_stream(path: Path) -> bool:
    """Whether lines go there for somebody to read at once: a device, a pipe, a descriptor."""
    return path.parts[:2] in (("/", "dev"), ("/", "proc")) or (
        path.exists() and not path.is_file() and not path.is_dir()
    )


def append_whole(target: IO[bytes], line: bytes, *, stream: bool) -> None:
    """Append all of a line, or, where there is no room (`OSError`), nothing of it."""
    before = os.fstat(target.fileno()).st_size
    try:
        while line:
            line = line[target.write(line) :]
    except OSError:
        if not stream:
            target.truncate(before)
        raise


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


def write_json(path: Path, value: object) -> None:
    """Write a whole JSON file for people to read. Raises `OutputError`."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    write_atomically(path, lambda target: target.write(text))


def part_of(path: Path) -> Path:
    """The file beside `path` that becomes it when it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")
