"""Start-up of two checkouts: ``python -m benchmarks.startup BEFORE AFTER``.

The time from the start of the process to the first record, of one sample, less what the network
itself took for it: of ``python -m engine.run --limit 1``, of the same with ``--in-process``, and to
the first answer of `engine.classify`. Both checkouts in turn (A B, B A, A B, …), each time in new
processes, with the model in the cache. Prints medians, the medians of the paired ratios with 95 %
intervals (bootstrap), and the processors' seconds, which a busy machine changes less.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from benchmarks import workloads
from benchmarks.checkouts import RESAMPLES, SEED
from benchmarks.measurement import common_arguments, publish

_LOOK_EVERY_S: Final = 0.002
_CLASSIFY: Final = """
import pickle, sys, time
import engine
[one] = pickle.load(open(sys.argv[1], "rb"))
about = one["keypoint"], one["keypoint_score"], one["img_shape"]
options = {"model": sys.argv[2], "precision": sys.argv[3]}
engine.classify(*about, **options)
first = time.monotonic()
engine.classify(*about, **options)
print(first, time.monotonic() - first)
"""


@dataclass(frozen=True)
class Start:
    """Seconds from the start of a process to its first record. `network`: how many of these are the
    network's own. `cpu`: of all processors, to the end of the process and its children."""

    first: float
    network: float
    cpu: float

    @property
    def beyond(self) -> float:
        return self.first - self.network


def of_run(checkout: Path, data: Path, model: str, precision: str, *flags: str) -> Start:
    """Of ``python -m engine.run``. Raises `SystemExit` where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "records.jsonl"
        command = [sys.executable, "-m", "engine.run", "--dataset", data, "--limit=1", *flags]
        command += ["--model", model, "--precision", precision, "--output", lines]
        start, before = time.monotonic(), _children()
        run = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.DEVNULL,
            env=_environment(checkout),
            cwd=folder,  # which counts before PYTHONPATH
        )
        first = 0.0
        while run.poll() is None:
            if not first and lines.is_file() and lines.stat().st_size:
                first = time.monotonic() - start
            time.sleep(_LOOK_EVERY_S)
        if run.returncode or not first:
            raise SystemExit(f"{' '.join(map(str, command))} failed")
        ms = orjson.loads(lines.read_bytes())["ms"]
        return Start(first, ms["infer"] / 1e3, _children() - before)


def of_classify(checkout: Path, data: Path, model: str, precision: str) -> Start:
    """Of `engine.classify`, whose second call tells what the network takes."""
    start, before = time.monotonic(), _children()
    command = [sys.executable, "-c", _CLASSIFY, str(data), model, precision]
    environment = _environment(checkout)
    said = subprocess.run(command, capture_output=True, check=True, env=environment, cwd="/")
    first, second = map(float, said.stdout.split())
    return Start(first - start, second, _children() - before)


def _children() -> float:
    """Seconds of processors that children have taken, those of them that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _environment(checkout: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(checkout)}  # before whatever is installed


def interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """The median of the paired ratios after / before, and its interval: (median, low, high)."""
    ratios = np.asarray(after) / np.asarray(before)
    rng = np.random.default_rng(SEED)
    medians = np.median(rng.choice(ratios, (RESAMPLES, len(ratios))), axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(np.median(ratios)), float(low), float(high)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    common_arguments(parser)
    parser.set_defaults(rounds=12, dataset="demo", model="demo")
    for action in parser._actions:
        action.required = action.required and not action.option_strings
    args = parser.parse_args()
    both = {"before": args.before.resolve(), "after": args.after.resolve()}
    model = str(Path(args.model).resolve()) if Path(args.model).exists() else args.model
    kinds: dict[str, Callable[[Path, Path], Start]] = {
        "processes": lambda checkout, data: of_run(checkout, data, model, args.precision),
        "in process": lambda checkout, data: of_run(
            checkout, data, model, args.precision, "--in-process"
        ),
        "classify": lambda checkout, data: of_classify(checkout, data, model, args.precision),
    }
    found: dict[str, dict[str, list[Start]]] = {kind: {name: [] for name in both} for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        _, data = workloads.write(args.dataset, 1, Path(folder))
        for turn in range(args.rounds + 1):
            for kind, measure in kinds.items():
                for name in list(both) if turn % 2 else list(reversed(both)):
                    start = measure(both[name], data)
                    label = f"pair {turn}/{args.rounds}" if turn else "warm-up"
                    said = f"{start.first:.2f} s, {start.beyond:.2f} beyond the network"
                    print(f"{label}: {kind}, {name} {said}", file=sys.stderr, flush=True)
                    if turn:
                        found[kind][name].append(start)
    results: dict[str, object] = {}
    for kind, starts in found.items():
        for figure in ("first", "beyond", "cpu"):
            values = {name: [getattr(one, figure) for one in starts[name]] for name in both}
            old, new = (float(np.median(values[name])) for name in both)
            middle, low, high = interval(values["before"], values["after"])
            print(
                f"{kind:10} {figure:7} {old:6.2f} -> {new:6.2f} s; after / before {middle:.3f}, "
                f"95 % interval {low:.3f} to {high:.3f}"
            )
            results[f"{kind}, {figure}"] = {
                "before": old,
                "after": new,
                "ratio": [middle, low, high],
            }
    kept = {k: {n: [asdict(s) for s in of] for n, of in f.items()} for k, f in found.items()}
    publish(args.json, {"medians": results, "runs": kept, "pairs": args.rounds, "seed": SEED})


if __name__ == "__main__":
    main()
