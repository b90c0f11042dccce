"""Files that a run writes: whole or not at all, and errors that name them.

Whatever is written goes through symbolic links: what a link leads to is written or replaced, and
the link stays. A hard link is another name of the same file: lines are appended to that file, a
whole file takes the place of the one name that was given.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, TypeVar

import orjson

from engine.base.errors import EngineError, OutputError, printable

STANDARD: Final = {"/dev/stdout": 1, "/dev/stderr": 2}
"""Names of what this process has open already."""

NO_FILE: Final = "no regular file, but a device or a pipe"

T = TypeVar("T")
Place = tuple[int, int, str]


def guarded(path: Path, action: Callable[[], T]) -> T:
    """What `action` returns. Whatever it raises becomes an `OutputError` that names the file: who
    makes what is to be written may run out of memory as well as of disk."""
    try:
        return action()
    except EngineError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from None
    except Exception as error:
        raise OutputError(f"{path}: {type(error).__name__}: {printable(error)}") from error


def real(path: Path) -> Path:
    """What is written in place of a path: what its links lead to, whether that is there or not."""
    return Path(os.path.realpath(path))


def place_of(path: Path) -> Place:
    """What tells a file from all others, by whatever name: links, mounts and descriptors of one
    file have the same. Of a file that is not there it is that of its folder, and its name."""
    try:
        found = path.stat()
        return found.st_dev, found.st_ino, ""
    except OSError:
        leads = real(path)
    try:
        folder = leads.parent.stat()
        return folder.st_dev, folder.st_ino, leads.name
    except OSError:  # nothing that can be written
        return 0, 0, str(leads)


def is_endless(path: Path) -> bool:
    """Whether it is a device or a pipe, which is read without an end."""
    return path.exists() and not path.is_file() and not path.is_dir()


def open_whole(path: Path) -> IO[bytes]:
    """Open a file to read all of it. Raises `OSError`, for a device or a pipe, too: they need have
    no end."""
    if is_endless(path):
        raise OSError(errno.EINVAL, NO_FILE)
    return path.open("rb")


def open_lines(path: Path) -> IO[bytes]:
    """Open a file to append lines to, unbuffered: a line is with the system when it is written.
    Raises `OutputError`. ``/dev/stdout`` and the like are what this process has, not opened
    anew: another offset into the same file would overwrite what is printed."""
    number = STANDARD.get(str(path))
    if number is not None:
        return guarded(path, lambda: os.fdopen(os.dup(number), "wb", buffering=0))
    return guarded(path, lambda: path.open("ab", buffering=0))


def end_line(path: Path, lines: IO[bytes]) -> None:
    """End the last line of a file, so that what is appended stands on lines of its own. Raises
    `OutputError`."""

    def end() -> None:
        with path.open("rb") as source:
            size = source.seek(0, os.SEEK_END)
            source.seek(max(0, size - 1))
            if source.read(1) not in (b"", b"\n"):
                lines.write(b"\n")

    if not is_stream(path):
        guarded(path, end)


def is_stream(path: Path) -> bool:
    """Whether lines go there for somebody to read at once: a device, a pipe, a descriptor."""
    return path.parts[:2] in (("/", "dev"), ("/", "proc")) or is_endless(path)


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
        part.unlink(missing_ok=True)
        with part.open("xb") as target:  # never through what somebody else has put there
            write(target)
        os.replace(part, real(path))

    try:
        guarded(path, save)
    finally:
        with suppress(OSError):  # where nothing can be written, nothing is left either
            part.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write a whole JSON file for people to read. Raises `OutputError`."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    write_atomically(path, lambda target: target.write(text))


def part_of(path: Path) -> Path:
    """The file beside `path`, or beside what that leads to, that becomes it when it is whole."""
    leads = real(path)
    return leads.with_name(f".{leads.name}.{os.getpid()}.part")


def remove(path: Path) -> None:
    """Remove what `path` leads to, if it is there. Raises `OutputError`."""
    guarded(path, lambda: real(path).unlink(missing_ok=True))
