"""The command line: ``python -m engine.run`` and ``posec3d``."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from engine import report
from engine.errors import EngineError, SampleError
from engine.options import Options, parse
from engine.pipeline import Pipeline
from engine.progress import SampleProgress
from engine.results import ResultWriter, write_atomically

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run. Returns the exit code: 0 all scored, 1 cannot go on, 2 usage, 3 some samples
    failed, 130 interrupted."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    options = parse(arguments)
    try:
        return _run(options)
    except EngineError as error:
        print(f"engine.run: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("engine.run: interrupted before the first sample", file=sys.stderr)
        return INTERRUPTED


def _run(options: Options) -> int:
    opened = time.monotonic()
    with Pipeline(options) as pipeline:
        _announce(pipeline)
        started = finished = time.monotonic()
        interrupted = False
        with ResultWriter(options, pipeline.model.classes) as writer:
            try:
                with SampleProgress("samples", len(pipeline.dataset.samples)) as progress:
                    for done, record in enumerate(pipeline, 1):
                        writer.write(record)
                        finished = time.monotonic()
                        progress.update(done)
            except KeyboardInterrupt:
                interrupted = True
        summary = report.summarise(
            pipeline,
            writer.predictions,
            writer.failures,
            seconds=finished - started,
            startup_s=started - opened,
        )
    if options.summary is not None:
        text = orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        write_atomically(Path(options.summary), lambda target: target.write(text))
    print("\n".join(report.lines(summary, writer.failures)))
    if interrupted:
        print("engine.run: interrupted; the records so far are written", file=sys.stderr)
        return INTERRUPTED
    return SampleError.exit_code if writer.failures else 0


def _announce(pipeline: Pipeline) -> None:
    data, facts = pipeline.dataset, pipeline.facts
    print(f"dataset   {data.path}, split {data.split}: {len(data.samples)} samples")
    print(f"model     {pipeline.model.path}: {len(pipeline.model.classes)} classes")
    print(
        f"backend   {pipeline.backend_name} ({pipeline.backend_reason}): {facts.runtime} on "
        f"{facts.device}, {facts.precision}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
