"""Published files by name: found on this machine, or downloaded once.

Comes in: an `Asset`. Goes out: a path. Looked for in ``ENGINE_DATA_DIR``, then in the
cache directory (``ENGINE_CACHE_DIR``, default ``$XDG_CACHE_HOME/posec3d-engine``), then
downloaded there: resumed where an earlier try ended, moved into place when whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO

from engine.base.errors import EngineError, UsageError
from engine.base.files import guarded, write_atomically
from engine.base.progress import ByteProgress

_TIMEOUT_S = 30.0  # without a byte
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
        _check_digest(path, asset)
        return path
    path = cache_dir() / asset.filename
    try:
        _download(asset, path)
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UsageError(
            f"{asset.name}: {asset.filename} is not on this machine and could not be "
            f"downloaded ({reason}).\n"
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
        guarded(path, lambda: path.parent.mkdir(parents=True, exist_ok=True))
        unpacked = lzma.decompress(_DEMO_PACKED.read_bytes())
        write_atomically(path, lambda target: target.write(unpacked))
    return path


def _download(asset: Asset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        _download_part(asset, part, path)
    finally:
        if part.is_file() and not part.stat().st_size:
            part.unlink()


def _download_part(asset: Asset, part: Path, path: Path) -> None:
    with part.open("ab") as target:
        fcntl.flock(target, fcntl.LOCK_EX)  # two runs at once: the second waits, then finds it
        if path.is_file():
            part.unlink(missing_ok=True)
            return
        tag = part.with_name(part.name + ".etag")
        have = target.tell()
        with _open(asset.url, have, tag) as response:
            if response.status != 206:
                target.truncate(0)
                have = 0
            etag = response.headers.get("ETag")
            if etag:
                tag.write_text(etag)
            _copy(response, target, asset.filename, have)
        target.flush()
        os.fsync(target.fileno())
        try:
            _check_digest(part, asset)
        except EngineError:
            part.unlink()
            tag.unlink(missing_ok=True)
            raise
        os.replace(part, path)
        tag.unlink(missing_ok=True)


def _open(url: str, have: int, tag: Path) -> HTTPResponse:
    """The file from byte `have` on (status 206), or whole (200) where it has changed."""
    request = urllib.request.Request(url)
    if have and tag.is_file():
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag.read_text())
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing left to send: what is here cannot be continued
            raise
        response = urllib.request.urlopen(url, timeout=_TIMEOUT_S)
    return response


def _copy(response: HTTPResponse, target: IO[bytes], name: str, have: int) -> None:
    length = response.headers.get("Content-Length")
    total = have + int(length) if length is not None else None
    with ByteProgress(name, total, have) as progress:
        while block := response.read(_BLOCK):
            target.write(block)
            have += len(block)
            progress.update(have)
    if total is not None and have != total:
        raise OSError(f"connection closed after {have} of {total} bytes; run again to continue")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hex."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def as_published(path: Path, asset: Asset) -> bool:
    """Whether a file is the published one, as far as a digest is published."""
    return not asset.sha256 or file_sha256(path).startswith(asset.sha256)


def _check_digest(path: Path, asset: Asset) -> None:
    if not as_published(path, asset):
        raise UsageError(
            f"{path}: its SHA-256 does not begin with {asset.sha256}, so it is not the "
            f"published {asset.filename}. Delete it and run again"
        )
