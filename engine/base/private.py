"""Private directories: where the sockets of a run are that nobody else gets to.

Who makes one holds a lock on a file in it for as long as it lives. What is left of a run that was
killed with all its processes is found by that, and removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from engine.base.errors import UsageError, printable
from engine.base.threads import require

_MAX_IPC_PATH = 107  # bytes of a Unix socket's path
_PREFIX = "posec3d-"
_OWNER = "owner"  # the file that is locked

_held: dict[Path, int] = {}  # descriptors of the locks


def private_directory() -> Path:
    """A new directory for sockets: of unguessable name, for this user only (0700). It is for
    `remove_directory`. Raises `EngineError` where there can be none, or no threads for the
    sockets."""
    require()
    for base in (tempfile.gettempdir(), "/tmp"):
        try:
            path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        except OSError as error:
            raise UsageError(
                f"the temporary directory {printable(base)} cannot be used ({error.strerror}); "
                "TMPDIR names another"
            ) from None
        if len(os.fsencode(path / "executor-00.0000.started")) <= _MAX_IPC_PATH:
            _hold(path)
            _sweep(Path(base))
            return path
        shutil.rmtree(path)
    raise UsageError("the temporary directory's path is too long for sockets; set TMPDIR")


def remove_directory(path: Path) -> None:
    """Remove a private directory, and all that is in it."""
    shutil.rmtree(path, ignore_errors=True)
    if (held := _held.pop(path, None)) is not None:
        os.close(held)


def _hold(path: Path) -> None:
    """Lock it under another name first: whoever sweeps never sees its file without the lock."""
    new = path / f"{_OWNER}.new"
    held = os.open(new, os.O_CREAT | os.O_RDWR, 0o600)
    with contextlib.suppress(OSError):  # a file system without locks: nobody takes one there
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(path / _OWNER)
    _held[path] = held


def _sweep(base: Path) -> None:
    """Remove what nobody owns any more. One that has no file is left alone: it may be new."""
    for left in base.glob(f"{_PREFIX}*/{_OWNER}"):
        with contextlib.suppress(OSError):  # somebody else's, or swept meanwhile
            lock = os.open(left, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid == os.getuid():
                    shutil.rmtree(left.parent, ignore_errors=True)
            finally:
                os.close(lock)
