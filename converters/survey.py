"""A survey of configurations: the program behind ``python -m converters.survey``.

Comes in: checkouts of mmaction2 and pyskl. Goes out: a table in Markdown, a row for each of their
PoseC3D configurations, which says what its config means to this converter, or why it is refused.
Nothing in a checkout is executed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from converters.architectures import read_network
from converters.config import read_config
from converters.network import Architecture
from converters.output import exit_code
from engine.base.command_parser import CommandParser
from engine.base.errors import ModelError, UsageError
from engine.base.recipe import Recipe

FOLDERS: Final = ("configs/skeleton/posec3d", "configs/posec3d", "configs/rgbpose_conv3d")
"""Where the repositories keep them."""

HEADER: Final = (
    *("checkout", "config", "network", "classes"),
    *("drawn", "pixels", "frames", "clips", "flipped", "result"),
)
_FLIPS: Final = {None: "no", "redraw": "redrawn", "mirror": "mirrored"}
_UNKNOWN: Final = ("",) * 7


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns the exit code."""
    args = _parser().parse_args(argv)
    return exit_code("survey", lambda: _survey(args.checkouts), printed=True)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m converters.survey",
        description="Say which PoseC3D configurations of a checkout of mmaction2 or pyskl this "
        "converter takes, and what they mean to it, as a table in Markdown.",
    )
    parser.add_argument(
        "checkouts",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help=f"a checkout, with {', '.join(FOLDERS[:-1])} or {FOLDERS[-1]} in it",
    )
    return parser


def _survey(checkouts: Sequence[Path]) -> None:
    rows = [row for checkout in checkouts for row in survey(checkout)]
    accepted = sum(row[-1] == "accepted" for row in rows)
    for cells in (HEADER, ["---"] * len(HEADER), *rows):
        print(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    print(f"\n{accepted} of {len(rows)} are accepted.")


def survey(checkout: Path) -> Iterator[tuple[str, ...]]:
    """A row for each configuration: cells under `HEADER`. Raises `UsageError` without any."""
    name = checkout.resolve().name
    found = [path for folder in FOLDERS for path in sorted((checkout / folder).rglob("*.py"))]
    configs = [path for path in found if _is_config(path)]
    if not configs:
        raise UsageError(f"{checkout}: no PoseC3D configurations in {', '.join(FOLDERS)}")
    for path in configs:
        title = str(path.relative_to(checkout / "configs").with_suffix(""))
        try:
            yield name, title, *_meaning(*read_network(str(path))), "accepted"
        except ModelError as error:
            reason = str(error).removeprefix(f"config {path}: ")
            yield name, title, *_UNKNOWN, f"refused: {reason}"


def _is_config(path: Path) -> bool:
    """Whether a file describes a network, rather than what is done with the data of one. One that
    cannot be read is refused in its row."""
    try:
        return "model" in read_config(path)
    except ModelError:
        return True


def _meaning(arch: Architecture, recipe: Recipe) -> tuple[str, ...]:
    """What a configuration comes to, in the words of the table."""
    blocks = "-".join(map(str, getattr(arch, "stage_blocks", ())))
    drawn = f"{recipe.joints} joints" if recipe.limbs is None else f"{len(recipe.limbs)} limbs"
    return (
        f"{arch.network} {blocks}".rstrip(),
        str(arch.num_classes),
        f"{drawn}, compressed" if recipe.most else drawn,
        f"{recipe.size}, {recipe.fit}",
        str(recipe.length),
        f"{recipe.views}",
        _FLIPS[recipe.flip],
    )


if __name__ == "__main__":
    sys.exit(main())
