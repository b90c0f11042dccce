"""How converters end: with output files that are whole and proven, or with an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.base.errors import EngineError, ModelError


def exit_code(
    name: str, convert: Callable[[], None], interrupted: str = "interrupted; nothing was written"
) -> int:
    """The exit code of the converter `name`. What ends it early is said on standard error."""
    try:
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
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        yield part
        os.replace(part, path)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
