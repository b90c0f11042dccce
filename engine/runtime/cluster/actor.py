"""The engine on a node: a Ray actor, with workers and executors of its own beside it.

Comes in: samples with their keypoints, from `engine.runtime.cluster.driver`. Goes out: records. It
is a `Supervisor` that moves while it is asked to, so everything that is promised within a machine
holds within a node: what kills a worker or an executor does not kill it.
"""

from __future__ import annotations

import os
import platform
import secrets
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from engine.base.errors import ModelError, UsageError, printable
from engine.base.options import Options
from engine.base.records import Facts, Figures, Record
from engine.base.version import __version__
from engine.runtime.aggregator import Aggregator
from engine.runtime.cluster.payloads import keep
from engine.runtime.setup import Setup
from engine.runtime.supervisor import Supervisor
from engine.skeletons.samples import Sample

_REPORT_EVERY_S = 0.25


@dataclass(frozen=True)
class Started:
    """An engine that is ready. `token`: of this life of the actor; `ahead`: samples that keep it
    busy while a report is on its way."""

    token: str
    host: str
    pid: int
    facts: Facts
    max_batch: int
    ahead: int


@dataclass(frozen=True)
class Refused:
    """What no engine anywhere could do better, in words."""

    message: str


@dataclass(frozen=True)
class Report:
    """Records, and what they took; `stale`: an earlier life of the actor was meant."""

    records: list[Record]
    figures: Figures
    waits: str
    stale: bool = False


class Engine:
    """`start` before `work`, in each life of the actor."""

    def __init__(self) -> None:
        self._supervisor: Supervisor | None = None
        # Children would import the main module, which is Ray's.
        vars(sys.modules["__main__"]).pop("__file__", None)

    def start(self, version: str, *told: Any) -> Started | Refused:
        """Start the processes, told what `_start` takes: of a driver of another `version` that may
        be anything. Raises `EngineError`."""
        if version != __version__:
            return Refused(
                f"the node {platform.node()} has engine {__version__}, this one is {version}; "
                "install the same on all"
            )
        return self._start(*told)

    def _start(
        self, options: Options, files: Mapping[str, bytes], digest: str, cores: int
    ) -> Started | Refused:
        """Load a model, given as files of these names, and start the processes, for so many cores.
        `digest`: of the model. Raises `EngineError`."""
        if self._supervisor is not None:  # it was given up, and had only been out of reach
            self.close()
        self._token, self._fed = secrets.token_hex(8), _Fed()
        self._left = 0  # samples without a record
        paths = keep(files, digest)
        # What stands beside a model (its .om.json) is no model.
        model = ",".join(str(path) for path in paths if path.suffix != ".json")
        chosen = replace(
            options,
            model=model,
            workers=options.workers or max(1, cores // 4),
            threads=options.threads or cores,
        )
        self._aggregator = Aggregator()
        try:
            setup = Setup.of(chosen)
            if setup.model.sha256 != digest:
                raise ModelError(f"{model} is not the model of this run: it was changed meanwhile")
            self._supervisor = setup.supervisor(self._fed, self._aggregator, lambda: False)
            facts = self._supervisor.start()
        except UsageError as error:
            return Refused(f"on the node {platform.node()}: {printable(error)}")
        self._records = self._supervisor.records()
        batch = self._supervisor.max_batch
        ahead = 3 * batch * len(setup.executors) + setup.workers
        return Started(self._token, platform.node(), os.getpid(), facts, batch, ahead)

    def work(self, token: str, samples: Sequence[Sample]) -> Report:
        """Take samples; go on until there is a record, and something more. Raises `EngineError`
        for what this engine cannot go on with."""
        if self._supervisor is None or token != self._token:
            return Report([], Figures(), "", stale=True)
        self._fed.waiting.extend(samples)
        self._left += len(samples)
        found: list[Record] = []
        until = time.monotonic() + _REPORT_EVERY_S
        while self._left and (not found or time.monotonic() < until):
            found.append(next(self._records))
            self._left -= 1
        figures = copy(self._aggregator.figures)
        vars(self._aggregator.figures).update(vars(Figures()))  # the next report has its own
        return Report(found, figures, self._supervisor.waits())

    def close(self) -> None:
        """End the processes."""
        if self._supervisor is not None:
            self._supervisor.close()


class _Fed:
    """What has been given to the engine and not been taken in."""

    fd: int | None = None
    exhausted = False

    def __init__(self) -> None:
        self.waiting: deque[Sample] = deque()

    def poll(self) -> None:
        pass

    def next(self) -> Sample | None:
        return self.waiting.popleft() if self.waiting else None
