"""CPU time a sample, of two checkouts and of pure inference: ``python -m benchmarks.cpu_time``.

    python -m benchmarks.cpu_time BEFORE AFTER --model int8.onnx --precision int8 --dataset X.pkl

Each checkout runs the same ready clips in layout ``shared``, in a process that stays, in turn with
whole clips through the unmodified network (`benchmarks.peers.pure`). What counts is the CPU time
that all threads of a process used: where others use the same cores, elapsed time says more of them.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import peers, workloads
from benchmarks.measurement import common_arguments, publish
from engine.backends import registry
from engine.base import host
from engine.base.choices import AUTO
from engine.network.models import open_model
from engine.network.recogniser import infer
from engine.network.runners.opening import open_runner
from engine.skeletons.clips import decode
from engine.skeletons.poses import PoseSequence

PURE = "pure inference"


def runner(layout: str, model: str, precision: str, path: str) -> tuple[Callable[[], object], int]:
    """What runs all samples of a file, and how many that is; of pure inference its own."""
    if layout == PURE:
        return peers.pure(model, precision), peers._PURE_SAMPLES
    opened = replace(open_model(model), layout=layout)
    poses = map(PoseSequence.from_annotation, pickle.loads(Path(path).read_bytes()))
    clips = [decode(one, opened.recipe) for one in poses]
    name, _ = registry.choose(AUTO)
    backend = registry.load(name, opened, device=None, precision=precision, threads=host.cores())
    ready = open_runner(backend, opened, opened.recipe)
    return lambda: list(infer(ready, clips)), len(clips)


def serve(*told: str) -> None:
    """Run once for each line that comes; say the milliseconds of CPU time a sample."""
    run, samples = runner(*told)
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        run()
        print(1000 * (time.process_time() - start) / samples, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu_time", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    common_arguments(parser)
    parser.add_argument("--layout", default="shared", help="of both (default: %(default)s)")
    args = parser.parse_args()
    found: dict[str, list[float]] = {"before": [], "after": [], PURE: []}
    with tempfile.TemporaryDirectory() as folder:
        _, path = workloads.write(args.dataset, args.samples, Path(folder))
        model = str(Path(args.model).resolve()) if Path(args.model).exists() else args.model
        running = {
            name: subprocess.Popen(
                [sys.executable, __file__, "serve", layout, model, args.precision, str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
            )
            for name, checkout, layout in (
                ("before", args.before, args.layout),
                ("after", args.after, args.layout),
                (PURE, args.after, PURE),
            )
        }
        for process in running.values():
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit(f"{process.args} failed")
        for _ in range(args.rounds):
            for name, process in running.items():
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                found[name].append(float(process.stdout.readline()))
        for process in running.values():
            process.communicate()
    over = {
        name: statistics.median(b / a for a, b in zip(found[name], found[PURE], strict=True))
        for name in ("before", "after")
    }
    for name, times in found.items():
        print(f"{name}: {statistics.median(times):.0f} ms of CPU time a sample")
    for name, ratio in over.items():
        print(f"{PURE} / {name} {ratio:.3f}")
    about = {"dataset": Path(args.dataset).stem, "samples": args.samples, "layout": args.layout}
    about["precision"] = args.precision
    publish(args.json, {"cpu_ms": found, "over_pure": over, **about})


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main()
