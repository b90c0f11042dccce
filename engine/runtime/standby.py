"""Standby: the executor of a run, started before it is known what it will run.

Its imports take as long as its parent's, and as long as it takes to open a model; so they go on at
the same time. Imported before anything that is heavy.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from engine.base import host
from engine.base.options import Options
from engine.runtime import processes


def executor_standing_by(options: Options) -> AbstractContextManager[None]:
    """Meanwhile an executor stands by, where there will be just one: `engine.runtime.pool` starts
    it with what it is to do. Else, and where an error ends the run before that, nothing is left."""
    several = options.device is not None and "," in options.device
    if options.in_process or options.cluster is not None or several:
        return nullcontext()
    threads = options.threads or host.cores()
    return processes.standing_by("executor-0", threads, "engine.runtime.executor")
