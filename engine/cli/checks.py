"""Checks of options against files, before the work and not after."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path

from engine.base.errors import OutputError, UsageError
from engine.base.files import guarded, is_stream, part_of
from engine.base.option_field import about, files_written, flag, paths_read
from engine.base.options import Options
from engine.outputs.formats import format_of, is_result, journal_of, result_of
from engine.outputs.journal import holds_records, identity_path


def check_outputs(options: Options) -> None:
    """Find files that cannot or must not be written, before the work and not after.

    Raises `UsageError` where an output is an input or another output, and `OutputError`
    where it cannot be written. Whole files replace what is there, so they must not stand
    for a device; ``--output`` and ``--log-json`` may be one.
    """
    taken = paths_read(options)
    folders = {path for path in taken if path.is_dir()}
    if options.save_video is not None and Path(options.save_video).suffix != ".mp4":
        raise UsageError(f"--save-video {options.save_video}: a file .mp4 is what is written")
    for f, name in files_written(options):
        path, writes = Path(name), about(f).writes
        check_output(flag(f.name), name, taken, folders, lines=writes in ("lines", "results"))
        if writes == "results" and not is_stream(path):
            _check_beside(flag(f.name), path, path, taken, folders)
            if not options.overwrite:
                _check_free(flag(f.name), path)
    if options.resume is not None:
        path = Path(options.resume)
        if format_of(result_of(path)) == "csv":
            raise UsageError(
                f"--resume {path}: a .csv has no scores to go on with; runs that write .jsonl or "
                ".parquet can be resumed"
            )
        _check_beside("--resume", path, result_of(path), taken, folders)


def _check_beside(
    option: str, named: Path, result: Path, taken: dict[Path, str], folders: Collection[Path]
) -> None:
    """The other files of a result file: Parquet's journal, and what records are identified by."""
    journal = journal_of(result)
    for beside in (result, journal, identity_path(journal)):
        if beside != named:
            check_output(option, str(beside), taken, folders)


def _check_free(option: str, path: Path) -> None:
    """Raise `UsageError` where a file of results would replace something."""
    for there in (path, journal_of(path)):
        if is_stream(there) or not holds_records(there):
            continue
        if not guarded(there, partial(is_result, there)):
            raise UsageError(
                f"{option} {there} is there, and no run has written it; --overwrite replaces it"
            )
        journal = journal_of(path)
        goes_on = holds_records(journal) and identity_path(journal).is_file()
        others = f", --resume {journal} goes on with them" if goes_on else ""
        raise UsageError(
            f"{option} {there} holds records of an earlier run: --overwrite replaces them{others}"
        )


def check_output(
    option: str,
    name: str,
    taken: dict[Path, str],
    folders: Collection[Path] = (),
    *,
    lines: bool = False,
) -> None:
    """As `check_outputs`, of one file. It must be none of `taken` (path to what it is), which it
    then joins, nor lie in one of `folders`. Of `lines` it may be a device."""
    path = Path(name)
    if name == "-":
        raise UsageError(f"{option} - : a file is needed; standard output is /dev/stdout")
    if path.resolve() in taken:
        raise UsageError(f"{option} {name} is the file of {taken[path.resolve()]} as well")
    if (folder := path.resolve().parent) in folders:
        raise UsageError(f"{option} {name} is in the folder of {taken[folder]}")
    taken[path.resolve()] = option
    if path.is_dir() or (is_stream(path) and not lines):
        raise OutputError(f"{name} exists and is not a file")
    if not is_stream(path):
        guarded(path, partial(_probe, part_of(path)))


def _probe(path: Path) -> None:
    """Create and remove a file."""
    path.touch()
    path.unlink()
