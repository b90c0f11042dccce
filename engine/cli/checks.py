"""Checks of options against files, before the work and not after."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from engine.base.errors import OutputError, UsageError
from engine.base.files import guarded, is_stream, part_of
from engine.base.options import Options
from engine.outputs.journal import identity_path


def check_outputs(options: Options) -> None:
    """Find files that cannot or must not be written, before the work and not after.

    Raises `UsageError` where an output is an input or another output, and `OutputError`
    where it cannot be written. Whole files replace what is there, so they must not stand
    for a device; ``--output`` and ``--log-json`` may be one.
    """
    taken = {
        Path(name).resolve(): option
        for option, name in (
            ("--dataset", options.dataset),
            ("--ann-file", options.ann_file),
            *(("--model", part) for part in (options.model or "").split(",")),
        )
        if name and Path(name).exists()
    }
    folders = {path for path in taken if path.is_dir()}
    for source in options.source:
        taken |= {path.resolve(): "--source" for path in _named(source)}
    if options.save_video is not None and Path(options.save_video).suffix != ".mp4":
        raise UsageError(f"--save-video {options.save_video}: a file .mp4 is what is written")
    lines = ("output", "resume")
    files = (*lines, "log_json", "scores", "logits", "summary", "report", "save_video")
    for option in files:
        name = getattr(options, option)
        if name is None:
            continue
        path, flag = Path(name), "--" + option.replace("_", "-")
        if name == "-":
            raise UsageError(f"{flag} - : a file is needed; standard output is /dev/stdout")
        if path.resolve() in taken:
            raise UsageError(f"{flag} {name} is the file of {taken[path.resolve()]} as well")
        if (folder := path.resolve().parent) in folders:
            raise UsageError(f"{flag} {name} is in the folder of {taken[folder]}")
        taken[path.resolve()] = flag
        if option in lines:
            taken[identity_path(path).resolve()] = f"what {flag} is identified by"
        if path.is_dir() or (is_stream(path) and option not in ("output", "log_json")):
            raise OutputError(f"{name} exists and is not a file")
        if not is_stream(path):
            guarded(path, partial(_probe, part_of(path)))


def _named(source: str) -> list[Path]:
    """The files that a source's URI names."""
    _, _, rest = source.partition(":")
    parts = [rest, rest.rpartition("@")[0], *re.split("[?&=]", rest)]
    return [path for path in map(Path, parts) if path.is_file()]


def _probe(path: Path) -> None:
    """Create and remove a file."""
    path.touch()
    path.unlink()
