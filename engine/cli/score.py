"""Scoring: what ``python -m engine.run --dataset NAME`` does.

Comes in: `Options`. Goes out: the exit code; records go to the outputs that the options ask for.
"""

from __future__ import annotations

import logging
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

from engine.base.errors import Interrupted, SampleError, printable
from engine.base.events import event
from engine.base.options import Options
from engine.base.published import other_classes
from engine.base.records import PersonFigures
from engine.base.signals import interruptible
from engine.base.version import __version__
from engine.outputs.formats import journal_of, result_of
from engine.outputs.journal import can_go_on
from engine.outputs.output import raise_first
from engine.outputs.run_info import DatasetRun, ModelFacts
from engine.outputs.table import outputs_of_dataset
from engine.outputs.totals import SampleTotals
from engine.pipeline import Pipeline

log = logging.getLogger("engine")


def score(options: Options) -> int:
    """Score a data set. Returns the exit code: 130 where it was interrupted, 3 where a sample could
    not be scored. Raises `EngineError` for what ends the run; what has been computed is written all
    the same."""
    opened = time.monotonic()
    with interruptible() as interruption, outputs_of_dataset(options) as outputs:
        with Pipeline(options) as pipeline:
            interruption.pipeline = pipeline
            _announce(pipeline)
            run = _described(pipeline, opened, time.monotonic())
            if run.differs is not None:
                log.warning(
                    "%s: there will be no accuracy. If they are the same classes under other "
                    "names, --classes FILE gives the model the data set's",
                    run.differs,
                )
            pipeline.watchers.append(outputs.tick)
            errors = outputs.follow(run, pipeline)
        outputs.say_written(options.log_json)
        raise_first(errors)
    if pipeline.interrupted:
        print(f"engine.run: interrupted{_left_by(options)}", file=sys.stderr)
        return Interrupted.exit_code
    return SampleError.exit_code if run.totals.failed else 0


def _left_by(options: Options) -> str:
    """What there is of a run that was interrupted, in words."""
    if (name := options.resume or options.output) is None:
        return ""
    journal = journal_of(result_of(Path(name)))
    return f"; --resume {journal} goes on" if can_go_on(journal) else ""


def _described(pipeline: Pipeline, opened: float, begun: float) -> DatasetRun:
    """A run as outputs know it; `opened` and `begun` on the monotonic clock."""
    options, setup, model = pipeline.options, pipeline.setup, pipeline.model
    keep_logits = options.logits is not None
    differs = other_classes(pipeline.dataset.name, model.classes)
    return DatasetRun(
        options=options,
        model=ModelFacts(
            model.path, model.sha256, model.layout, model.classes, setup.recipe, model.published
        ),
        backend=setup.backend_name,
        backend_reason=setup.backend_reason,
        facts=pipeline.facts,
        state=pipeline,
        totals=SampleTotals(
            begun, pipeline.resumed, keep_logits=keep_logits, comparable=differs is None
        ),
        dataset=pipeline.dataset,
        identity=pipeline.identity,
        resumes=pipeline.resumes,
        workers=pipeline.workers,
        executors=len(setup.executors),
        wire=setup.wire,
        startup_s=begun - opened,
        persons=pipeline.persons,
        differs=differs,
    )


def _announce(pipeline: Pipeline) -> None:
    """Say what runs on what."""
    data, facts, setup, model = pipeline.dataset, pipeline.facts, pipeline.setup, pipeline.model
    log.debug(
        "running",
        extra=event(
            "running",
            version=__version__,
            samples=len(data.samples),
            resumed=len(pipeline.resumed),
            workers=pipeline.workers,
            facts=asdict(facts),
            options=asdict(pipeline.options),
        ),
    )
    print(f"dataset   {printable(data.source)}, split {data.split}: {len(data.samples)} samples")
    if pipeline.persons is not None:
        print(f"persons   {_persons(pipeline.persons)}")
    if data.lacks:
        print(f"split     {data.lacks}")
    print(f"model     {printable(model.path)}: {len(model.classes)} classes, layout {model.layout}")
    print(f"recipe    {setup.recipe.in_words}")
    print(
        f"backend   {setup.backend_name} ({setup.backend_reason}): {facts.runtime} on "
        f"{facts.device}, {facts.precision}, {facts.threads} threads"
    )
    if setup.precision_said is not None:
        print(f"precision {setup.precision_said}")
    if setup.clips_said is not None:
        print(f"clips     {setup.clips_said}")
    print(f"running   {_where(pipeline)}", flush=True)
    if pipeline.address is not None:
        keys = " --key NAME.key_secret --engine-key engine.key" if pipeline.options.keys else ""
        address = pipeline.address.replace("//0.0.0.0:", f"//{platform.node()}:")
        print(f"listening python -m engine.join {address}{keys}", flush=True)


def _persons(figures: PersonFigures) -> str:
    """What the videos came to whose persons are the samples."""
    line = (
        f"{figures.persons} in {figures.videos} videos; rows are persons in {figures.as_rows}, "
        f"detections in {figures.tracked}: tracked"
    )
    if figures.brief:
        line += f"; {figures.brief} seen in fewer than {figures.least} frames left out"
    if figures.empty:
        line += f"; nobody in {figures.empty} videos (first: {printable(figures.first_empty)[:80]})"
    return line


def _where(pipeline: Pipeline) -> str:
    """In which processes it runs."""
    if pipeline.options.cluster is not None:
        return f"on a cluster ({pipeline.options.cluster}): {pipeline.waits()}"
    if not pipeline.workers:
        return "in this process"
    workers, executors = pipeline.workers, len(pipeline.setup.executors)
    return (
        f"{workers} worker{'s' if workers > 1 else ''}, "
        f"{executors} executor{'s' if executors > 1 else ''}"
    )
