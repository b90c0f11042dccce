"""The command line: ``python -m engine.run`` and ``posec3d``.

Imports on use: worker processes import the module that started them, and need nothing of
what only the parent does.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import EngineError, SampleError, UsageError, printable
from engine.signals import deferred, heeded

if TYPE_CHECKING:
    from engine.pipeline import Pipeline

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run. Returns the exit code: 0 all scored, 1 cannot go on, 2 usage, 3 some samples
    failed, 130 interrupted."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        return _run(arguments)
    except EngineError as error:
        print(f"engine.run: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("engine.run: interrupted at once; what is not written yet is lost", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        # Standard output that nobody reads, or on a full disk: no more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"engine.run: {error}", file=sys.stderr)
        return EngineError.exit_code


def _run(arguments: Sequence[str] | None) -> int:
    with deferred():  # an exception in the middle of loading a library may be lost there
        import orjson

        from engine import report
        from engine.options import parse
        from engine.page import Page
        from engine.pipeline import Pipeline
        from engine.progress import SampleProgress
        from engine.results import ResultWriter, check_outputs, write_atomically

    given = sys.argv[1:] if arguments is None else arguments
    if not given and "ENGINE_DATASET" not in os.environ:
        given = _offer()
    options = parse(given)
    check_outputs(options)
    opened = time.monotonic()
    with _interruptible() as interruption, Pipeline(options) as pipeline:
        interruption.pipeline = pipeline
        _announce(pipeline)
        started = finished = time.monotonic()
        page = Page()
        stopped: EngineError | None = None
        with (
            ResultWriter(options, pipeline.model.classes) as writer,
            SampleProgress("samples", len(pipeline.dataset.samples)) as progress,
        ):
            try:
                for done, record in enumerate(pipeline, 1):
                    writer.write(record)
                    finished = time.monotonic()
                    busy = report.busy_shares(pipeline, finished - started)
                    waits = pipeline.waits()
                    progress.update(done, f"{waits}; {report.spell_shares(busy)}")
                    page.add(record, finished - started)
            except EngineError as error:  # what has been computed is written all the same
                stopped = error
        summary = report.summarise(
            pipeline,
            writer.predictions,
            writer.failures,
            seconds=finished - started,
            startup_s=started - opened,
        )
        print("\n".join(report.lines(summary, writer.failures)), flush=True)
        writer.write_archives()
        if options.summary is not None:
            text = orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
            write_atomically(Path(options.summary), lambda target: target.write(text))
        if options.report is not None:
            records = writer.predictions, writer.failures
            page.write(Path(options.report), pipeline, summary, *records)
    if stopped is not None:
        raise stopped
    if pipeline.interrupted:
        print("engine.run: interrupted; the records so far are written", file=sys.stderr)
        return INTERRUPTED
    return SampleError.exit_code if writer.failures else 0


def _offer() -> Sequence[str]:
    """What to do without arguments: the demo, if somebody is there to say so."""
    demo = ["--dataset", "demo"]
    command = f"python -m engine.run {' '.join(demo)}"
    if sys.stdin.isatty() and sys.stderr.isatty():
        print("The demo recognises 480 generated skeleton sequences with the weights that ship.\n"
              f"Run it ({command}; Ctrl-C sums up early)? [Y/n] ",
              end="", file=sys.stderr, flush=True)  # fmt: skip
        answer = sys.stdin.readline()  # empty where the terminal has been closed
        if answer.strip().lower() in ("", "y", "yes") and answer:
            return demo
        raise UsageError("nothing to do; --help lists what there is")
    raise UsageError(f"nothing to do; try\n  {command}\nor --help")


class _Interruption:
    """What a signal does: before the pipeline is ready, or a second time, it ends
    everything; the first time it ends the iteration."""

    pipeline: Pipeline | None = None

    def __call__(self, number: int, frame: Any) -> None:
        if self.pipeline is None or self.pipeline.interrupted:
            raise KeyboardInterrupt
        self.pipeline.interrupt()


@contextmanager
def _interruptible() -> Iterator[_Interruption]:
    """Handle what interrupts a run."""
    handler = _Interruption()
    before = heeded()
    for number in before:
        signal.signal(number, handler)
    try:
        yield handler
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _announce(pipeline: Pipeline) -> None:
    data, facts = pipeline.dataset, pipeline.facts
    print(f"dataset   {printable(data.source)}, split {data.split}: {len(data.samples)} samples")
    model = pipeline.model
    print(f"model     {printable(model.path)}: {len(model.classes)} classes, layout {model.layout}")
    print(
        f"backend   {pipeline.backend_name} ({pipeline.backend_reason}): {facts.runtime} on "
        f"{facts.device}, {facts.precision}, {facts.threads} threads"
    )
    workers = f"{pipeline.workers} worker{'s' if pipeline.workers > 1 else ''}"
    where = f"{workers}, 1 executor" if pipeline.workers else "in this process"
    print(f"running   {where}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
