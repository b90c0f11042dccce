"""The process that inputs are thrown at a door in, within limits on time and memory.

``python -m tests.fuzz.child DOOR SEED FIRST END FOLDER``: the inputs of these numbers. In FOLDER,
``at`` has the number of the input under way, and how many were taken and refused; each line of
standard output is a finding. The kernel ends it where an input takes too long, whatever runs.
"""

from __future__ import annotations

import json
import logging
import mmap
import random
import resource
import signal
import struct
import sys
import traceback
from pathlib import Path
from typing import Any

from engine.base.errors import EngineError
from tests.fuzz.doors import DOORS, Door

SECONDS = 2.0  # of the processor, for an input
HANG = 60.0  # of the clock, where it waits for something; other programs run, too
MEMORY = 512 << 20  # bytes of addresses beyond those of the idle process
AT = struct.Struct("<qqq")
_GROWN = 64 << 20  # bytes; an idle process that has so many more makes room for another


def main(name: str, seed: str, first: str, end: str, folder: str) -> None:
    """Throw the inputs."""
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    door = DOORS[name](Path(folder))
    with (Path(folder) / "at").open("r+b") as file:
        at = mmap.mmap(file.fileno(), AT.size)
    _, taken, refused = AT.unpack(at)
    idle = addresses()
    limit = idle + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    for number in range(int(first), int(end)):
        at[:] = AT.pack(number, taken, refused)
        found = thrown(door, int(seed), number)
        if found is None:
            taken += 1
        elif found["what"] == "refused":
            refused += 1
        else:
            print(json.dumps(found), flush=True)
        if number % 200 == 0 and addresses() > idle + _GROWN:
            at[:] = AT.pack(number + 1, taken, refused)
            sys.exit(3)  # go on in a new one
    at[:] = AT.pack(int(end), taken, refused)


def made(door: Door, seed: int, number: int) -> Any:
    """The input of a number."""
    return door.make(random.Random((seed << 40) + number))


def thrown(door: Door, seed: int, number: int) -> dict[str, Any] | None:
    """None where an input was taken; ``what`` is ``refused``, or says what was found."""
    try:
        one = made(door, seed, number)
    except MemoryError:  # of ours
        return {"what": "refused"}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, HANG)
    try:
        door.enter(one)
        return None
    except EngineError as error:
        if not _no_memory(error):
            return {"what": "refused"}
        return _finding(number, f"memory: {error!s:.200}", error)
    except Exception as error:
        return _finding(number, f"{type(error).__name__}: {error!s:.200}", error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _no_memory(error: BaseException | None) -> bool:
    """Whether memory ran out on the way to an error."""
    while error is not None:
        if isinstance(error, MemoryError) or "MemoryError" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _finding(number: int, what: str, error: Exception) -> dict[str, Any]:
    first: BaseException = error
    while (before := first.__cause__ or first.__context__) is not None:
        first.__suppress_context__ = False  # `raise … from None` is for users
        first = before
    last = traceback.extract_tb(first.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    trace = "".join(traceback.format_exception(error))
    return {"number": number, "what": what, "where": where, "trace": trace[-6000:]}


def addresses() -> int:
    """Bytes of addresses that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main(*sys.argv[1:])
