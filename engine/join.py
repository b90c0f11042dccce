"""Join: a decode worker on another machine, for an engine that listens.

``python -m engine.join tcp://HOST:PORT`` serves one run and ends with it. Start as many as
there are cores to spare. It is the same worker as the engine's own children; what differs is
the line to the supervisor, which goes over TCP and may break.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.base.command_parser import CommandParser
from engine.base.console import expendable
from engine.base.curve import ClientKeys
from engine.base.errors import EngineError
from engine.base.threads import require
from engine.runtime.transport.remote_link import EngineGone, RemoteLink
from engine.runtime.worker import Worker


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = CommandParser(
        prog="python -m engine.join",
        description="Decode for an engine that runs with --listen, until its run is over.",
    )
    parser.add_argument("address", metavar="tcp://HOST:PORT", help="as the engine prints it")
    parser.add_argument("--key", type=Path, help="our NAME.key_secret (python -m engine.keys)")
    parser.add_argument("--engine-key", type=Path, help="engine.key, with --key")
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="S", help="for the engine (default: 30)"
    )
    given = parser.parse_args(arguments)
    if (given.key is None) != (given.engine_key is None):
        parser.error("--key and --engine-key belong together")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    link = None
    try:
        keys = ClientKeys.of(given.key, given.engine_key) if given.key is not None else None
        require()
        link = RemoteLink(given.address, keys)
        with expendable("stdout"):
            Worker(link, link.join(given.wait)).run()
    except EngineError as error:
        print(f"engine.join: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        if link is not None:
            with contextlib.suppress(EngineGone):
                link.leave()
        return 130
    finally:
        if link is not None:
            link.close()


if __name__ == "__main__":
    sys.exit(main())
