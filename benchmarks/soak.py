"""Soak: a long run of demo samples whose processes are killed every few seconds.

``python -m benchmarks.soak --minutes 30`` reports samples, kills, losses and the memory of all
processes over time, and exits with 1 where a sample was lost, scored twice, convicted
though it is innocent, or scored otherwise than in an undisturbed run.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measurement import publish
from benchmarks.memory import resident
from engine import Options, Pipeline
from engine.base import host
from engine.base.progress import SampleProgress
from engine.base.records import Prediction, Record

_TRIAL = 24  # samples that tell how many a run of so many minutes takes
_COMPARED = 24  # scored again, undisturbed
_WORKING = 0.8  # of the time; the rest is lost to restarts and batches run again
_PATIENCE = 3.0  # an executor needs so long to start; one killed sooner never does any work


def main() -> None:
    """Run, report, and exit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between kills, mean")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--json", type=Path, help="keep everything in a file")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="memory over time")
    args = parser.parse_args()
    results = soak(args)
    print(_report(results))
    publish(args.json, results)
    if args.plot is not None:
        from benchmarks.figures import memory_over_time

        memory_over_time(results["memory"], results["kills"], args.plot)
    wrong = ("lost", "twice", "convicted", "different")
    sys.exit(any(results[what] for what in wrong))


def soak(args: argparse.Namespace) -> dict[str, Any]:
    """Run for about so many minutes, and say what came of it."""
    count = max(_COMPARED, int(60 * args.minutes * _rate(args) * _WORKING))
    drawn = set(random.Random(args.seed).sample(range(count), _COMPARED))
    records: list[Record] = []
    with Pipeline(_options(args, count)) as pipeline:
        killer = _Killer(pipeline, args.seed, args.every)
        start = time.monotonic()
        with SampleProgress("samples", count) as progress, killer:
            for record in pipeline:
                if isinstance(record, Prediction) and record.index not in drawn:
                    record = replace(record, logits=record.logits[:0].copy())
                records.append(record)
                progress.update(len(records), f"{len(killer.kills)} kills")
        seconds = time.monotonic() - start
    counts = Counter(record.id for record in records)
    return {
        "machine": host.describe(),
        "arguments": {k: str(v) for k, v in vars(args).items()},
        "seconds": seconds,
        "samples": count,
        "records": len(records),
        "lost": [s.id for s in pipeline.dataset.samples if s.id not in counts],
        "twice": [name for name, times in counts.items() if times > 1],
        "convicted": [r.id for r in records if not isinstance(r, Prediction)],
        "compared": _COMPARED,
        "different": _different(args, count, {r.index: r for r in records if r.index in drawn}),
        "kills": killer.kills,
        "restarts": pipeline.figures.restarts,
        "dropped": pipeline.figures.dropped,
        "memory": killer.memory,
    }


def _options(args: argparse.Namespace, count: int, **more: Any) -> Options:
    about = {"dataset": "demo", "split": "train", "precision": args.precision}
    return Options(**{**about, "limit": count, **({"workers": args.workers} | more)})


def _rate(args: argparse.Namespace) -> float:
    """Samples a second of a short run with nobody killed."""
    with Pipeline(_options(args, _TRIAL)) as pipeline:
        start = time.monotonic()
        return len(list(pipeline)) / (time.monotonic() - start)


def _different(args: argparse.Namespace, count: int, found: dict[int, Record]) -> list[str]:
    """Those whose logits are not those of an undisturbed run."""
    with Pipeline(_options(args, count, workers=None, in_process=True)) as pipeline:
        pipeline.samples = [s for s in pipeline.samples if s.index in found]
        return [r.id for r in pipeline if not _same(r, found[r.index])]


def _same(one: Record, other: Record) -> bool:
    if not (isinstance(one, Prediction) and isinstance(other, Prediction)):
        return False
    return bool(np.array_equal(one.logits, other.logits))


class _Killer:
    """Meanwhile kills children at random and reads the memory of all processes each second.

    `kills`: (seconds, name); `memory`: (seconds, bytes RSS).
    """

    def __init__(self, pipeline: Pipeline, seed: int, every: float) -> None:
        self._pool: Any = pipeline._driver._pool  # type: ignore[union-attr]
        self._rng, self._every = random.Random(seed), every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.kills: list[tuple[float, str]] = []
        self.memory: list[tuple[float, int]] = []

    def _run(self) -> None:
        start = time.monotonic()
        due = self._rng.expovariate(1 / self._every)
        while not self._over.wait(1.0):
            now = time.monotonic()
            self.memory.append((now - start, resident(os.getpid())))
            if now - start < due:
                continue
            due = now - start + self._rng.expovariate(1 / self._every)
            role = self._rng.choice(["worker"] * 3 + ["executor"])
            ready = [c for c in self._pool.of_role(role) if not c.killed]
            if ready and (role == "worker" or now - ready[0].started > _PATIENCE):
                child = self._rng.choice(ready)
                os.kill(child.pid, signal.SIGKILL)
                self.kills.append((now - start, child.name))

    def __enter__(self) -> _Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _report(results: dict[str, Any]) -> str:
    sizes = [size for _, size in results["memory"]]
    third = max(1, len(sizes) // 3)
    first, last = max(sizes[:third], default=0), max(sizes[-third:], default=0)
    roles = Counter(name.partition("-")[0] for _, name in results["kills"])
    return "\n".join(
        [
            f"time       {results['seconds'] / 60:.1f} min",
            f"samples    {results['samples']}, {results['records']} records "
            f"({results['samples'] / results['seconds']:.2f}/s)",
            f"kills      {len(results['kills'])}: {roles['worker']} of workers, "
            f"{roles['executor']} of the executor; {results['restarts']} restarts",
            f"lost       {len(results['lost'])}",
            f"twice      {len(results['twice'])}",
            f"convicted  {len(results['convicted'])}",
            f"different  {len(results['different'])} of {results['compared']} scored again",
            f"memory     peak of the first third {first / 1e6:.0f} MB, of the last "
            f"{last / 1e6:.0f} MB (RSS, all processes)",
        ]
    )


if __name__ == "__main__":
    main()
