"""Streams in Python: a `Stream` yields labels of live sources as they come.

Comes in: `Options` and sources. Goes out: `Label`::

    if __name__ == "__main__":
        for label in engine.stream("zmq+pull://127.0.0.1:5555", model="posec3d.onnx"):
            print(label.stream, label.who, label.name, label.score)
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from engine.base.choices import FASTEST, Who
from engine.base.constants import JOINTS
from engine.base.errors import SourceError, UsageError
from engine.base.events import event
from engine.base.options import Options
from engine.live.freshness import Freshness
from engine.live.labels import Label, Labels, Smoother
from engine.live.streams import StreamLimits, Streams
from engine.live.supply import LiveSupply
from engine.live.tracking import Tracker
from engine.live.windows import Grid
from engine.runtime.execution import Execution
from engine.runtime.setup import Setup
from engine.sources.formats.poses import Reading
from engine.sources.pose_frames import PoseFrame
from engine.sources.source import Message, Source, heeds, open_source

log = logging.getLogger("engine")


class Stream(Execution[Label]):
    """Sources, a model and a device, ready to run.

    Opening it starts the processes and loads the model; iterating it, once, listens to the
    sources until all are over, or until `interrupt`; leaving the ``with`` block ends everything.
    `setup`: of the same options, where it is at hand.
    """

    _does = "listen"

    def __init__(
        self,
        options: Options,
        sources: Sequence[str | Source | Iterable[Message]],
        setup: Setup | None = None,
    ) -> None:
        if options.in_process:
            raise UsageError(
                "--in-process: windows and live sources need processes of their own; leave it out"
            )
        super().__init__()
        self.options = options
        reading = Reading.of(options.size, options.joints, options.fps, options.coordinates)
        uris = [source for source in sources if isinstance(source, str)]
        if reading.says and uris and not any(map(heeds, uris)):
            raise UsageError(
                f"{reading.says} is said of recorded poses of other programs, and no source is one"
            )
        self.sources = [open_source(source, reading) for source in sources]
        self.setup = setup or Setup.of(options)
        if (joints := self.setup.recipe.joints) != JOINTS:
            raise UsageError(
                f"{self.setup.model.path} takes {joints} joints; live sources have COCO's {JOINTS}"
            )
        smoother = partial(Smoother, options.smooth, options.threshold)
        self._labels = Labels(self.setup.model.classes, smoother)
        limits = StreamLimits(waiting=options.waiting)
        steady = options.crop == "steady" and self.setup.recipe.views == 1
        self.freshness = None
        if any(source.live for source in self.sources):
            self.freshness = Freshness(options.max_age, len(self.setup.executors))
        self.streams = Streams(
            self._grid, lambda: Tracker().track, limits, steady=steady, freshness=self.freshness
        )
        self.supply = LiveSupply(
            self.sources, self.streams, self._labels.expect, options.fps, options.coordinates
        )
        self._supervisor = self.setup.supervisor(
            self.supply, self._aggregator, lambda: self.interruptions
        )
        self._start(self._supervisor)
        self.watchers.append(self._look)

    def close(self, *, at_once: bool = False) -> None:
        """End every process and every source."""
        if self._ours:
            self.supply.close()
        super().close(at_once=at_once)

    def _items(self) -> Iterator[Label]:
        self.supply.start()
        for record in self._records():
            self.supply.answered(record.index)
            yield from self._labels.complete(record, time.monotonic())

    def _look(self, now: float) -> None:
        """Say once that the device cannot keep up, and once that it can again."""
        if self.freshness is None:
            return
        was = self.freshness.behind
        news = self.freshness.news(self.options.stride, _help(self.options), now)
        if news is not None:
            log.warning("%s", news, extra=event("keeping up" if was else "behind"))

    @property
    def behind(self) -> str | None:
        """That the device cannot keep up with live sources, and what would help; None while it
        can."""
        return None if self.freshness is None else self.freshness.behind

    @property
    def leases(self) -> int:
        """Windows on their way."""
        return self._supervisor.leases

    @property
    def ready(self) -> int:
        """Children that are ready."""
        return self._supervisor.ready

    def settled(self, stream: str, who: Who, t: float) -> bool:
        """Whether every window of somebody that has no label yet begins after `t`."""
        return not self._labels.waits(stream, who) and self.streams.is_past(stream, t)

    def _grid(self, first: PoseFrame) -> Grid:
        options = self.options
        rate = first.rate or options.fps
        return Grid.of(
            options.window,
            options.stride,
            rate,
            options.whom,
            options.sampling,
            self.setup.recipe,
        )


def _help(options: Options) -> str:
    """What would let a device keep up."""
    faster = [] if options.precision == FASTEST else ["--precision fastest"]
    return ", ".join([*faster, "a longer --stride", "fewer streams"])


def stream(source: str | Source | Iterable[Message], **options: Any) -> Iterator[Label]:
    """Listen to a source and yield its labels as they come.

    `source`: a URI, a `Source`, or anything that yields messages. `options` are fields of
    `Options`. Raises `EngineError` for what ends the run, `SourceError` where an error ended the
    source, or every message of a recorded one was refused.
    """
    with Stream(Options(source=("python",), **options), [source]) as opened:
        yield from opened
        for name, figures in opened.supply.figures.items():
            if figures.error is not None:
                raise SourceError(f"{name} ended: {figures.error}")
            if not opened.sources[0].live and figures.refused and figures.nothing is not None:
                raise SourceError(f"{name}: {figures.nothing}")
