"""Checkpoints become ONNX files once, in the cache.

Comes in: a checkpoint, and the config of its network. Goes out: the ONNX file that one call of
``python -m converters.pytorch2onnx`` made of them, now or before. Beside each file lies a record of
its digest, the checkpoint's and the config files': a config that was edited is converted again, and
so is a checkpoint whose file is not what was written.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, TimeoutExpired
from typing import Any, Final

import orjson

from engine.base import assets, subprocesses
from engine.base.assets import Content
from engine.base.errors import ModelError, printable
from engine.base.files import part_of, write_json
from engine.base.published import BENCHMARKS, CHECKPOINTS, DEFAULT_CHECKPOINT, checkpoint_of
from engine.base.version import CONVERSION, __version__

log = logging.getLogger("engine")
_SAID: Final = "pytorch2onnx: "  # the converter's name before what it says on standard error
_PATIENCE_S: Final = 1800
_LOOK_EVERY_S: Final = 0.1


def converted(checkpoint: Path, config: str | None = None, digest: str | None = None) -> Content:
    """The ONNX file of a checkpoint. `config`: the name or the file of the checkpoint's config;
    None means that of the published checkpoint that it is, else HMDB51's. `digest`: the
    checkpoint's own SHA-256, hex, where it is known already. Raises `ModelError`."""
    digest = digest or assets.file_sha256(checkpoint)
    if config is None:
        published = checkpoint_of(digest)
        config = DEFAULT_CHECKPOINT if published is None else published.name
    key = hashlib.sha256(_meaning(config).encode()).hexdigest()
    folder = assets.cache_dir() / "models"
    version = f"v{__version__}.{CONVERSION}"
    path = folder / f"{checkpoint.stem}-{digest[:12]}-{key[:8]}-{version}.onnx"
    if (written := _as_written(path, digest)) is not None:
        return written
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if (written := _as_written(path, digest)) is not None:  # by another run, meanwhile
                return written
            if path.is_file():
                log.warning(
                    "%s is not what was written, or its config has changed; converting again", path
                )
            log.info("converting %s (once)", checkpoint)
            return _convert(checkpoint, digest, config, path)
    except OSError as error:
        raise ModelError(
            f"the cache directory {printable(folder)} cannot be used ({error.strerror}), and "
            f"{printable(checkpoint)} must be converted into it; ENGINE_CACHE_DIR names another"
        ) from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Meanwhile no other run converts into a folder; what those left there that were killed is
    removed. The system takes the lock from who has died."""
    with (folder / ".lock").open("ab") as lock:
        until, told = time.monotonic() + _PATIENCE_S, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pass
            if not told:
                log.info("another run is converting into %s; waiting for it", folder)
            if time.monotonic() > until:
                raise ModelError(
                    f"another run has been converting into {printable(folder)} for more than "
                    f"{_PATIENCE_S} s; end it, or name another folder by ENGINE_CACHE_DIR"
                )
            told = True
            time.sleep(_LOOK_EVERY_S)
        _sweep(folder)
        try:
            yield
        finally:
            _sweep(folder)  # of a converter that was killed, while its disk may be full


def _sweep(folder: Path) -> None:
    for left in folder.glob(".*.part*"):
        left.unlink(missing_ok=True)


def _convert(checkpoint: Path, digest: str, config: str, path: Path) -> Content:
    """Write the file and its record."""
    sources = part_of(path.with_suffix(".sources"))
    code, said = _run_converter(
        config,
        str(checkpoint),
        *("--output-file", str(path)),
        *("--sources", str(sources)),
    )
    if code:
        reason = said.strip().removeprefix(_SAID)
        if code < 0:
            reason = (
                f"{printable(checkpoint)}: its conversion was ended by "
                f"{subprocesses.spell_exit(code)}, by the system if memory ran out (dmesg tells); "
                "it takes several times the memory of the checkpoint. What it had said: "
                f"{reason or 'nothing'}"
            )
        elif not reason:
            reason = (
                f"{printable(checkpoint)}: its conversion ended with exit code {code} and no word"
            )
        if "the config " in reason:
            reason += (
                f"\n{printable(checkpoint)} was read as {printable(config)}. If it is another "
                f"network's, --config CONFIG says whose{_of_as_many(reason)}; so does "
                f"python -m converters.pytorch2onnx CONFIG {printable(checkpoint)} --output-file "
                "FILE.onnx, once and for all"
            )
        raise ModelError(reason)
    for line in said.splitlines():  # of a config that leaves something open
        if line.startswith(_SAID):
            log.warning("%s", line.removeprefix(_SAID))
    made_from = orjson.loads(sources.read_bytes())
    sources.unlink(missing_ok=True)
    if made_from["checkpoint"] != digest:
        path.unlink()
        raise ModelError(f"{printable(checkpoint)} was replaced while it was converted; run again")
    written = Content.of(path)
    write_json(_record_of(path), {"sha256": written.sha256, **made_from})
    return written


def _run_converter(*arguments: str) -> tuple[int, str]:
    """The exit code of the converter, which ends with this process, and what it said."""
    process = subprocesses.start("converters.conversion", *arguments, stdout=DEVNULL, stderr=PIPE)
    try:
        _, said = process.communicate(timeout=_PATIENCE_S)
    except TimeoutExpired:
        raise ModelError(
            f"the conversion of {printable(arguments[1])} took more than {_PATIENCE_S} s"
        ) from None
    finally:
        subprocesses.reap(process, 0)
    return process.returncode, said.decode(errors="replace")


def _of_as_many(reason: str) -> str:
    """What CONFIG may be for a checkpoint of another number of classes."""
    if (found := re.search(r"the checkpoint has (\d+) classes", reason)) is None:
        return ""
    count = int(found[1])
    known = [name for name, one in CHECKPOINTS.items() if BENCHMARKS[one.benchmark].count == count]
    own = f"the file that it was trained with, of num_classes={count}"
    return f" ({', or '.join([own, *known[:2]])})"


def _meaning(config: str) -> str:
    """What tells configs apart: the contents of a known one, the place of a file. (What is in the
    file is in the record.)"""
    if (known := CHECKPOINTS.get(config)) is not None:
        return f"{known.network} {json.dumps(known.recipe.to_json(), sort_keys=True)}"
    return str(Path(config).resolve())


def _record_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _as_written(path: Path, digest: str) -> Content | None:
    """A conversion of the checkpoint of that SHA-256 that is what was written, of configs that are
    still the same; None for another."""
    try:
        record: dict[str, Any] = orjson.loads(_record_of(path).read_bytes())
        found, configs = Content.of(path), dict(record["config"])
        same = (found.sha256, digest) == (record["sha256"], record["checkpoint"]) and all(
            assets.file_sha256(Path(name)) == known for name, known in configs.items()
        )
        return found if same else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
