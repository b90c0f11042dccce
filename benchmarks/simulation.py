"""A thousand nodes that fail, simulated: ``python -m benchmarks.simulation --costs FILE``.

The engine's own state machines in virtual time (`benchmarks.cluster`), with what
`benchmarks.capacity` measured (FILE) as seconds of work, beside what the formulas of
`benchmarks.scaling` say. Every run checks what is promised: one record a sample, poison convicted,
nobody else but by the rule, nothing lost, never over the budget; exits with an error otherwise.
Prints rates by nodes, what failures leave of them, and runs in which everything happens at once.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from benchmarks import operations, scaling, workloads
from benchmarks.cluster import Cluster, Conditions, Outcome, Work
from benchmarks.measurement import publish
from benchmarks.scaling import Failures, Sample
from engine.base.choices import KEYPOINTS
from engine.base.recipe import HMDB51_RECIPE
from engine.runtime.transport.clip_messages import clips_nbytes
from engine.skeletons.sampling import clip_plan

_WIRE = "keypoints between nodes"
_BUDGET = 16 << 30
_LARGE = 100.0  # samples/s of a device that takes large batches
_BATCHES = 4, 16  # of a device that does not, and that does
_SIZES = {4: (1, 10, 100, 1000, 2000), 16: (1, 2, 4, 8)}  # nodes
A_NODE = 200  # samples, so that a run's ends do not count for much
SAMPLES = 20_000, 200_000  # at least and at most
HOURS = (math.inf, 168, 24, 6, 1, 0.25)  # between failures of a node


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument(
        "--costs", type=Path, required=True, metavar="FILE", help="results of benchmarks.capacity"
    )
    parser.add_argument(
        "--devices",
        nargs="+",
        metavar="NAME",
        help="of those there, the first of which is on the nodes that fail (default: all)",
    )
    parser.add_argument("--nodes", type=int, default=1000, help="that fail")
    parser.add_argument("--samples", type=int, default=1_000_000, help="that they score")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    args = parser.parse_args()
    costs = orjson.loads(args.costs.read_bytes())
    sample = Sample(**costs["samples_cost"][_WIRE])
    devices = {name: costs["devices"][name] for name in args.devices or costs["devices"]}
    results: dict[str, Any] = {
        "costs": str(args.costs),
        "seed": args.seed,
        "sample": asdict(sample),
        "nodes": args.nodes,
        "samples": args.samples,
        "budget": _BUDGET,
        "sizes": [
            _size(name, rate, sample, nodes, args.seed)
            for name, rate in devices.items()
            for nodes in _SIZES[batch_of(rate)]
        ],
    }
    rate = next(iter(devices.values()))
    results["failures"] = [_failing(rate, sample, hours, args) for hours in HOURS]
    undisturbed = results["failures"][0]["rate"]
    for one in results["failures"]:
        one["efficiency"] = one["rate"] / undisturbed
    results["all_at_once"] = [
        _rough(rate, sample, args, stall_timeout) for stall_timeout in (300.0, 10.0)
    ]
    print(_report(results, next(iter(devices))))
    publish(args.json, results)
    if args.plot is not None:
        from benchmarks import figures

        figures.simulation(results, args.plot)


def works(rate: float, sample: Sample) -> list[Work]:
    """The videos of ``hmdb51_like`` on a device of that rate: it takes as long as there are
    operations, a worker as there are distinct frames; in flight are as many bytes as the engine
    counts."""
    frames = workloads.lengths()
    uniques = [len(clip_plan(n, HMDB51_RECIPE).unique) for n in frames]
    counts = [operations.shared(n) for n in frames]
    mean, distinct = statistics.fmean(counts), statistics.fmean(uniques)
    return [
        Work(
            sample.worker_s * unique / distinct,
            count / mean / rate,
            2 * int(sample.lease_bytes + clips_nbytes(KEYPOINTS, unique, 1, HMDB51_RECIPE)),
        )
        for unique, count in zip(uniques, counts, strict=True)
    ]


def batch_of(rate: float) -> int:
    """``--max-batch`` on a device of that rate."""
    return _BATCHES[rate > _LARGE]


def _simulated(what: str, conditions: Conditions) -> tuple[Outcome, dict[str, Any]]:
    start = time.process_time()
    found = Cluster(conditions).run()
    print(
        f"{what}: {found.seconds:.0f} s simulated in {time.process_time() - start:.0f} s of CPU "
        "time",
        file=sys.stderr,
        flush=True,
    )
    about = {key: value for key, value in asdict(conditions).items() if key != "works"}
    return found, {**about, **asdict(found), "rate": conditions.samples / found.seconds}


def _size(name: str, rate: float, sample: Sample, nodes: int, seed: int) -> dict[str, Any]:
    """Nodes that do not fail, and what the model says of them."""
    least, most = SAMPLES
    count = max(least, min(most, A_NODE * nodes))
    conditions = Conditions(
        nodes,
        count,
        works(rate, sample),
        driver_s=sample.driver_s,
        max_batch=batch_of(rate),
        budget=_BUDGET,
        seed=seed,
    )
    _, found = _simulated(f"{nodes} of {name}", conditions)
    bounds = scaling.bounds(sample, devices=nodes, device_rate=rate, cores=nodes)
    binding = min(bounds, key=lambda part: bounds[part])
    return {**found, "device": name, "predicted": bounds[binding], "binding": binding}


def _failing(rate: float, sample: Sample, hours: float, args: argparse.Namespace) -> dict[str, Any]:
    """Nodes that die and come back, without anything else."""
    kinds = works(rate, sample)
    conditions = Conditions(
        args.nodes,
        args.samples,
        kinds,
        driver_s=sample.driver_s,
        max_batch=batch_of(rate),
        budget=_BUDGET,
        mtbf_s=3600 * hours,
        alone=0.0,
        hangs=0.0,
        seed=args.seed,
    )
    _, found = _simulated(f"{hours} h between failures", conditions)
    seconds = [kind.device_s for kind in kinds]
    model = Failures(
        args.nodes,
        conditions.mtbf_s,
        conditions.restart_s,
        sample.driver_s,
        statistics.fmean(seconds),
        statistics.stdev(seconds) / statistics.fmean(seconds),
        conditions.max_batch,
    )
    return {**found, "least": model.efficiency(drains=True), "most": model.efficiency(drains=False)}


def _rough(
    rate: float, sample: Sample, args: argparse.Namespace, stall_timeout: float
) -> dict[str, Any]:
    """Deaths, hangs, poison and late messages at once."""
    conditions = Conditions(
        args.nodes,
        args.samples // 4,
        works(rate, sample),
        driver_s=sample.driver_s,
        max_batch=batch_of(rate),
        budget=_BUDGET,
        mtbf_s=1800.0,
        hangs=0.2,
        poison=10,
        lease_timeout=min(60.0, stall_timeout),
        stall_timeout=stall_timeout,
        seed=args.seed,
    )
    return _simulated(f"all at once, --stall-timeout {stall_timeout:g}", conditions)[1]


def _report(results: Mapping[str, Any], device: str) -> str:
    lines = [
        "| nodes | device | samples/s, model | simulated | what binds |",
        "|---|---|---|---|---|",
    ]
    for one in results["sizes"]:
        lines.append(
            f"| {one['nodes']} | {one['device']} | {one['predicted']:.1f} | "
            f"{one['rate']:.1f} | {one['binding']} |"
        )
    lines += [
        "",
        f"{results['nodes']} of {device}, {results['samples']:,} samples",
        "",
        "| hours between failures | deaths | run singly | minutes | samples/s "
        "| of the undisturbed rate | model | device time wasted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in results["failures"]:
        lines.append(
            f"| {one['mtbf_s'] / 3600:g} | {one['deaths'].get('node', 0) // 2} | {one['suspects']} "
            f"| {one['seconds'] / 60:.1f} | {one['rate']:.0f} | {one['efficiency']:.3f} | "
            f"{one['least']:.3f} to {one['most']:.3f} | "
            f"{one['wasted_s'] / (one['useful_s'] + one['wasted_s']):.2%} |"
        )
    lines += ["", "Everything at once:"]
    for one in results["all_at_once"]:
        lines.append(
            f"--stall-timeout {one['stall_timeout']:g}: {one['samples']} samples in "
            f"{one['seconds']:.0f} s, {one['scored']} scored, {len(one['convicted'])} convicted "
            f"({one['poison']} poison, {len(one['innocent'])} innocent); deaths {one['deaths']}; "
            f"{one['stale']} late messages; {one['peak_bytes'] / 1e9:.2f} GB in flight at most"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
