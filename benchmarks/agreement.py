"""How often fewer clips give the answer of all: ``python -m benchmarks.agreement``.

Takes archives that ``--logits`` wrote of runs with all clips. A factor is fitted to some of them
(`engine.network.agreement`), what becomes of others is measured: one archive is cut in two, its
even and its odd samples, and either half is fitted with `--fit` and measured with the other, so
that nothing is ever measured on what it was fitted to.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import publish
from engine.base.recipe import HMDB51_RECIPE
from engine.network.agreement import Agreement, fitted
from engine.network.clip_rules import ClipRule
from engine.network.recogniser import average
from engine.network.runners.progress import Progress

Archive = dict[str, NDArray[Any]]


def main() -> None:
    """Fit, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=__doc__)
    parser.add_argument(
        "--halves", type=Path, required=True, metavar="LOGITS.npz", help="cut in two"
    )
    parser.add_argument("--fit", type=Path, nargs="*", default=[], metavar="LOGITS.npz")
    parser.add_argument("--measure", type=Path, nargs="*", default=[], metavar="LOGITS.npz")
    parser.add_argument("--agreement", type=float, default=0.995, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args()
    halves = _read(args.halves)
    even, odd = _part(halves, 0), _part(halves, 1)
    results: dict[str, Any] = {"wanted": args.agreement}
    for name, one, other in (("even", even, odd), ("odd", odd, even)):
        logits = [row for found in (*map(_read, args.fit), one) for row in found["logits"]]
        made = Agreement(fitted(logits, HMDB51_RECIPE), len(logits), name)
        rule = ClipRule(until="adaptive", factor=made.factor(args.agreement))
        measured = {f"the other half of {args.halves.name}": other}
        measured |= {path.name: _read(path) for path in args.measure}
        results[f"fitted to {len(logits)} with the {name} half"] = {
            "factor": rule.factor,
            **{what: _measured(rule, found) for what, found in measured.items()},
            "all of these": _measured(rule, _joined(list(measured.values()))),
        }
    certain = {
        path.name: _measured(ClipRule(until="certain"), _read(path)) for path in args.measure
    }
    certain[args.halves.name] = _measured(ClipRule(until="certain"), halves)
    results["certain"] = certain
    _print(results)
    publish(args.json, results)


def _read(path: Path) -> Archive:
    with np.load(path) as archive:
        return {name: archive[name] for name in ("logits", "label")}


def _part(archive: Archive, first: int) -> Archive:
    return {name: array[first::2] for name, array in archive.items()}


def _joined(archives: list[Archive]) -> Archive:
    return {name: np.concatenate([one[name] for one in archives]) for name in archives[0]}


def _measured(rule: ClipRule, archive: Archive) -> dict[str, float]:
    """What becomes of samples whose clips have those logits."""
    few, every, clips = [], [], []
    for logits in archive["logits"]:
        progress = Progress(rule, HMDB51_RECIPE, logits.shape[1])
        while True:
            progress.put(progress.wanted, logits[list(progress.wanted)])
            if not progress.advance():
                break
        few.append(average(progress.logits))
        every.append(average(logits))
        clips.append(len(progress.logits))
    best, all_best = np.argmax(few, axis=1), np.argmax(every, axis=1)
    top5 = [set(np.argsort(-one)[:5]) for one in few]
    of_all = [set(np.argsort(-one)[:5]) for one in every]
    return {
        "samples": len(clips),
        "same_best_class": float((best == all_best).mean()),
        "same_top5": float(np.mean([len(a & b) / 5 for a, b in zip(top5, of_all, strict=True)])),
        "clips": float(np.mean(clips)),
        "top1_acc": float((best == archive["label"]).mean()),
        "top1_acc_of_all_clips": float((all_best == archive["label"]).mean()),
    }


def _print(results: dict[str, Any]) -> None:
    for name, found in results.items():
        if not isinstance(found, dict):
            continue
        print(name + (f", factor {found['factor']:g}" if "factor" in found else ""))
        for what, figures in found.items():
            if isinstance(figures, dict):
                said = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
                print(f"  {what}: {said}")


if __name__ == "__main__":
    main()
