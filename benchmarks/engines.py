"""A thousand engines that fail, simulated: ``python -m benchmarks.engines``.

What `benchmarks.simulation` does for the lease table of one driver, for ``--cluster``: the engine's
own `Shards` in virtual time (`benchmarks.fleet`), with what `benchmarks.capacity` and
`benchmarks.driver` measured as seconds of work. Every run checks what is promised: one record a
sample, poison convicted, nobody else but by the rule, nothing lost, no sample with two engines;
exits with an error otherwise. Prints rates by engines, what failures leave of them under this rule
and under that of the lease table, and runs in which everything happens at once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson

from benchmarks import scaling
from benchmarks.fleet import REST_S, Conditions, Fleet
from benchmarks.measurement import publish
from benchmarks.scaling import Driver, Sample
from benchmarks.simulation import HOURS, SAMPLES, batch_of, works

_SIZES = (1, 4, 8, 16, 20, 24, 32), (1000, 2000, 3000, 4000)  # engines, by the devices below
_AN_ENGINE = 100  # seconds of work, so that a run's ends do not count for much
_MOST = 2_000_000  # samples
_PATIENCE_S = 660.0, 30.0  # with the silent: by default, and less


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    for name, what in (("costs", "capacity"), ("driver", "driver"), ("leases", "simulation")):
        parser.add_argument(
            f"--{name}",
            type=Path,
            required=True,
            metavar="FILE",
            help=f"results of benchmarks.{what}",
        )
    parser.add_argument("--fast", required=True, metavar="NAME", help="a device of those there")
    parser.add_argument("--slow", required=True, metavar="NAME", help="the one that fails")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    args = parser.parse_args()
    costs, leases = (orjson.loads(path.read_bytes()) for path in (args.costs, args.leases))
    driver = Driver(**orjson.loads(args.driver.read_bytes())["costs"])
    sample = Sample(**leases["sample"])
    results: dict[str, Any] = {"driver": asdict(driver), "seed": leases["seed"], "sizes": []}
    for name, sizes in zip((args.fast, args.slow), _SIZES, strict=True):
        rate = costs["devices"][name]
        for engines in sizes:
            count = int(max(SAMPLES[0], min(_MOST, _AN_ENGINE * rate * engines)))
            about = Conditions(
                engines,
                count,
                works(rate, sample),
                driver,
                seed=leases["seed"],
                max_batch=batch_of(rate),
            )
            bounds = {"device": engines * rate, "driver": driver.bound(about.ahead(rate))}
            binding = min(bounds, key=lambda part: bounds[part])
            results["sizes"].append(
                {
                    "device": name,
                    "predicted": bounds[binding],
                    "binding": binding,
                    **_simulated(f"{engines} of {name}", about),
                }
            )
    rate = costs["devices"][args.slow]
    kinds = works(rate, sample)
    about = Conditions(
        leases["nodes"],
        leases["samples"],
        kinds,
        driver,
        seed=leases["seed"],
        max_batch=batch_of(rate),
    )
    mean_s = statistics.fmean(kind.device_s for kind in kinds)
    results |= {"failing": args.slow, "failures": _failing(about, mean_s, leases["failures"])}
    results["all_at_once"] = [
        _simulated(
            f"all at once, {patience_s:g} s of patience",
            replace(
                about,
                samples=about.samples // 4,
                mtbf_s=1800.0,
                hangs=0.2,
                poison=10,
                patience_s=patience_s,
            ),
        )
        for patience_s in _PATIENCE_S
    ]
    print(_report(results))
    publish(args.json, results)
    if args.plot is not None:
        from benchmarks import figures

        figures.engines(results, args.plot)


def _simulated(what: str, conditions: Conditions) -> dict[str, Any]:
    start = time.process_time()
    found = Fleet(conditions).run()
    print(
        f"{what}: {found.seconds:.0f} s simulated in {time.process_time() - start:.0f} s of CPU "
        "time",
        file=sys.stderr,
        flush=True,
    )
    about = {
        key: value for key, value in vars(conditions).items() if key not in ("works", "driver")
    }
    return {**about, **asdict(found), "rate": conditions.samples / found.seconds}


def _failing(
    about: Conditions, mean_s: float, leases: list[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Engines that die and come back, beside nodes that do in a run with one lease table."""
    found: list[dict[str, Any]] = []
    for hours, other in zip(HOURS, leases, strict=True):
        one = _simulated(f"{hours} h between failures", replace(about, mtbf_s=3600 * hours))
        away_s = about.restart_s + REST_S
        found.append(
            {
                **one,
                "efficiency": one["rate"] / (found[0]["rate"] if found else one["rate"]),
                "model": scaling.left_of_engines(3600 * hours, away_s, mean_s),
                "leases": other["efficiency"],
            }
        )
    return found


def _report(results: Mapping[str, Any]) -> str:
    lines = [
        "| engines | device | samples/s, model | simulated | what binds | records a report |",
        "|---|---|---|---|---|---|",
    ]
    for one in results["sizes"]:
        lines.append(
            f"| {one['engines']} | {one['device']} | {one['predicted']:.0f} | {one['rate']:.0f} "
            f"| {one['binding']} | {one['scored'] / one['reports']:.1f} |"
        )
    first = results["failures"][0]
    lines += [
        "",
        f"{first['engines']} of {results['failing']}, {first['samples']:,} samples",
        "",
        "| hours between failures | deaths | samples run again, apart | minutes | samples/s "
        "| of the undisturbed rate | model | with one lease table |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in results["failures"]:
        lines.append(
            f"| {one['mtbf_s'] / 3600:g} | {one['deaths'].get('node', 0)} | {one['suspects']} "
            f"| {one['seconds'] / 60:.1f} | {one['rate']:.0f} | {one['efficiency']:.3f} "
            f"| {one['model']:.3f} | {one['leases']:.3f} |"
        )
    lines += ["", "Everything at once:"]
    for one in results["all_at_once"]:
        lines.append(
            f"{one['patience_s']:g} s of patience: {one['samples']} samples in "
            f"{one['seconds']:.0f} s, {one['scored']} scored, {len(one['convicted'])} convicted "
            f"({one['poison']} poison, {len(one['innocent'])} innocent); deaths {one['deaths']}; "
            f"{one['late']} late reports, {one['stale']} records dropped"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
