"""The engine end to end against its peers: ``python -m benchmarks.end_to_end``.

The engine as a user runs it, preprocessing included, against pure inference of the unmodified
network, the NPU recipe's three steps, torch with a DataLoader, and the machine's ceiling
(`benchmarks.peers`): the same samples and weights, interleaved in one run. Prints medians and
ratios; writes them, and a plot.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from benchmarks import operations, peers, workloads
from benchmarks.measurement import Rates, interleave, publish, ratio, table
from benchmarks.memory import PeakMemory
from engine import demo, wire
from engine.models import CLIPS, SHARED

# layout and wire; the first is what a run does by default
CONFIGURATIONS = [(SHARED, "frames"), (SHARED, "keypoints"), (CLIPS, "frames"), (CLIPS, "clips")]
PURE, RECIPE, TORCH = "pure inference", "recipe, .bin files", "torch, DataLoader"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__)
    parser.add_argument("--workload", nargs="+", default=[workloads.HMDB51_LIKE, demo.NAME],
                        help="hmdb51_like, demo, or annotation files")  # fmt: skip
    parser.add_argument("--model", default=demo.NAME)
    parser.add_argument("--precision", nargs="+", default=["f32", "bf16"])
    parser.add_argument("--samples", type=int, help="evenly spaced ones of each (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--ablations", action="store_true",
                        help="all layouts and wires, not the default alone")  # fmt: skip
    parser.add_argument("--peers", action="store_true",
                        help="the recipe and torch, too (minutes a round)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="6 samples, 1 round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the medians")
    args = parser.parse_args()
    if args.quick:
        args.samples, args.rounds = 6, 1
    rates: dict[str, Rates] = {}
    facts: dict[str, Any] = {"memory": {}, "operations": {}}
    ceilings = {precision: peers.ceiling(precision) for precision in args.precision}
    with tempfile.TemporaryDirectory() as folder:
        for workload in args.workload:
            name, path = workloads.write(workload, args.samples, Path(folder))
            contestants, memory = _contestants(args, path, Path(folder))
            rates[name] = interleave(contestants, args.rounds)
            facts["memory"][name] = memory
            facts["operations"][name] = _operations(path)
            print(table(rates[name], f"samples/s, {name}"), flush=True)
            for engine, peak in memory.items():
                print(f"peak memory, {name}, {engine}: {peak / 1e9:.2f} GB")
    ratios = _ratios(args.precision, rates, facts["operations"], ceilings)
    for key, value in ratios.items():
        print(f"{key} {value:.3f}")
    for precision, (best, by) in ceilings.items():
        print(f"ceiling, {precision}: {best / 1e9:.0f} GFLOP/s ({by})")
    publish(args.json, {
        "ratios": ratios, "rates": rates, "ceiling": ceilings, **facts,
        "recipe_bytes_per_sample": wire.MAX_CLIPS, "samples": args.samples,
        "seeds": {workloads.HMDB51_LIKE: workloads.SEED},
    })  # fmt: skip
    if args.plot:
        _plot(args.plot, rates)


def _contestants(
    args: argparse.Namespace, path: Path, folder: Path
) -> tuple[dict[str, Callable[[], float]], dict[str, int]]:
    """Everything that is compared on one workload, and where peaks of memory will be."""
    contestants: dict[str, Callable[[], float]] = {}
    memory: dict[str, int] = {}
    for precision in args.precision:
        for layout, sent in CONFIGURATIONS if args.ablations else CONFIGURATIONS[:1]:
            name = _engine_name(precision, layout, sent)
            options = {"dataset": str(path), "model": args.model, "precision": precision,
                       "layout": layout, "wire": sent}  # fmt: skip
            contestants[name] = _engine(options, memory, name)
        contestants[f"{PURE}, {precision}"] = peers.pure(args.model, precision)
    if args.peers:
        contestants[f"{RECIPE}, f32"] = peers.recipe(path, args.model, folder)
        if loader := peers.torch_loader(path):
            contestants[f"{TORCH}, f32"] = loader
        else:
            print("torch is not installed (pip install '.[bench]'): its row is left out")
    return contestants, memory


def _engine_name(precision: str, layout: str, wire: str) -> str:
    return f"engine, {precision}, {layout}, {wire}"


def _engine(options: dict[str, str], memory: dict[str, int], name: str) -> Callable[[], float]:
    """The command itself, in processes of its own; its fps."""

    def measure() -> float:
        with tempfile.TemporaryDirectory() as folder:
            summary = Path(folder) / "summary.json"
            flags = [f"--{key}={value}" for key, value in options.items()]
            command = [sys.executable, "-m", "engine.run", *flags, f"--summary={summary}"]
            with (
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run,
                PeakMemory(run.pid) as watched,
            ):
                _, errors = run.communicate()
            if run.returncode:
                raise SystemExit(f"{' '.join(command)} failed:\n{errors.decode()}")
            memory[name] = max(memory.get(name, 0), watched.peak)
            return float(orjson.loads(summary.read_bytes())["fps"])

    return measure


def _operations(path: Path) -> dict[str, float]:
    """Mean operations a sample: of the reference, and with everything shared."""
    lengths = [a["total_frames"] for a in pickle.loads(path.read_bytes())]
    return {"whole": operations.whole(),
            "shared": statistics.mean(map(operations.shared, lengths))}  # fmt: skip


def _ratios(
    precisions: list[str], rates: dict[str, Rates], counts: dict[str, dict[str, float]],
    ceilings: dict[str, tuple[float, str]],
) -> dict[str, float]:  # fmt: skip
    """Of the engine with default flags, medians of the paired ratios."""
    ratios: dict[str, float] = {}
    for name, found in rates.items():
        for precision in precisions:
            ours = _engine_name(precision, *CONFIGURATIONS[0])
            for key, peer in (("pure", f"{PURE}, {precision}"), ("recipe", f"{RECIPE}, f32"),
                              ("torch", f"{TORCH}, f32")):  # fmt: skip
                if peer in found:
                    ratios[f"end_to_end_over_{key}/{name}/{precision}"] = ratio(found, ours, peer)
            achieved = statistics.median(found[ours]) * counts[name]["shared"]
            ratios[f"of_ceiling/{name}/{precision}"] = achieved / ceilings[precision][0]
    return ratios


def _plot(path: Path, rates: dict[str, Rates]) -> None:
    """A bar a contestant: the median rate, with least and greatest."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1 + 0.32 * sum(map(len, rates.values()))), layout="constrained")
    axes = figure.subplots(len(rates), 1, squeeze=False)[:, 0]
    for axis, (name, found) in zip(axes, rates.items(), strict=True):
        medians = [statistics.median(values) for values in found.values()]
        low = [m - min(v) for m, v in zip(medians, found.values(), strict=True)]
        high = [max(v) - m for m, v in zip(medians, found.values(), strict=True)]
        colours = ["#2a78d6" if n.startswith("engine") else "#8a8984" for n in found]
        bars = axis.barh(list(found), medians, xerr=[low, high], color=colours, height=0.7)
        axis.bar_label(bars, fmt="%.2f", padding=6)
        axis.invert_yaxis()
        axis.set_title(f"{name}: samples/s, preprocessing included (but for pure inference)",
                       loc="left", fontsize=10)  # fmt: skip
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.12)
    figure.savefig(path)


if __name__ == "__main__":
    main()
