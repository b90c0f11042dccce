"""What every benchmark prints and keeps: rounds, medians, the machine, a JSON file."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from engine import __version__
from engine.base import host

Rates = dict[str, list[float]]


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that all benchmarks have."""
    parser.add_argument(
        "--dataset", required=True, help="annotation file, or a name of benchmarks.workloads"
    )
    parser.add_argument("--model", required=True, help="model or checkpoint")
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16", "int8"])
    parser.add_argument("--samples", type=positive, default=16, help="samples a measurement")
    parser.add_argument("--rounds", type=positive, default=5, help="interleaved rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")


def positive(text: str) -> int:
    """A number of samples or rounds."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return number


def engine_run(flags: Sequence[object], cpus: Iterable[int] | None = None) -> dict[str, Any]:
    """The summary of ``engine.run`` with these flags, in processes of its own as a user has it,
    which may use these processors (default: ours)."""
    bound = None if cpus is None else partial(os.sched_setaffinity, 0, cpus)
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        command = [sys.executable, "-m", "engine.run", *map(str, flags), f"--summary={summary}"]
        run = subprocess.run(command, capture_output=True, check=False, preexec_fn=bound)
        if run.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{run.stderr.decode()}")
        found: dict[str, Any] = orjson.loads(summary.read_bytes())
        return found


def interleave(
    contestants: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: bool = True
) -> Rates:
    """Rates of each contestant, run in turn (A B C A B C …), so that a drift of the machine's
    speed meets all alike; with `warm_up` after one round that is not counted."""
    rates: Rates = {name: [] for name in contestants}
    for turn in range(0 if warm_up else 1, rounds + 1):
        for name, measure in contestants.items():
            rate = measure()
            label = "warm-up" if turn == 0 else f"round {turn}/{rounds}"
            print(f"{label}: {name} {rate:.3f}/s", file=sys.stderr, flush=True)
            if turn:
                rates[name].append(rate)
    return rates


def ratio(rates: Rates, above: str, below: str) -> float:
    """Median of the ratios within each round."""
    return statistics.median(a / b for a, b in zip(rates[above], rates[below], strict=True))


def table(rates: Rates, unit: str) -> str:
    """A row a contestant: median, least and greatest rate."""
    width = max(map(len, rates))
    rows = [f"{'':{width}}  median     min     max  {unit}"]
    for name, values in rates.items():
        numbers = statistics.median(values), min(values), max(values)
        rows.append(f"{name:{width}}  " + " ".join(f"{n:7.3f}" for n in numbers))
    return "\n".join(rows)


def publish(path: Path | None, results: Mapping[str, Any]) -> None:
    """Print the machine; write everything to `path` if there is one."""
    machine = host.describe()
    versions = ", ".join(f"{k} {v}" for k, v in host.versions().items())
    print(f"{machine['cpu']}, {machine['cores']} cores; posec3d-engine {__version__}, {versions}")
    if path is not None:
        text = {"machine": machine, "engine": __version__, **results}
        path.write_bytes(orjson.dumps(text, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
