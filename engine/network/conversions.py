"""Checkpoints become ONNX files once, in the cache.

Comes in: a checkpoint, and the config of its network. Goes out: the ONNX file that one call of
``python -m converters.pytorch2onnx`` made of them, now or before. Beside each file lies a record of
its digest and of the config files: a config that was edited is converted again, and so is a
checkpoint whose file is not what was written.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import orjson

from engine.base import assets
from engine.base.errors import ModelError, printable
from engine.base.files import part_of, write_json
from engine.base.published import BENCHMARKS, CHECKPOINTS, DEFAULT_CHECKPOINT, checkpoint_of
from engine.base.version import CONVERSION, __version__

log = logging.getLogger("engine")
_SAID: Final = "pytorch2onnx: "  # the converter's name before what it says on standard error


def converted(
    checkpoint: Path, config: str | None = None, digest: str | None = None
) -> tuple[Path, str]:
    """The ONNX file of a checkpoint, and its SHA-256, hex. `config`: the name or the file of the
    checkpoint's config; None means that of the published checkpoint that it is, else HMDB51's.
    `digest`: the checkpoint's own, where it is known already. Raises `ModelError`."""
    digest = digest or assets.file_sha256(checkpoint)
    if config is None:
        published = checkpoint_of(digest)
        config = DEFAULT_CHECKPOINT if published is None else published.name
    key = hashlib.sha256(_meaning(config).encode()).hexdigest()
    folder = assets.cache_dir() / "models"
    version = f"v{__version__}.{CONVERSION}"
    path = folder / f"{checkpoint.stem}-{digest[:12]}-{key[:8]}-{version}.onnx"
    if path.is_file():
        if (written := _as_written(path)) is not None:
            return path, written
        log.warning("%s is not what was written, or its config has changed; converting again", path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"the cache directory {printable(folder)} cannot be made ({error.strerror}), and "
            f"{printable(checkpoint)} must be converted into it; ENGINE_CACHE_DIR names another"
        ) from None
    log.info("converting %s (once)", checkpoint)
    return path, _convert(checkpoint, config, path)


def _convert(checkpoint: Path, config: str, path: Path) -> str:
    """Write the file and its record. Returns its SHA-256, hex."""
    sources = part_of(path.with_suffix(".sources"))
    command = [
        sys.executable,
        "-m",
        "converters.pytorch2onnx",
        config,
        str(checkpoint),
        *("--output-file", str(path)),
        *("--sources", str(sources)),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = result.stderr.strip().removeprefix(_SAID) or "no message"
        if "the config " in reason:
            reason += (
                f"\n{printable(checkpoint)} was read as {printable(config)}. If it is another "
                f"network's, --config CONFIG says whose{_of_as_many(reason)}; so does "
                f"python -m converters.pytorch2onnx CONFIG {printable(checkpoint)} --output-file "
                "FILE.onnx, once and for all"
            )
        raise ModelError(reason)
    for line in result.stderr.splitlines():  # of a config that leaves something open
        if line.startswith(_SAID):
            log.warning("%s", line.removeprefix(_SAID))
    made_from = orjson.loads(sources.read_bytes())
    sources.unlink(missing_ok=True)
    written = assets.file_sha256(path)
    write_json(_record_of(path), {"sha256": written, "config": made_from})
    return written


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


def _as_written(path: Path) -> str | None:
    """The SHA-256 of a conversion that is what was written, of configs that are still the same;
    None for another."""
    try:
        record: dict[str, Any] = orjson.loads(_record_of(path).read_bytes())
        files = {str(path): record["sha256"], **record["config"]}
        same = all(assets.file_sha256(Path(name)) == digest for name, digest in files.items())
        return str(record["sha256"]) if same else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
