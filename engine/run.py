"""The command line: ``python -m engine.run`` and ``posec3d``. Its work is in `engine.cli`.

Imports on use: worker processes import the module that started them, and need nothing of
what only the parent does.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from engine.base import console, memory
from engine.base.errors import EngineError, Interrupted
from engine.base.signals import deferred
from engine.base.threads import require_for_numpy

log = logging.getLogger("engine")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run. Returns the exit code: 0 all scored, 1 cannot go on, 2 usage, 3 some samples
    failed, 4 stalled, 130 interrupted."""
    console.prepare()
    with console.expendable("stderr"):
        said = logging.StreamHandler(sys.stderr)
        said.setLevel(logging.INFO)  # of the handler: --log-json wants more of the logger
        logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[said])
        try:
            return _exit_code(arguments)
        finally:
            if sys.stdout is not None:
                with console.falls_silent(sys.stdout):  # or the exit code would be Python's
                    sys.stdout.flush()


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        if (few := memory.scarce()) is not None:
            log.warning("%s", few)
        require_for_numpy()
        with deferred():  # an exception in the middle of loading a library may be lost there
            from engine.cli.dispatch import dispatch
        return dispatch(sys.argv[1:] if arguments is None else arguments)
    except EngineError as error:
        print(f"engine.run: {error}", file=sys.stderr)
        return error.exit_code
    except Interrupted:
        print("engine.run: interrupted while starting; nothing was on its way", file=sys.stderr)
    except KeyboardInterrupt as error:
        said = "interrupted at once; what is not written yet is lost"
        print(f"engine.run: {said}{error}", file=sys.stderr)
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        if memory.ran_out(error):
            print(f"engine.run: {memory.in_words()}", file=sys.stderr)
        elif not isinstance(error, OSError):
            raise
        elif not isinstance(error, BrokenPipeError):
            # of standard output: nobody reads it, or its disk is full
            print(f"engine.run: {error}", file=sys.stderr)
        return EngineError.exit_code
    return Interrupted.exit_code


if __name__ == "__main__":
    sys.exit(main())
