"""What a cluster costs on one machine: ``python -m benchmarks.local_cluster``.

The demo's samples with ``--cluster local`` against the same run without, interleaved. Prints
medians and the ratio, end to end, preprocessing included.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.measurement import engine_run, interleave, publish, ratio, table
from engine.base.assets import DEMO
from engine.base.choices import PRECISIONS

PLAIN, CLUSTER = "one machine", "--cluster local"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.local_cluster", description=__doc__)
    parser.add_argument("--dataset", default=DEMO, help="as --dataset of engine.run")
    parser.add_argument("--model", default=DEMO, help="as --model of engine.run")
    parser.add_argument("--precision", default="bf16", choices=PRECISIONS)
    parser.add_argument("--samples", type=int, default=96, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args()
    starts: dict[str, float] = {}
    contestants = {
        PLAIN: _engine(args, [], starts, PLAIN),
        CLUSTER: _engine(args, ["--cluster", "local"], starts, CLUSTER),
    }
    rates = interleave(contestants, args.rounds, warm_up=False)
    print(table(rates, f"samples/s, {args.samples} samples, {args.precision}"))
    slower = 1 - ratio(rates, CLUSTER, PLAIN)
    print(
        f"the cluster costs {100 * slower:.1f} % of the rate; start-up "
        f"{starts[PLAIN]:.1f} s and {starts[CLUSTER]:.1f} s"
    )
    publish(
        args.json,
        {
            "rates": rates,
            "slower": slower,
            "startup_s": starts,
            "samples": args.samples,
            "precision": args.precision,
        },
    )


def _engine(
    args: argparse.Namespace, more: list[str], starts: dict[str, float], name: str
) -> Callable[[], float]:
    """The rate of a run, as a user has it."""

    flags = [
        "--dataset",
        args.dataset,
        "--model",
        args.model,
        "--precision",
        args.precision,
        "--limit",
        args.samples,
        *more,
    ]

    def measure() -> float:
        found = engine_run(flags)
        starts[name] = float(found["startup_s"])
        return float(found["fps"])

    return measure


if __name__ == "__main__":
    main()
