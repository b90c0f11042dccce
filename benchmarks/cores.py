"""Cores: samples/s end to end by the number of cores: ``python -m benchmarks.cores``.

Each run is ``python -m engine.run`` with its default options, in processes of its own that may use
so many cores and no others (`os.sched_setaffinity`): it chooses threads and workers as it would on
such a machine. Caches and the bandwidth of memory stay those of the whole machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.measurement import engine_run, interleave, positive, publish, table
from engine.base.assets import DEMO
from engine.base.choices import AUTO, FASTEST, PRECISIONS

_TOPOLOGY = Path("/sys/devices/system/cpu")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cores", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--dataset", default=DEMO, help="as of engine.run (default: %(default)s)")
    parser.add_argument("--model", default=DEMO, help="as of engine.run (default: %(default)s)")
    parser.add_argument("--precision", default=AUTO, choices=(AUTO, FASTEST, *PRECISIONS))
    parser.add_argument(
        "--cores", type=_numbers, metavar="N,N,…", help="default: 1, 2, 4, … and all there are"
    )
    parser.add_argument(
        "--samples", type=positive, default=12, help="samples a core (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=positive, default=5, help="interleaved rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw them")
    args = parser.parse_args(argv)
    cpus = in_order(os.sched_getaffinity(0))
    counts: list[int] = args.cores or doubled(len(cpus))
    if max(counts) > len(cpus):
        parser.error(f"--cores {max(counts)}: there are {len(cpus)}")
    flags = ["--dataset", args.dataset, "--model", args.model, "--precision", args.precision]

    def rate(cores: int) -> float:
        limit = ["--limit", cores * args.samples]
        return float(engine_run([*flags, *limit], cpus[:cores])["fps"])

    named = {n: f"{n} core{'s' if n > 1 else ''}" for n in counts}
    rates = interleave({named[n]: partial(rate, n) for n in counts}, args.rounds)
    print(table(rates, f"samples/s of {args.dataset}, {args.precision}"))
    by_cores = {n: rates[named[n]] for n in counts}
    medians = {n: statistics.median(found) for n, found in by_cores.items()}
    least = min(counts)
    for n in counts:
        times = medians[n] / medians[least]
        print(f"{named[n]}: {times:.2f} times {named[least]}, {times * least / n:.0%} a core")
    results = {
        "rates": {str(n): found for n, found in by_cores.items()},
        "dataset": args.dataset,
        "model": args.model,
        "precision": args.precision,
        "samples_a_core": args.samples,
    }
    publish(args.json, results)
    if args.plot is not None:
        from benchmarks import figures

        figures.cores(results, args.plot)


def doubled(most: int) -> list[int]:
    """1, 2, 4, … up to `most`, which is the last."""
    return sorted({1 << n for n in range(most.bit_length())} | {most})


def in_order(cpus: Iterable[int], topology: Path = _TOPOLOGY) -> list[int]:
    """Processors in the order in which runs get them: one of each core first, then those that share
    a core with one before."""
    met: dict[str, int] = {}
    rank: dict[int, int] = {}
    for cpu in sorted(cpus):
        try:
            core = (topology / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
        except OSError:  # nothing says that it shares one
            core = str(cpu)
        rank[cpu] = met[core] = met.get(core, -1) + 1
    return sorted(rank, key=lambda cpu: (rank[cpu], cpu))


def _numbers(text: str) -> list[int]:
    return sorted({positive(part) for part in text.split(",")})


if __name__ == "__main__":
    main()
