"""Checks of options against files, before the work and not after."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from engine.base.assets import DEMO, find
from engine.base.errors import OutputError, UsageError
from engine.base.files import STANDARD, Place, guarded, is_stream, part_of, place_of, real
from engine.base.option_field import about, files_written, flag, names_read
from engine.base.options import Options
from engine.base.published import CHECKPOINTS, DATASETS
from engine.outputs.formats import format_of, is_result, journal_of, result_of
from engine.outputs.journal import can_go_on, holds_records, identity_path
from engine.sources.contents import FOLDER

_PUBLISHED: Final = {**DATASETS, **CHECKPOINTS}


class Taken:
    """The files that a run reads, and those that it is to write so far.

    A file may have many names: hard links, symbolic ones, mounts, descriptors. So files are told
    apart by where they are (`engine.base.files.place_of`), those below a folder that is read as
    well. `read`: paths, and what they are to the user.
    """

    def __init__(self, read: Iterable[tuple[str, Path]]) -> None:
        self._files: dict[Place, str] = {}
        self._folders: list[tuple[str, Path, Place]] = []
        for what, path in read:
            if path.is_file():
                self._files.setdefault(place_of(path), what)
                path = path.with_name(FOLDER)  # of a table of contents
            if path.is_dir():
                self._folders.append((what, path, place_of(path)))

    def claim(self, option: str, name: str, *, lines: bool = False) -> None:
        """For a file that is to be written: whole or, of `lines`, as a device or a pipe may be.

        Raises `UsageError` where it is taken or below a folder that is read, and `OutputError`
        where it cannot be written.
        """
        path = Path(name)
        if name == "-":
            raise UsageError(f"{option} - : a file is needed; standard output is /dev/stdout")
        if (path.is_file() or not path.exists()) and name not in STANDARD:
            self._take(option, path)
        if path.is_dir():
            raise OutputError(f"{option} {name} is a folder; name a file in it")
        if is_stream(path) and not lines:
            raise OutputError(f"{name} exists and is not a file")
        if not is_stream(path):
            guarded(path, partial(_probe, part_of(path)))

    def check_printed(self) -> None:
        """For the files that the run was started with as standard output and standard error."""
        for name in map(Path, STANDARD):
            if name.is_file() and (place := place_of(name)) in self._files:
                raise UsageError(f"what is printed is in the file of {self._files[place]} as well")

    def _take(self, option: str, path: Path) -> None:
        place, called = place_of(path), f"{option} {path}"
        if place in self._files:
            raise UsageError(f"{called} is the file of {self._files[place]} as well")
        above = [place_of(folder) for folder in real(path).parents]
        for what, folder, its_place in self._folders:
            if its_place in above or (path.is_file() and place in _places_below(folder, place)):
                raise UsageError(f"{called} is in the folder of {what}")
        self._files[place] = option


def _places_below(folder: Path, like: Place) -> Iterator[Place]:
    """Where those files are that may be in a certain place: a look at each costs time."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _places_below(Path(entry.path), like)
            elif entry.is_symlink() or entry.inode() == like[1]:
                yield place_of(Path(entry.path))


def check_outputs(options: Options) -> None:
    """Find files that cannot or must not be written, before the work and not after.

    Raises `UsageError` where an output is an input or another output, and `OutputError`
    where it cannot be written. Whole files replace what is there, so they must not stand
    for a device; ``--output`` and ``--log-json`` may be one.
    """
    taken = taken_by(options)
    if options.save_video is not None and Path(options.save_video).suffix != ".mp4":
        raise UsageError(f"--save-video {options.save_video}: a file .mp4 is what is written")
    for f, name in files_written(options):
        path, writes = Path(name), about(f).writes
        taken.claim(flag(f.name), name, lines=writes in ("lines", "results"))
        if writes == "results" and not is_stream(path):
            _check_beside(flag(f.name), path, path, taken)
            if not options.overwrite:
                _check_free(flag(f.name), path, live=bool(options.source or options.windows))
    if options.resume is not None:
        path = Path(options.resume)
        if format_of(result_of(path)) == "csv":
            raise UsageError(
                f"--resume {path}: a .csv has no scores to go on with; runs that write .jsonl or "
                ".parquet can be resumed"
            )
        _check_beside("--resume", path, result_of(path), taken)
    taken.check_printed()


def taken_by(options: Options) -> Taken:
    """What a run reads: published files by their names, which count before paths."""
    read: list[tuple[str, Path]] = []
    for what, name in names_read(options):
        if name in _PUBLISHED:
            path = find(_PUBLISHED[name])
            read += [] if path is None else [(what, path)]
        elif name != DEMO:
            read.append((what, Path(name)))
    return Taken(read)


def _check_beside(option: str, named: Path, result: Path, taken: Taken) -> None:
    """The other files of a result file: Parquet's journal, and what records are identified by."""
    journal = journal_of(result)
    for beside in (result, journal, identity_path(journal)):
        if beside != named:
            taken.claim(option, str(beside))


def _check_free(option: str, path: Path, *, live: bool) -> None:
    """Raise `UsageError` where a file of results would replace something. Runs that are `live`
    cannot be resumed."""
    for there in (path, journal_of(path)):
        if is_stream(there) or not holds_records(there):
            continue
        if not guarded(there, partial(is_result, there)):
            raise UsageError(
                f"{option} {there} is there, and no run has written it; --overwrite replaces it"
            )
        journal = journal_of(path)
        goes_on = can_go_on(journal) and not live
        others = f", --resume {journal} goes on with them" if goes_on else ""
        raise UsageError(
            f"{option} {there} holds records of an earlier run: --overwrite replaces them{others}"
        )


def _probe(path: Path) -> None:
    """Create and remove a file."""
    path.touch()
    path.unlink()
