"""What streaming costs: ``python -m benchmarks.overlap``.

The streaming pipeline end to end (preprocessing included), against the same executor fed
with frames rendered beforehand, and against ``--in-process``. Interleaved; prints medians
and ratios. Start-up is not counted for any of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import workloads
from benchmarks.measurement import common_arguments, interleave, publish, ratio, table
from engine import backends, machine
from engine.clips import decode
from engine.models import open_model
from engine.options import Options
from engine.pipeline import Pipeline
from engine.runners import infer, open_runner
from engine.sources.dataset import open_dataset

STREAMING, RENDERED, IN_PROCESS = "streaming", "pre-rendered frames", "in process"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlap", description=__doc__)
    common_arguments(parser)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--wire", default="frames", choices=["frames", "clips"])
    parser.add_argument("--layout", default="auto", choices=["auto", "clips", "shared"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _, path = workloads.write(args.dataset, args.samples, Path(folder))
        _compare(args, path)


def _compare(args: argparse.Namespace, path: Path) -> None:
    options = Options(
        dataset=str(path), model=args.model, precision=args.precision,
        workers=args.workers, wire=args.wire, layout=args.layout,
    )  # fmt: skip
    alone = replace(options, workers=None, wire="frames", in_process=True)
    contestants = {
        STREAMING: lambda: _pipeline(options),
        RENDERED: _pre_rendered(options),
        IN_PROCESS: lambda: _pipeline(alone),
    }
    rates = interleave(contestants, args.rounds)
    ratios = {
        "streaming_over_pre_rendered": ratio(rates, STREAMING, RENDERED),
        "streaming_over_in_process": ratio(rates, STREAMING, IN_PROCESS),
    }
    print(table(rates, f"samples/s, {args.samples} samples, {args.precision}, wire {args.wire}"))
    for name, value in ratios.items():
        print(f"{name} {value:.3f} (median of {args.rounds} paired ratios)")
    publish(args.json, {"rates": rates, "ratios": ratios, "samples": args.samples})


def _pipeline(options: Options) -> float:
    """End-to-end samples/s, as a run reports it."""
    with Pipeline(options) as pipeline:
        start = time.monotonic()
        count = sum(1 for _ in pipeline)
        return count / (time.monotonic() - start)


def _pre_rendered(options: Options) -> Callable[[], float]:
    """Frames in memory straight into the executor: the rate of the device and its host side."""
    model = open_model(str(options.model)).with_layout(options.layout, whole_clips=False)
    samples = open_dataset(options.dataset).samples
    clips = [decode(s.poses(len(model.classes))) for s in samples]

    def measure() -> float:
        name, _ = backends.choose(options.backend)
        backend = backends.load(
            name, model, device=None, precision=options.precision, threads=machine.cores()
        )
        runner = open_runner(backend, model)
        start = time.monotonic()
        for _ in infer(runner, clips):
            pass
        rate = len(clips) / (time.monotonic() - start)
        backend.close()
        return rate

    return measure


if __name__ == "__main__":
    main()
