"""The rate of the device alone, as ``ais_bench`` counts it, beside what it leaves out.

    python -m benchmarks.pure_inference --model M --batchsize N --loop 100 [--dataset D]

``ais_bench`` prints 1000 * N / mean(execution time in ms): no decoding, no copies, no scoring.
The same formula is printed here for any backend, then the rate of whole runs (copies included),
and with ``--dataset`` the end-to-end rate of the engine on the same device.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measurement import publish
from engine.backends import registry
from engine.backends.ascend import npus
from engine.backends.ascend.common import device_number
from engine.base import host
from engine.base.choices import AUTO, PRECISIONS
from engine.base.command_parser import CommandParser
from engine.base.errors import EngineError, UsageError
from engine.base.options import Options
from engine.base.progress import SampleProgress
from engine.cli.ais_bench import refuse_in
from engine.network.backend import (
    ClipsBackend,
    PlanBackend,
    TablesBackend,
    TimedBackend,
    split_rows,
)
from engine.network.models import open_model
from engine.network.om import Interface
from engine.pipeline import Pipeline

Runs = ClipsBackend | PlanBackend | TablesBackend


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Returns the exit code."""
    parser = CommandParser(
        prog="python -m benchmarks.pure_inference", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", required=True, help="as --model of engine.run")
    parser.add_argument("--batchsize", type=int, default=1, metavar="N", help="samples a run")
    parser.add_argument("--loop", type=int, default=100, metavar="N", help="runs that are timed")
    parser.add_argument("--backend", default=AUTO)
    parser.add_argument("--device")
    parser.add_argument("--gears", help="as --gears of engine.run")
    parser.add_argument("--precision", default=AUTO, choices=(AUTO, *PRECISIONS))
    parser.add_argument("--dataset", help="measure the engine end to end on this one, too")
    parser.add_argument("--limit", type=int, help="its first samples only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    refuse_in(parser, "--batchsize", "--loop")
    args = parser.parse_args(argv)
    if args.batchsize < 1 or args.loop < 1:
        parser.error("--batchsize and --loop: at least 1")
    try:
        figures = _measure(args)
    except EngineError as error:
        print(f"pure_inference: {error}", file=sys.stderr)
        return error.exit_code
    publish(args.json, figures)
    return 0


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    model = open_model(args.model, args.gears)
    name, _ = registry.choose(args.backend, args.device, compiled=model.compiled)
    if model.compiled:
        for warning in npus.warn_of_others([device_number(args.device)]):
            print(f"warning: {warning}", file=sys.stderr)
    precision = registry.default_precision(model) if args.precision == AUTO else args.precision
    backend = registry.load(
        name, model, device=args.device, precision=precision, threads=host.cores()
    )
    assert isinstance(backend, Runs)
    facts = backend.facts
    print(
        f"device only: {facts.runtime} on {facts.device}, {facts.precision}, layout {model.layout}",
        flush=True,
    )
    figures: dict[str, Any] = {"facts": vars(facts), "batchsize": args.batchsize}
    try:
        plan = _plan(backend, args.batchsize, model.interface)
        for label, sizes in plan.items():
            figures[label] = _rates(backend, sizes, args.batchsize, args.loop, label)
    finally:
        backend.close()
    if args.dataset:
        figures["end_to_end"] = _end_to_end(args)
        print(
            f"end to end, {args.dataset}: {figures['end_to_end']:.3f} samples/s (decoding, "
            "copies and scoring included)"
        )
    return figures


def _plan(backend: Runs, samples: int, interface: Interface) -> dict[str, list[int]]:
    """Runs to time, by label."""
    if not interface.whole:  # a run is a sample, whatever its number of frames
        if samples != 1:
            raise UsageError("a file of layout shared runs one sample at a time: --batchsize 1")
        return {f"{size // interface.unit} distinct frames": [size] for size in backend.sizes}
    rows = interface.rows(samples)
    runs = split_rows(rows, backend.sizes)
    if sum(runs) > rows:
        raise UsageError(
            f"--batchsize {samples}: this file runs "
            f"{', '.join(str(interface.gear(size)) for size in backend.sizes)}"
        )
    return {"clips": runs}


def _rates(backend: Runs, sizes: list[int], samples: int, loop: int, label: str) -> dict[str, Any]:
    """Execution alone and whole runs, in samples/s; the first loop warms up, as with ais_bench."""
    executed, whole = [], []
    with SampleProgress(f"runs of {label}", loop + 1) as progress:
        for turn in range(loop + 1):
            start = time.perf_counter()
            measured = _run(backend, sizes)
            if turn:
                whole.append(1e3 * (time.perf_counter() - start))
                executed.append(whole[-1] if measured is None else 1e3 * measured)
            progress.update(turn + 1)
    throughput = 1e3 * samples / statistics.fmean(executed)
    print(
        f"[INFO] throughput 1000*batchsize.mean({samples})/NPU_compute_time.mean"
        f"({statistics.fmean(executed)}): {throughput}"
    )
    rate = 1e3 * samples / statistics.median(whole)
    print(
        f"{label}: {throughput:.3f} samples/s device only, {rate:.3f} with copies (median)",
        flush=True,
    )
    return {"throughput": throughput, "execution_ms": executed, "run_ms": whole}


def _run(backend: Runs, sizes: list[int]) -> float | None:
    """Run once through, all lanes busy. Returns the runtime's own seconds of execution where it
    tells them: lanes run one after the other then."""
    seconds: list[float | None] = []
    under_way: list[int] = []
    for turn, size in enumerate(sizes):
        lane = turn % backend.lanes
        if len(under_way) == backend.lanes:
            backend.finish(under_way.pop(0))
            seconds.append(_executed_s(backend))
        backend.start(lane, size)
        under_way.append(lane)
    for lane in under_way:
        backend.finish(lane)
        seconds.append(_executed_s(backend))
    known = [s for s in seconds if s is not None]
    return sum(known) if len(known) == len(seconds) else None


def _executed_s(backend: Runs) -> float | None:
    return backend.executed_s if isinstance(backend, TimedBackend) else None


def _end_to_end(args: argparse.Namespace) -> float:
    chosen = {
        name: getattr(args, name)
        for name in ("dataset", "model", "backend", "gears", "device", "precision", "limit")
    }
    options = Options(**chosen)
    with Pipeline(options) as pipeline:
        start, count = time.perf_counter(), 0
        with SampleProgress("end to end", len(pipeline.dataset.samples)) as progress:
            for count, _ in enumerate(pipeline, 1):
                progress.update(count)
        return count / (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
