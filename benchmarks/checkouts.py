"""Two checkouts against each other: ``python -m benchmarks.checkouts BEFORE AFTER``.

The same data through ``python -m engine.run`` of both, in turn (A B, B A, A B, …), each time in
new processes. Prints the paired ratios of the end-to-end rate and of start-up with 95 % intervals
(bootstrap of the mean of their logarithms), and whether the scores of both are equal, by SHA-256.
A checkout's own ``.venv`` is used where it has one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from benchmarks import workloads
from benchmarks.measurement import common_arguments, publish

RESAMPLES, SEED = 10_000, 0
FIGURES = ("rate", "startup", "wall")


@dataclass(frozen=True)
class Run:
    """A run's samples/s, seconds of start-up, of the whole command, and a digest of its scores."""

    rate: float
    startup: float
    wall: float
    digest: str


def measure(checkout: Path, flags: Sequence[object]) -> Run:
    """Run the engine of a checkout in processes of its own. Raises `SystemExit` where it fails."""
    own = checkout / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        summary, scores = Path(folder) / "summary.json", Path(folder) / "scores.npz"
        command = [python, "-m", "engine.run", *map(str, flags)]
        command += [f"--summary={summary}", f"--scores={scores}"]
        # PYTHONPATH counts before whatever is installed
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        start = time.monotonic()
        run = subprocess.run(command, capture_output=True, env=environment, cwd=folder, check=False)
        wall = time.monotonic() - start
        if run.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{run.stderr.decode()}")
        found = orjson.loads(summary.read_bytes())
        with np.load(scores) as archive:
            order = np.argsort(archive["id"])
            digest = hashlib.sha256(archive["scores"][order].tobytes()).hexdigest()
        return Run(found["fps"], found["startup_s"], wall, digest)


def interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """The ratio after / before of paired figures: (geometric mean, low, high)."""
    logs = np.log(np.asarray(after) / np.asarray(before))
    rng = np.random.default_rng(SEED)
    means = rng.choice(logs, (RESAMPLES, len(logs))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(np.exp(logs.mean())), float(np.exp(low)), float(np.exp(high))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkouts", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    common_arguments(parser)
    parser.set_defaults(rounds=12)
    args = parser.parse_args()
    both = {"before": args.before.resolve(), "after": args.after.resolve()}
    runs: dict[str, list[Run]] = {name: [] for name in both}
    with tempfile.TemporaryDirectory() as folder:
        _, path = workloads.write(args.dataset, args.samples, Path(folder))
        model = Path(args.model).resolve() if Path(args.model).exists() else args.model
        flags = ["--dataset", path, "--model", model, "--precision", args.precision]
        for turn in range(args.rounds + 1):
            names = list(both) if turn % 2 else list(reversed(both))
            for name in names:
                run = measure(both[name], flags)
                label = f"pair {turn}/{args.rounds}" if turn else "warm-up"
                said = f"{label}: {name} {run.rate:.3f}/s, start-up {run.startup:.2f} s"
                print(said, file=sys.stderr, flush=True)
                if turn:
                    runs[name].append(run)
    ratios = {
        figure: interval(*([getattr(run, figure) for run in runs[name]] for name in both))
        for figure in FIGURES
    }
    for figure, (mean, low, high) in ratios.items():
        print(f"{figure:8} after / before {mean:.4f}, 95 % interval {low:.4f} to {high:.4f}")
    digests = {run.digest for name in both for run in runs[name]}
    print(f"scores: {'equal' if len(digests) == 1 else 'DIFFERENT'}, {', '.join(digests)}")
    about = {"samples": args.samples, "pairs": args.rounds, "precision": args.precision}
    kept = {name: [vars(run) for run in found] for name, found in runs.items()}
    publish(args.json, {"ratios": ratios, "runs": kept, **about, "seed": SEED})


if __name__ == "__main__":
    main()
