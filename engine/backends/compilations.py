"""Compilations: what a runtime made of networks, in the cache, for the next process.

Comes in: a network as its runtime is given it, and whatever else decides what becomes of it. Goes
out: the runtime's own file of the compiled network, as it was kept, or None. A file's name is the
digest of all that it was made from, so that nothing else finds it; it begins with the digest of
what follows, since runtimes do not look whether theirs are whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.base import assets
from engine.base.errors import OutputError
from engine.base.files import guarded, write_atomically

log = logging.getLogger("engine")

_SUFFIX: Final = ".compiled"
_MOST_BYTES: Final = 1 << 28  # of all files: a network of eleven levels has 14 MB
_writing = threading.Lock()  # two threads of a process would write the same unfinished file


class Compilations:
    """The compilations of one runtime. `made_by`: what decides, beside the network and what is
    asked of it, what is compiled: versions, the processor, …"""

    def __init__(self, made_by: Mapping[str, object]) -> None:
        self._made_by = dict(made_by)
        self._folder = assets.cache_dir() / "compiled"
        self._usable = True

    def path(self, network: bytes, asked: Mapping[str, object]) -> Path:
        """Where the compilation of a network is kept; `asked`: of the runtime, JSON types."""
        about = json.dumps([self._made_by, asked], sort_keys=True)
        key = hashlib.sha256(hashlib.sha256(network).digest() + about.encode())
        return self._folder / f"{key.hexdigest()[:40]}{_SUFFIX}"

    def find(self, path: Path) -> bytes | None:
        """What was kept there. None where there is nothing, or, with a warning, where it is not
        what was written."""
        try:
            with path.open("rb") as source:
                digest, found = source.read(hashlib.sha256().digest_size), source.read()
        except OSError:
            return None
        if hashlib.sha256(found).digest() != digest:
            log.warning("%s is not what was written; compiling again", path)
            return None
        with suppress(OSError):
            os.utime(path)  # the longest unused goes first
        return found

    def keep(self, path: Path, compiled: bytes) -> None:
        """Keep it. Where that cannot be, a warning says so once: the network is at hand anyway."""
        if not self._usable or len(compiled) > _MOST_BYTES:
            return
        digest = hashlib.sha256(compiled).digest()
        try:
            with _writing:
                guarded(path, lambda: path.parent.mkdir(parents=True, exist_ok=True))
                write_atomically(path, lambda target: target.writelines((digest, compiled)))
                self._make_room()
        except OutputError as error:
            self._usable = False
            log.warning("compiled networks are not kept, and every start compiles them: %s", error)

    def _make_room(self) -> None:
        """Remove the files that were used longest ago."""
        files: list[tuple[float, int, Path]] = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with suppress(OSError):  # another process has removed it
                found = path.stat()
                files.append((found.st_mtime, found.st_size, path))
        total = 0
        for _, size, path in sorted(files, reverse=True):
            total += size
            if total > _MOST_BYTES:
                with suppress(OSError):
                    path.unlink()
