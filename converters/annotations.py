"""Annotation files to columns: the program behind ``python -m converters.annotations``.

Comes in: a file that `engine.sources.annotations` reads, of any size. Goes out: a folder that
``--dataset`` takes and that the engine reads as it goes (`engine.sources.columns`). A pickle or a
``.jsonl`` is converted an annotation at a time, so that neither has to fit in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from converters import piecemeal
from converters.output import exit_code
from engine.base.command_parser import CommandParser
from engine.base.errors import DatasetError, OutputError, UsageError
from engine.base.files import part_of, real
from engine.base.host import peak_memory
from engine.base.notes import spelt
from engine.base.option_field import parse_bytes
from engine.base.progress import SampleProgress
from engine.sources.annotations import Splits
from engine.sources.contents import Contents
from engine.sources.dataset import missing
from engine.sources.formats.poses import Reading, RecordedAnnotation
from engine.sources.formats.recordings import Recordings, read_recordings

try:
    from converters.columns import ShardWriter, seal
except ImportError as error:
    _MISSING: ImportError | None = error
else:
    _MISSING = None


def main(argv: Sequence[str] | None = None) -> int:
    """Convert, verify, move into place. Returns the exit code."""
    args = _parser().parse_args(argv)
    return exit_code(
        "annotations",
        lambda: _convert(
            args.annotations,
            args.folder,
            args.shard_size,
            Reading.of(args.size, args.joints),
        ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m converters.annotations",
        description="Convert an annotation file to a folder of columns, which the engine reads as "
        "it goes: for data larger than memory.",
    )
    parser.add_argument(
        "annotations",
        type=Path,
        metavar="IN",
        help="annotation file (.pkl, .npz, .json, .jsonl), or a file or folder of poses that "
        "another program wrote",
    )
    parser.add_argument("folder", metavar="OUT", help="folder to write; new or empty")
    parser.add_argument(
        "--shard-size",
        type=parse_bytes,
        default=256 << 20,
        metavar="BYTES",
        help="bytes of a file in it, about (default: 256M)",
    )
    parser.add_argument(
        "--size", metavar="WxH", help="the picture's, for poses that do not say it, as 640x480"
    )
    parser.add_argument(
        "--joints", metavar="LAYOUT", help="how poses number their joints, where they do not say it"
    )
    return parser


def _convert(source: Path, out: str, shard_bytes: int, reading: Reading) -> None:
    if _MISSING is not None:
        raise UsageError(f"{_MISSING}; pip install '.[arrow]'")
    if shard_bytes < 1:
        raise UsageError(f"--shard-size {shard_bytes}: at least one byte")
    if not source.exists():
        raise DatasetError(f"{source}: no such file")
    if "://" in out:
        raise UsageError(f"{out}: write a folder on this machine, and copy it there")
    folder, started = Path(out), time.monotonic()
    recordings = read_recordings(source, reading)
    if recordings is None and source.is_dir():
        raise DatasetError(f"{source}: a folder without poses of a known form (docs/data.md)")
    if recordings is None:
        reading.leave_out(source)
    with _whole(folder) as part:
        if recordings is None:
            writer, splits = _read(source, part, shard_bytes)
        else:
            writer, splits = _recorded(recordings, part, shard_bytes), None
        if not writer.count:
            raise DatasetError(f"{source} holds no annotations")
        with SampleProgress("verifying", writer.count) as progress:
            absent = seal(part, writer, splits, progress.update)
    size = sum(path.stat().st_size for path in folder.iterdir())
    failed = f", {writer.failed} of them cannot be scored" if writer.failed else ""
    print(f"wrote {folder}, every annotation compared with what was read")
    print(f"annotations  {writer.count}{failed}")
    for line in spelt(writer.notes.to_json(writer.count), "annotation"):
        print(f"noted        {line}")
    if absent:
        print(f"splits       {missing(absent)}")
    print(f"shards       {len(writer.shards)}")
    of = f", of {source.stat().st_size / 1e6:.1f} MB" if source.is_file() else ""
    print(f"bytes        {size / 1e6:.1f} MB{of}")
    print(f"seconds      {time.monotonic() - started:.1f}")
    print(f"peak memory  {peak_memory() / 1e6:.0f} MB")


def _read(source: Path, part: Path, shard_bytes: int) -> tuple[ShardWriter, Splits | None]:
    """The shards of all annotations, and the splits."""
    contents = Contents(source)

    def take(annotation: Any) -> None:
        writer.take(contents.listed(annotation))

    writer = ShardWriter(part, shard_bytes)
    try:
        splits = piecemeal.read(source, take)
    except piecemeal.Irregular as error:
        print(
            f"annotations: {source}: {error}; reading it as a whole, which takes the memory that "
            "the engine needs for it",
            file=sys.stderr,
        )
        writer.finish()
        for path in part.iterdir():
            path.unlink()
        writer = ShardWriter(part, shard_bytes)
        splits = piecemeal.read_whole(source, take)
    writer.finish()
    return writer, splits


def _recorded(recordings: Recordings, part: Path, shard_bytes: int) -> ShardWriter:
    """The shards of what another program wrote."""
    writer = ShardWriter(part, shard_bytes)
    with SampleProgress("reading", len(recordings.poses)) as progress:
        for done, poses in enumerate(recordings.poses, 1):
            writer.take(RecordedAnnotation(poses))
            progress.update(done)
    writer.finish()
    return writer


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write into, which takes its name when the block ends and is
    removed when an error ends it. Raises `UsageError` where something is there already, and
    `OutputError` where it cannot be written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already; name a new or an empty folder")
    part = part_of(folder)
    try:
        part.mkdir(parents=True)
        yield part
        os.replace(part, real(folder))
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}; nothing was written") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
