"""How converters end: with output files that are whole and proven, or with an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.base.console import expendable, needed
from engine.base.errors import EngineError, ModelError
from engine.base.files import real


def exit_code(
    name: str,
    convert: Callable[[], None],
    interrupted: str = "interrupted; nothing was written",
    *,
    printed: bool = False,
) -> int:
    """The exit code of the converter `name`. What ends it early is said on standard error.
    `printed`: whether what it prints is what it is for; else that is worth no conversion."""
    try:
        with needed() if printed else expendable("stdout"):
            convert()
    except EngineError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{name}: {interrupted}", file=sys.stderr)
        return 130
    return 0


@contextlib.contextmanager
def proven(path: Path) -> Iterator[Path]:
    """A file beside `path` to write and check; it takes that name when the block ends, and is
    removed when an error ends it. Raises `ModelError`, at once, where it cannot be written."""
    target = real(path)
    part = target.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        yield part
        os.replace(part, target)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
