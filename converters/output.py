"""Output files of the converters: whole and proven, or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from engine.base.errors import ModelError


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
