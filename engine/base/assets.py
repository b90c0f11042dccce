"""Published files by name: found on this machine, or downloaded once.

Comes in: an `Asset`. Goes out: a path. Looked for in ``ENGINE_DATA_DIR``, then in the
cache directory (``ENGINE_CACHE_DIR``, default ``$XDG_CACHE_HOME/posec3d-engine``), then
downloaded there: resumed where an earlier try ended, moved into place when whole.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from engine.base.errors import EngineError, OutputError, UsageError
from engine.base.files import guarded, open_whole, write_atomically

_BLOCK = 1 << 18


@dataclass(frozen=True)
class Asset:
    """A published file. `sha256` is a prefix of its digest, hex; empty if not published. `beside`:
    what else is needed, and nothing here downloads, in words."""

    name: str
    filename: str
    url: str
    sha256: str = ""
    beside: str = ""


DEMO = "demo"  # data and weights that ship
_DEMO_PACKED = Path(__file__).parents[1] / "sources" / "demo" / "posec3d_demo.pth.xz"
DEMO_SHA256 = "3210fe2acbb203eb83fec82e71d87ef7f991d04322107ab44f0bb70be67d0ee0"  # unpacked


def cache_dir() -> Path:
    """Where downloads and converted models are kept; created on first use."""
    base = os.environ.get("ENGINE_CACHE_DIR")
    if base:
        return Path(base)
    from platformdirs import user_cache_path  # on use: decode workers import this module

    return user_cache_path("posec3d-engine")


def find(asset: Asset) -> Path | None:
    """Where the asset is on this machine."""
    data_dir = os.environ.get("ENGINE_DATA_DIR")
    for folder in [*([Path(data_dir)] if data_dir else []), cache_dir()]:
        if (path := folder / asset.filename).is_file():
            return path
    return None


def locate(asset: Asset) -> Path:
    """The asset's path on this machine, downloaded if need be. Raises `UsageError` that says where
    to put the file."""
    if (path := find(asset)) is not None:
        check_digest(path, asset)
        return path
    from engine.base.downloads import DownloadError, download  # on use: urllib takes its time

    path = cache_dir() / asset.filename
    try:
        download(asset.url, path, lambda whole: check_digest(whole, asset))
    except DownloadError as error:
        raise UsageError(
            f"{asset.name}: {asset.filename} is not on this machine and could not be "
            f"downloaded ({error}).\n"
            f"Fetch {asset.url}\n"
            f"and put it at {path}, or into a directory that ENGINE_DATA_DIR names."
            + (f"\nBeside it belong {asset.beside}." if asset.beside else "")
        ) from None
    return path


def demo_checkpoint() -> Path:
    """The checkpoint of the demo, unpacked into the cache where it is not there yet. Raises
    `EngineError`."""
    path = cache_dir() / _DEMO_PACKED.stem
    if not (path.is_file() and file_sha256(path) == DEMO_SHA256):
        try:
            import lzma
        except ImportError as error:  # a Python that was built without it
            raise EngineError(f"the demo's weights are packed by xz: {error}") from None
        unpacked = lzma.decompress(_DEMO_PACKED.read_bytes())
        try:
            guarded(path, lambda: path.parent.mkdir(parents=True, exist_ok=True))
            write_atomically(path, lambda target: target.write(unpacked))
        except OutputError as error:
            raise UsageError(
                f"{error}; the demo's weights are unpacked there, and ENGINE_CACHE_DIR names "
                "another folder"
            ) from None
    return path


@dataclass(frozen=True, eq=False)
class Content:
    """A file as it was read, once: what is made of `data` is of the file whose `sha256`, hex, is
    told to others, whatever becomes of `path` meanwhile."""

    path: Path
    data: bytes
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Content:
        """Read it. Raises `OSError`."""
        with open_whole(path) as source:
            data = source.read()
        return cls(path, data, hashlib.sha256(data).hexdigest())


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with open_whole(path) as source:
        return sha256_of(source)


def sha256_of(source: IO[bytes]) -> str:
    """SHA-256, hex, of what an open file has from here on."""
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def as_published(path: Path, asset: Asset) -> bool:
    """Whether a file is the published one, as far as a digest is published."""
    return not asset.sha256 or file_sha256(path).startswith(asset.sha256)


def check_digest(path: Path, asset: Asset) -> None:
    """Raise `UsageError` where a file is not the published one."""
    if not as_published(path, asset):
        raise UsageError(
            f"{path}: its SHA-256 does not begin with {asset.sha256}, so it is not the "
            f"published {asset.filename}. Delete it and run again"
        )
