"""The command line: ``python -m engine.run`` and ``posec3d``.

Imports on use: worker processes import the module that started them, and need nothing of
what only the parent does.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from engine.base.errors import EngineError, Interrupted, SampleError, UsageError, printable
from engine.base.signals import deferred, interruptible
from engine.base.version import __version__

if TYPE_CHECKING:
    from engine.base.options import Options
    from engine.outputs.observed import DatasetRun
    from engine.pipeline import Pipeline

log = logging.getLogger("engine")

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run. Returns the exit code: 0 all scored, 1 cannot go on, 2 usage, 3 some samples
    failed, 4 stalled, 130 interrupted."""
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.INFO)  # of the handler: --log-json wants more of the logger
    logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[console])
    try:
        return _run(arguments)
    except EngineError as error:
        print(f"engine.run: {error}", file=sys.stderr)
        return error.exit_code
    except Interrupted:
        print("engine.run: interrupted while starting; nothing was on its way", file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        print(
            "engine.run: interrupted at once; what is not written yet is lost (--resume goes on "
            "with --output's file)",
            file=sys.stderr,
        )
        return INTERRUPTED
    except OSError as error:
        # Standard output that nobody reads, or on a full disk: no more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"engine.run: {error}", file=sys.stderr)
        return EngineError.exit_code


def _run(arguments: Sequence[str] | None) -> int:
    with deferred():  # an exception in the middle of loading a library may be lost there
        from engine.base.events import event, events_to
        from engine.cli.arguments import parse
        from engine.cli.checks import check_outputs

    given = sys.argv[1:] if arguments is None else arguments
    if not given and "ENGINE_DATASET" not in os.environ:
        given = _offer()
    options = parse(given)
    if options.dump_bin is not None:
        with deferred():
            from engine.cli.dump import dump
        return dump(options, Path(options.dump_bin))
    check_outputs(options)
    if options.source or options.windows:
        with deferred():
            from engine.cli.listen import listen
        with events_to(options.log_json):
            return listen(options)
    name = options.resume or options.output
    with events_to(options.log_json):
        try:
            code = _recognise(options)
        except BaseException as error:
            ends_with = INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
            ends_with = getattr(error, "exit_code", ends_with)
            about = event("gave up", error=type(error).__name__, exit_code=ends_with)
            log.debug("%s", error or "interrupted", extra=about)  # `main` prints it
            if isinstance(error, EngineError) and name is not None and _has_records(Path(name)):
                error.args = (f"{error}\nThe records in {name} are whole; --resume {name} goes on",)
            raise
        log.debug("exit code %d", code, extra=event("ended", exit_code=code))
        return code


def _recognise(options: Options) -> int:
    """The run itself, between its options and its exit code."""
    with deferred():
        from engine.outputs.observer import raise_first
        from engine.outputs.table import outputs_of_dataset
        from engine.pipeline import Pipeline

    opened = time.monotonic()
    with interruptible() as interruption, outputs_of_dataset(options) as outputs:
        with Pipeline(options) as pipeline:
            interruption.pipeline = pipeline
            _announce(pipeline)
            run = _described(pipeline, opened, time.monotonic())
            pipeline.watchers.append(outputs.tick)
            errors = outputs.follow(run, pipeline)
        raise_first(errors)
    if pipeline.interrupted:
        print("engine.run: interrupted; the records so far are written", file=sys.stderr)
        return INTERRUPTED
    return SampleError.exit_code if run.totals.failed else 0


def _described(pipeline: Pipeline, opened: float, begun: float) -> DatasetRun:
    """A run as outputs know it; opened and begun on the monotonic clock."""
    from engine.outputs.observed import DatasetRun, ModelFacts
    from engine.outputs.totals import SampleTotals

    options, setup, model = pipeline.options, pipeline.setup, pipeline.model
    keep_logits = options.logits is not None
    return DatasetRun(
        options=options,
        model=ModelFacts(model.path, model.sha256, model.layout, model.classes),
        backend=setup.backend_name,
        backend_reason=setup.backend_reason,
        facts=pipeline.facts,
        state=pipeline,
        totals=SampleTotals(begun, pipeline.resumed, keep_logits=keep_logits),
        dataset=pipeline.dataset,
        identity=pipeline.identity,
        resumes=pipeline.resumes,
        workers=pipeline.workers,
        executors=len(setup.executors),
        wire=setup.wire,
        startup_s=begun - opened,
    )


def _has_records(path: Path) -> bool:
    """Whether a later run could go on with it."""
    from engine.outputs.journal import holds_records, identity_path

    return holds_records(path) and identity_path(path).is_file()


def _offer() -> Sequence[str]:
    """What to do without arguments: the demo, if somebody is there to say so."""
    demo = ["--dataset", "demo"]
    command = f"python -m engine.run {' '.join(demo)}"
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(
            "The demo recognises 480 generated skeleton sequences with the weights that ship.\n"
            f"Run it ({command}; Ctrl-C sums up early)? [Y/n] ",
            end="",
            file=sys.stderr,
            flush=True,
        )
        answer = sys.stdin.readline()  # empty where the terminal has been closed
        if answer.strip().lower() in ("", "y", "yes") and answer:
            return demo
        raise UsageError("nothing to do; --help lists what there is")
    raise UsageError(f"nothing to do; try\n  {command}\nor --help")


def _announce(pipeline: Pipeline) -> None:
    from engine.backends.registry import devices
    from engine.base.events import event

    data, facts, setup = pipeline.dataset, pipeline.facts, pipeline.setup
    given = asdict(pipeline.options)
    log.debug(
        "running",
        extra=event(
            "running",
            version=__version__,
            samples=len(data.samples),
            resumed=len(pipeline.resumed),
            workers=pipeline.workers,
            facts=asdict(facts),
            options=given,
        ),
    )
    print(f"dataset   {printable(data.source)}, split {data.split}: {len(data.samples)} samples")
    model = pipeline.model
    print(f"model     {printable(model.path)}: {len(model.classes)} classes, layout {model.layout}")
    print(
        f"backend   {setup.backend_name} ({setup.backend_reason}): {facts.runtime} on "
        f"{facts.device}, {facts.precision}, {facts.threads} threads"
    )
    workers = f"{pipeline.workers} worker{'s' if pipeline.workers > 1 else ''}"
    executors = len(devices(pipeline.options.device))
    where = f"{workers}, {executors} executor{'s' if executors > 1 else ''}"
    where = where if pipeline.workers else "in this process"
    if pipeline.options.cluster is not None:
        where = f"on a cluster ({pipeline.options.cluster}): {pipeline.waits()}"
    print(f"running   {where}", flush=True)
    if pipeline.address is not None:
        keys = " --key NAME.key_secret --engine-key engine.key" if pipeline.options.keys else ""
        address = pipeline.address.replace("//0.0.0.0:", f"//{platform.node()}:")
        print(f"listening python -m engine.join {address}{keys}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
