"""Keys: the command that makes those of `engine.base.curve`.

``python -m engine.keys FOLDER NAME…`` makes a pair for the engine, once, and one for every
named worker. The engine's side reads the folder; a worker gets ``NAME.key_secret`` and
``engine.key`` out of it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from engine.base.command_parser import CommandParser
from engine.base.console import expendable
from engine.base.curve import ENGINE, make
from engine.base.errors import EngineError


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = CommandParser(
        prog="python -m engine.keys",
        description="Make CURVE keys for --listen, and for workers that join from elsewhere.",
    )
    parser.add_argument("folder", type=Path, help="of the engine: what --keys names")
    parser.add_argument("names", nargs="+", metavar="NAME", help="a worker that may join")
    given = parser.parse_args(arguments)
    try:
        with expendable("stdout"):
            _make(given.folder, given.names)
    except EngineError as error:
        print(f"engine.keys: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _make(folder: Path, names: Sequence[str]) -> None:
    print("\n".join(f"made {path}" for path in make(folder, names)))
    print(
        f"The engine: --listen tcp://ADDRESS:PORT --keys {folder}\n"
        f"A worker, given its .key_secret and {ENGINE}.key:\n"
        "  python -m engine.join tcp://ADDRESS:PORT --key NAME.key_secret "
        f"--engine-key {ENGINE}.key",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
