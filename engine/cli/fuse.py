"""Fusing: what ``python -m engine.fuse`` does with its arguments.

Comes in: archives of scores and their weights. Goes out: a table of accuracies, and the files that
are asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.base.command_parser import CommandParser
from engine.base.console import expendable, needed
from engine.base.errors import EngineError, UsageError, printable
from engine.base.files import place_of, write_json
from engine.base.version import __version__
from engine.cli.checks import Taken
from engine.outputs.accuracy import accuracies
from engine.outputs.archive import UNKNOWN, ScoreArchive
from engine.outputs.fusion import Fusion, fuse

_COLUMNS = {"top1_acc": "top-1", "top5_acc": "top-5", "mean_class_accuracy": "mean class"}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    given = _parser().parse_args(arguments)
    written = given.scores is not None or given.summary is not None
    try:
        with expendable("stdout") if written else needed():
            _fuse(given)
    except EngineError as error:
        print(f"engine.fuse: {printable(error)}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m engine.fuse",
        description="Fuse the scores of several networks for the same samples, such as of joints "
        "and limbs: their weighted mean.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "archives",
        nargs="+",
        metavar="FILE.npz",
        help="what a run wrote with --scores; two or more",
    )
    parser.add_argument(
        "--weights",
        type=weights,
        metavar="W,W,…",
        help="a weight for each archive; only their ratios count (default: equal)",
    )
    parser.add_argument(
        "--common",
        action="store_true",
        help="leave out samples that are not in all archives, which are refused otherwise",
    )
    parser.add_argument(
        "--scores", metavar="OUT.npz", help="write the fused scores, as a run writes its own"
    )
    parser.add_argument("--summary", metavar="FILE.json", help="write the figures to FILE")
    return parser


def weights(text: str) -> list[float]:
    """Numbers between commas. Raises `ValueError`."""
    return [float(number) for number in text.split(",")]


def _fuse(given: argparse.Namespace) -> None:
    read = [Path(name) for name in given.archives]
    places = [place_of(path) for path in read]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise UsageError(f"{given.archives[number]}: the same archive twice")
    taken = Taken(("an archive that is read", path) for path in read)
    for option, name in (("--scores", given.scores), ("--summary", given.summary)):
        if name is not None:
            taken.claim(option, name)
    taken.check_printed()
    fusion = fuse(given.archives, given.weights, common=given.common)
    figures = _figures(fusion)
    if given.scores is not None:
        fusion.fused.write(Path(given.scores))
    if given.summary is not None:
        write_json(Path(given.summary), figures)
    print("\n".join(_lines(figures)))


def _figures(fusion: Fusion) -> dict[str, Any]:
    """JSON types only."""
    rows = zip(fusion.names, fusion.weights, fusion.streams, strict=True)
    return {
        "version": __version__,
        "samples": len(fusion.fused.ids),
        "left_out": fusion.left_out,
        "streams": [
            {"path": printable(name), "weight": weight, **_accuracies(stream)}
            for name, weight, stream in rows
        ],
        "fused": _accuracies(fusion.fused),
    }


def _accuracies(archive: ScoreArchive) -> dict[str, Any]:
    """Over the samples whose class is known."""
    known = archive.labels != UNKNOWN
    return accuracies(archive.scores[known], archive.labels[known].tolist())


def _lines(figures: Mapping[str, Any]) -> list[str]:
    """What is printed."""
    fused, count, left_out = figures["fused"], figures["samples"], figures["left_out"]
    said = f"samples\t{count} fused"
    out = [f"{said}, {left_out} left out that not all archives have" if left_out else said]
    if not fused["labelled"]:
        return [*out, "no accuracy: the samples have no labels"]
    if fused["labelled"] < count:
        out.append(f"accuracy is over the {fused['labelled']} samples that have a label")
    named = [(row["path"], f"{row['weight']:g}", row) for row in figures["streams"]]
    width = max(len("fused"), *(len(name) for name, *_ in named))
    out.append(f"{'':{width}}  {'weight':>8}" + "".join(f"{c:>12}" for c in _COLUMNS.values()))
    for name, weight, row in [*named, ("fused", "", fused)]:
        accuracies = "".join(f"{row[column]:>12.4f}" for column in _COLUMNS)
        out.append(f"{name:{width}}  {weight:>8}{accuracies}")
    return out
