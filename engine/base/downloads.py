"""Downloads: a file by its address, resumed where an earlier try ended, in place when whole.

Comes in: an address and where the file goes. Imported on use: urllib takes its time.
"""

from __future__ import annotations

import fcntl
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO

from engine.base.errors import EngineError
from engine.base.files import real
from engine.base.progress import ByteProgress

_TIMEOUT_S = 30.0  # without a byte
_BLOCK = 1 << 18


class DownloadError(Exception):
    """Why a file could not be had, in words."""


def download(url: str, path: Path, check: Callable[[Path], None]) -> None:
    """Download a file to `path`. `check` raises for one that is another than the published; what it
    raises is raised here, and that file is gone. Raises `DownloadError`."""
    try:
        _download(url, path, check)
    except urllib.error.URLError as error:
        raise DownloadError(str(error.reason)) from None
    except (OSError, HTTPException) as error:
        raise DownloadError(str(error)) from None


def _download(url: str, path: Path, check: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = real(path).with_name(path.name + ".part")
    try:
        _download_part(url, part, path, check)
    finally:
        if part.is_file() and not part.stat().st_size:
            part.unlink()


def _download_part(url: str, part: Path, path: Path, check: Callable[[Path], None]) -> None:
    with part.open("ab") as target:
        fcntl.flock(target, fcntl.LOCK_EX)  # two runs at once: the second waits, then finds it
        if path.is_file():
            part.unlink(missing_ok=True)
            return
        tag = part.with_name(part.name + ".etag")
        have = target.tell()
        with _open(url, have, tag) as response:
            if response.status != 206:
                target.truncate(0)
                have = 0
            etag = response.headers.get("ETag")
            if etag:
                tag.write_text(etag)
            _copy(response, target, path.name, have)
        target.flush()
        os.fsync(target.fileno())
        try:
            check(part)
        except EngineError:
            part.unlink()
            tag.unlink(missing_ok=True)
            raise
        os.replace(part, real(path))
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
