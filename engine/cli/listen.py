"""Listening: what ``python -m engine.run --source URI`` does.

Comes in: `Options`. Goes out: the exit code; labels go to the outputs that the options ask for.
"""

from __future__ import annotations

import time

from engine.base.errors import Interrupted, SampleError, UsageError, printable
from engine.base.options import Options
from engine.base.signals import interruptible
from engine.livestream import Stream
from engine.outputs.output import raise_first
from engine.outputs.run_info import LiveRun, ModelFacts
from engine.outputs.table import outputs_of_live
from engine.outputs.totals import LabelTotals
from engine.runtime.setup import Setup
from engine.sources.dataset import find_dataset
from engine.sources.formats.poses import Reading
from engine.sources.recorded import recorded
from engine.sources.sockets import admitting
from engine.sources.source import Source


def listen(options: Options) -> int:
    """Label sources until they are over. Returns the exit code: 130 where it was interrupted, 3
    where a source ended by an error or gave no frame, a window could not be scored, or a video of a
    data set or a stream of a recorded source could not be read."""
    sources: list[str | Source] = list(options.source)
    setup: Setup | None = None
    if options.windows:
        if sources:
            raise UsageError("--windows cuts the videos of --dataset; a --source is cut anyway")
        reading = Reading.of(options.size, options.joints, options.fps, options.coordinates)
        found = find_dataset(options.dataset, options.ann_file, reading)
        setup = Setup.of(options)
        data = found(options.split, options.limit, setup.model.split)
        if data.lacks:
            print(f"split     {data.lacks}")
        sources = [recorded(data.name, data.samples)]
    with interruptible() as interruption, outputs_of_live(options) as outputs:
        if outputs.origins:
            sources = [admitting(source, outputs.origins) for source in sources]
        with Stream(options, sources, setup) as stream:
            interruption.pipeline = stream
            _announce(stream)
            run = _described(stream)
            stream.watchers.append(outputs.tick)
            errors = outputs.follow(run, stream)
        outputs.say_written(options.log_json)
        raise_first(errors)
    if stream.interrupted:
        return Interrupted.exit_code
    figures = run.source_figures
    ended_badly = any(about.error or about.nothing for about in figures.values())
    unread = any(
        figures[source.name].refused
        if options.windows
        else figures[source.name].unheard and not source.live
        for source in run.sources
    )
    return SampleError.exit_code if ended_badly or unread or run.totals.failed else 0


def _described(stream: Stream) -> LiveRun:
    """A run as outputs know it."""
    setup, model = stream.setup, stream.setup.model
    return LiveRun(
        options=stream.options,
        model=ModelFacts(model.path, model.sha256, model.layout, model.classes, setup.recipe),
        backend=setup.backend_name,
        backend_reason=setup.backend_reason,
        facts=stream.facts,
        state=stream,
        totals=LabelTotals(time.monotonic()),
        sources=stream.sources,
        streams=stream.streams,
        source_figures=stream.supply.figures,
    )


def _announce(stream: Stream) -> None:
    model, facts = stream.setup.model, stream.facts
    for source in stream.sources:
        print(f"source    {printable(source.name)}{' (live)' if source.live else ''}")
    print(f"model     {printable(model.path)}: {len(model.classes)} classes, layout {model.layout}")
    print(f"recipe    {stream.setup.recipe.in_words}")
    if stream.setup.precision_said is not None:
        print(f"precision {stream.setup.precision_said}")
    print(
        f"backend   {stream.setup.backend_name}: {facts.runtime} on {facts.device}, "
        f"{facts.precision}",
        flush=True,
    )
