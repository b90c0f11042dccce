"""A child process that starts one of its own, which outlives it and has all that it has open."""

from __future__ import annotations

import os
import time
from pathlib import Path


def main(address: str, name: str) -> None:
    """Write the pid of that process into the file `address`."""
    if not (pid := os.fork()):
        time.sleep(20)
        os._exit(0)
    Path(address).write_text(str(pid))
    time.sleep(60)
