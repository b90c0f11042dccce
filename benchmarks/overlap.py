"""What streaming costs: ``python -m benchmarks.overlap``.

The streaming pipeline end to end (preprocessing included), against the same executor fed
with clips prepared beforehand, and against ``--in-process``. Interleaved, each time in a new
process; prints medians and ratios. Start-up is not counted for any of them.

Clips are prepared as the device takes them: rendered frames, or keypoints on the canvas where the
device draws. ``--model untrained:NAME`` is a published network with made-up weights.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import multiprocess

from benchmarks import untrained, workloads
from benchmarks.measurement import common_arguments, interleave, publish, ratio, table
from engine.base.choices import WIRES
from engine.base.options import Options
from engine.network.recogniser import infer, prepared
from engine.pipeline import Pipeline
from engine.runtime.setup import Setup
from engine.skeletons.clips import sampled
from engine.sources.dataset import open_dataset

STREAMING, PREPARED, IN_PROCESS = "streaming", "prepared clips", "in process"

Measured = tuple[float, dict[str, Any]]  # samples/s, and what the device says of itself


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlap", description=__doc__)
    common_arguments(parser)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--wire", default="auto", choices=["auto", *WIRES])
    parser.add_argument("--layout", default="auto", choices=["auto", "clips", "shared"])
    parser.add_argument("--backend", default="auto", help="as --backend of engine.run")
    parser.add_argument("--device", help="as --device of engine.run")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _, path = workloads.write(args.dataset, args.samples, Path(folder))
        args.model = untrained.resolve(args.model, Path(folder))
        _compare(args, path)


def _compare(args: argparse.Namespace, path: Path) -> None:
    options = Options(
        dataset=str(path),
        model=args.model,
        precision=args.precision,
        workers=args.workers,
        wire=args.wire,
        layout=args.layout,
        backend=args.backend,
        device=args.device,
    )
    alone = replace(options, workers=None, wire="auto", in_process=True)
    facts: dict[str, Any] = {}

    def contestant(measure: Callable[[Options], Measured], options: Options) -> float:
        rate, found = _in_new_process(measure, options)
        facts.update(found)
        return rate

    contestants = {
        STREAMING: lambda: contestant(_pipeline, options),
        PREPARED: lambda: contestant(_prepared, alone),
        IN_PROCESS: lambda: contestant(_pipeline, alone),
    }
    rates = interleave(contestants, args.rounds, warm_up=False)
    ratios = {
        "streaming_over_prepared": ratio(rates, STREAMING, PREPARED),
        "streaming_over_in_process": ratio(rates, STREAMING, IN_PROCESS),
    }
    print(table(rates, f"samples/s of {args.samples}, {args.precision}, wire {args.wire}"))
    for name, value in ratios.items():
        print(f"{name} {value:.3f} (median of {args.rounds} paired ratios)")
    print(f"{facts['runtime']} on {facts['device']}")
    about = {"facts": facts, "samples": args.samples, "wire": args.wire, "seed": workloads.SEED}
    publish(args.json, {"rates": rates, "ratios": ratios, **about})


def _in_new_process(measure: Callable[[Options], Measured], options: Options) -> Measured:
    """What is cached, compiled or warm after one measurement is of no use to the next."""
    spawn = multiprocess.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_tell, args=(there, measure, options))
    process.start()
    there.close()
    try:
        found: Measured = here.recv()
    except EOFError:
        raise SystemExit("overlap: a measurement failed; what it said is above") from None
    process.join()
    return found


def _tell(there: Any, measure: Callable[[Options], Measured], options: Options) -> None:
    there.send(measure(options))


def _pipeline(options: Options) -> Measured:
    """End-to-end samples/s, as a run reports it."""
    with Pipeline(options) as pipeline:
        start = time.monotonic()
        count = sum(1 for _ in pipeline)
        return count / (time.monotonic() - start), asdict(pipeline.facts)


def _prepared(options: Options) -> Measured:
    """Clips in memory straight into the executor: the rate of the device and its host side."""
    setup = Setup.of(options)
    runner = setup.executors[0].open_runner()
    classes = len(setup.model.classes)
    samples = open_dataset(options.dataset).samples
    clips = [prepared(runner, sampled(sample.poses(classes), setup.recipe)) for sample in samples]
    start = time.monotonic()
    for _ in infer(runner, clips):
        pass
    rate = len(clips) / (time.monotonic() - start)
    facts = asdict(runner.facts)
    runner.close()
    return rate, facts


if __name__ == "__main__":
    main()
