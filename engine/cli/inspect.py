"""Inspecting: what ``python -m engine.inspect FILE`` does.

Comes in: a file or folder of poses, of any format that ``--dataset`` takes. Goes out: a table of
what the engine sees in it, and a picture of one frame.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.base.assets import DEMO
from engine.base.choices import AUTO
from engine.base.command_parser import CommandParser
from engine.base.console import expendable, needed
from engine.base.errors import EngineError, UsageError, printable
from engine.cli.checks import Taken
from engine.cli.survey import Survey
from engine.outputs.picture import braille, write_picture
from engine.skeletons.joints import LAYOUTS
from engine.skeletons.poses import PoseSequence
from engine.sources.dataset import ALL, Dataset, find_dataset, select_recordings
from engine.sources.formats.poses import Reading
from engine.sources.formats.recordings import Recordings, read_recordings
from engine.sources.recorded import kpts_of

_NAMES = 5  # videos that are listed
_ROWS = 16  # of the drawing


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code: 0 where a video can be scored, 3 where none can."""
    given = _parser().parse_args(arguments)
    try:
        with needed() if given.picture is None else expendable("stdout"):
            return _inspect(given)
    except EngineError as error:
        print(f"engine.inspect: {printable(error)}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m engine.inspect",
        description="Say what the engine sees in a file or folder of poses, and what looks odd.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="what --dataset takes, a name or a path")
    parser.add_argument("--size", metavar="WxH", help="the picture's, for formats without it")
    parser.add_argument(
        "--joints", metavar="LAYOUT", help=f"how joints are numbered: {', '.join(LAYOUTS)}"
    )
    parser.add_argument("--split", metavar="NAME", help="of annotations (default: all of them)")
    parser.add_argument(
        "--limit",
        type=int,
        default=1000,
        metavar="N",
        help="look at the first N videos only (default: 1000)",
    )
    parser.add_argument(
        "--picture", metavar="OUT", help="draw the frame with the most joints: .svg or .png"
    )
    return parser


def _inspect(given: argparse.Namespace) -> int:
    reading = Reading.of(given.size, given.joints)
    if given.limit < 1:
        raise UsageError(f"--limit {given.limit}: must be at least 1")
    if given.picture is not None:
        if Path(given.picture).suffix.lower() not in (".svg", ".png"):
            raise UsageError(f"--picture {given.picture}: a file .svg or .png is what is written")
        Taken([("FILE", Path(given.file))]).claim("--picture", given.picture)
    recordings = read_recordings(Path(given.file), reading)
    if recordings is None:
        split = given.split or (ALL if given.file != DEMO else None)
        data = find_dataset(given.file, reading=reading)(split, None, None)
    else:
        data = select_recordings(given.file, recordings, AUTO, given.split, None, None)
    facts = [*_of_data(data, given.limit)]
    if recordings is not None:
        facts += _of_recordings(recordings)
    survey = Survey()
    for sample in islice(data.samples, given.limit):
        survey.add(sample)
    console = Console(highlight=False)
    _print([*facts, *survey.found()], console)
    if survey.example is not None:
        name, poses, frame = survey.example
        people, (height, width) = people_of(poses, frame), poses.img_shape
        if console.is_terminal:
            lines = braille(people, (width, height), min(60, console.width), _ROWS)
            console.print(f"\n{printable(name)}, frame {frame}\n" + "\n".join(lines), markup=False)
        if given.picture is not None:
            write_picture(Path(given.picture), people, (width, height))
            print(f"wrote {given.picture}: {printable(name)}, frame {frame}")
    elif given.picture is not None:
        print(f"no picture: nobody is in {given.file}", file=sys.stderr)
    return 3 if survey.samples == sum(survey.causes.values()) else 0


def _print(facts: Sequence[tuple[str, str]], console: Console) -> None:
    """A table; where nobody sees it as it comes, a line each."""
    if not console.is_terminal:
        width = max(len(topic) for topic, _ in facts)
        for topic, what in facts:
            print(f"{topic:<{width}}  {printable(what)}")
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for topic, what in facts:
        style = "yellow" if topic in ("odd", "refused") else "bold"
        table.add_row(Text(topic, style), Text(printable(what)))
    console.print(table)


def _of_data(data: Dataset, limit: int) -> Iterator[tuple[str, str]]:
    """What is known before a skeleton is read."""
    yield "source", data.source
    count = len(data.samples)
    names = ", ".join(sample.id for sample in data.samples[:_NAMES])
    yield "videos", f"{count}: {names}{', …' if count > _NAMES else ''}"
    if data.lacks:
        yield "odd", f"split {data.split}: {data.lacks}"
    if count > limit:
        yield "looked at", f"the first {limit}; --limit says how many"


def _of_recordings(recordings: Recordings) -> Iterator[tuple[str, str]]:
    """What the files of another program say of themselves."""
    known = [layout for one in recordings.poses[:_NAMES] if (layout := one.seen_layout)]
    layouts = dict.fromkeys(f"{layout.name}, {layout.joints} joints" for layout in known)
    yield "joints", "; ".join(layouts) or "unknown"
    shares = any(poses.recording.shares for poses in recordings.poses)
    yield "coordinates", "shares of the picture" if shares else "pixels"
    rates = {poses.recording.rate for poses in recordings.poses} - {None}
    yield "frames/s", ", ".join(f"{rate:g}" for rate in rates if rate) or "not said; --fps"


def people_of(poses: PoseSequence, frame: int) -> NDArray[np.float32]:
    """Those of a frame who are in the picture's sight: [persons, 17, 3]."""
    found = kpts_of(poses)[:, frame]
    return found[found[..., :2].any(axis=(1, 2))]
