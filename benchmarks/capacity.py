"""What 10^6 videos cost, and what binds: ``python -m benchmarks.capacity``.

Measures what a sample costs on this machine (`benchmarks.costs`), takes the rates of devices from
results of other benchmarks, or as ``--device NAME=RATE``, and puts both into the formulas of
`benchmarks.scaling`. Prints tables: costs by stage, decode cores and links that feed a device, the
rates at which links and the driver bind, and a million videos.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from benchmarks import scaling, workloads
from benchmarks.costs import by_stage, in_a_run
from benchmarks.measurement import publish
from benchmarks.scaling import Sample
from engine.base.choices import WIRES

_LINKS = (1, 10, 25, 100)  # Gbit/s
_VIDEOS = 1_000_000


def main() -> None:
    """Measure, compute and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument(
        "--rates",
        type=Path,
        nargs="*",
        default=[],
        metavar="FILE",
        help="results of benchmarks.end_to_end and benchmarks.gpu",
    )
    parser.add_argument(
        "--device",
        type=_device,
        nargs="*",
        default=[],
        metavar="NAME=RATE",
        help="samples/s of another device",
    )
    parser.add_argument("--samples", type=int, default=200, help="of a measurement of a stage")
    parser.add_argument("--run", type=int, default=1500, help="samples of a run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    args = parser.parse_args()
    stages, sizes = by_stage(args.samples, args.rounds)
    runs = in_a_run(args.run, args.rounds)
    devices = dict(args.device)
    for path in args.rates:
        devices |= rates_of(orjson.loads(path.read_bytes()))
    results = {
        "rounds": args.rounds,
        "samples": args.samples,
        "run": args.run,
        "seed": workloads.SEED,
        "cpu_ms": {name: [1e3 * s for s in found] for name, found in stages.items()},
        "run_cpu_ms": {name: [1e3 * s for s in found] for name, found in runs.items()},
        "bytes": sizes,
        "devices": devices,
    }
    results["samples_cost"] = {name: asdict(one) for name, one in samples_of(results).items()}
    print("\n\n".join(tables(results)))
    publish(args.json, results)
    if args.plot is not None:
        from benchmarks import figures

        figures.capacity(results, args.plot)


def _device(text: str) -> tuple[str, float]:
    name, _, rate = text.rpartition("=")
    return name, float(rate)


def rates_of(results: Mapping[str, Any]) -> dict[str, float]:
    """Median samples/s of the engine's runs over ``hmdb51_like`` in the default layout."""
    rates = results["rates"].get(workloads.HMDB51_LIKE, results["rates"])
    host = results["machine"]
    device = results.get("device", f"{host['cores']} cores of {host['cpu']}")
    found: dict[str, float] = {}
    for name, values in rates.items():
        contestant, *about = name.split(", ")
        if contestant == "engine" and "shared" in about:
            found[f"{device}, {about[0]}"] = statistics.median(values)
    return found


def samples_of(results: Mapping[str, Any]) -> dict[str, Sample]:
    """What a sample costs, by wire, with its worker beside the device or on another node."""
    ms = {name: statistics.median(found) for name, found in results["cpu_ms"].items()}
    run = {name: statistics.median(found) for name, found in results["run_cpu_ms"].items()}
    sizes = results["bytes"]
    # the run had samples of one clip, and wrote no records
    driver = (
        run["driver"]
        + ms["driver: average 20 clips"]
        - ms["driver: average one clip"]
        + ms["driver: write the record"]
    )
    # what of a worker's time is neither decoding nor clips: control messages, waiting
    around = (
        run["worker"]
        - ms["worker: place one clip"]
        - ms["worker: encode keypoints"]
        - ms["both: carry keypoints"] / 2
    )
    made = {
        "keypoints": ms["worker: place 20 clips"],
        "frames": ms["worker: place and draw 20 clips"],
    }
    made["clips"] = made["frames"] + ms["worker: gather clips"]
    found = {}
    for kind in WIRES:
        for where, carried in (("", ""), (" between nodes", " between nodes, encrypted")):
            carry = ms[f"both: carry {kind}{carried}"] / 2
            worker = around + made[kind] + ms[f"worker: encode {kind}"] + carry
            found[kind + where] = Sample(driver / 1e3, worker / 1e3, sizes[kind], sizes["lease"])
    return found


def tables(results: Mapping[str, Any]) -> list[str]:
    """All that follows, as Markdown."""
    samples = {name: Sample(**about) for name, about in results["samples_cost"].items()}
    devices = results["devices"]
    return [
        _stages(results),
        _feeding(devices, samples),
        _links(devices, samples),
        _million(devices, samples),
    ]


def _stages(results: Mapping[str, Any]) -> str:
    rows = [
        (name, f"{statistics.median(found):.3f}", f"{min(found):.3f}", f"{max(found):.3f}")
        for name, found in (
            *results["cpu_ms"].items(),
            *((f"{name}: all of it, in a run", v) for name, v in results["run_cpu_ms"].items()),
        )
    ]
    sizes = ", ".join(f"{name} {size:,.0f}" for name, size in results["bytes"].items())
    return _table(("CPU ms a sample", "median", "min", "max"), rows) + f"\n\nBytes: {sizes}"


def _feeding(devices: Mapping[str, float], samples: Mapping[str, Sample]) -> str:
    rates = list(devices.values())
    rows = [["samples/s", *(f"{rate:.4g}" for rate in rates)]]
    for name, one in samples.items():
        needed = (scaling.cores_for(rate, one) for rate in rates)
        rows.append([f"decode cores, {name}", *(f"{cores:.3g}" for cores in needed)])
    for kind in WIRES:
        needed = (scaling.gigabits_for(rate, samples[kind]) for rate in rates)
        rows.append([f"Gbit/s, {kind}", *(f"{gigabits:.3g}" for gigabits in needed)])
    return _table(("what feeds a device", *devices), rows)


def _links(devices: Mapping[str, float], samples: Mapping[str, Sample]) -> str:
    fastest = max(devices, key=lambda name: devices[name])
    rows = []
    for gigabits in _LINKS:
        rates = [
            scaling.bounds(samples[kind], devices=1, device_rate=1, gigabits=gigabits)["network"]
            for kind in WIRES
        ]
        rows.append((f"{gigabits} Gbit/s", *(f"{rate:,.1f}" for rate in rates)))
    driver = scaling.bounds(samples["keypoints"], devices=1, device_rate=1)["driver"]
    return (
        _table(("a device's link", *(f"samples/s, {kind}" for kind in WIRES)), rows)
        + f"\n\nOne driver: {driver:,.0f} samples/s, as much as {driver / devices[fastest]:.1f} "
        f"times {fastest}"
    )


def _million(devices: Mapping[str, float], samples: Mapping[str, Sample]) -> str:
    driver = 1 / samples["keypoints"].driver_s
    rows = []
    for name, rate in devices.items():
        one = {kind: scaling.job(_VIDEOS, samples[kind], devices=1, rate=rate) for kind in WIRES}
        rows.append(
            (
                name,
                f"{one['frames'].device_hours:.4g}",
                *(f"{one[kind].core_hours:.3g}" for kind in WIRES),
                f"{driver / rate:,.1f}",
                f"{_VIDEOS / driver / 60:.1f}",
            )
        )
    sizes = ", ".join(
        f"{kind} {_VIDEOS * samples[kind].clips_bytes / 1e9:,.0f} GB" for kind in WIRES
    )
    head = (
        "10^6 videos",
        "device-hours",
        *(f"decode core-hours, {kind}" for kind in WIRES),
        "devices that one driver feeds",
        "minutes on so many",
    )
    leases = _VIDEOS * samples["frames"].lease_bytes / 1e9
    return _table(head, rows) + f"\n\nOver the network: {sizes}; poses {leases:,.0f} GB"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
