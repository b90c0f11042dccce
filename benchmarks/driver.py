"""What the driver of a cluster costs: ``python -m benchmarks.driver``.

The engine's own `ClusterDriver` over a real Ray of this machine, with its samples and records as
large as they are and every record written; only the engines are stand-ins, so that there can be a
thousand: one asynchronous actor that answers for all of them, so many records a quarter of a
second each, without work. CPU seconds of the driver's process, all its threads (Ray's included),
are laid upon four costs by least squares: a turn, each engine in a turn, a report, a record. Then a
run with one real engine, whose network does next to nothing, beside what those four say of it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import pickle
import secrets
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import workloads
from benchmarks.costs import CLASSES, write_network
from benchmarks.measurement import publish
from benchmarks.scaling import REPORT_EVERY_S, Driver
from engine.base.constants import HMDB51, VIEWS
from engine.base.options import Options
from engine.base.records import STAGES, Facts, Figures, Prediction, Record
from engine.network.recogniser import average
from engine.outputs.journal import Journal, record_json
from engine.runtime.aggregator import Aggregator
from engine.runtime.cluster.actor import Report, Started
from engine.runtime.cluster.driver import ClusterDriver
from engine.runtime.cluster.nodes import connect
from engine.runtime.setup import Setup
from engine.skeletons.samples import Sample

_CASES = ((1, 200), (10, 1), (10, 100), (100, 1), (100, 20), (1000, 1), (1000, 4))


class Echo:
    """Answers for many engines, each of which has so many records a report."""

    def __init__(self, records: int) -> None:
        self._records = records
        self._held: dict[str, deque[int]] = {}
        rng = np.random.RandomState(workloads.SEED)
        logits = rng.normal(size=(VIEWS, CLASSES)).astype(np.float32)
        self._ready = Prediction(
            0, "", None, logits, average(logits), dict.fromkeys(STAGES, 1.234567)
        )

    async def start(self, *about: object) -> Started:
        """A life of one of them."""
        token = secrets.token_hex(8)
        self._held[token] = deque()
        return Started(token, "echo", 1, Facts("none", "none", "f32", 0), 4, self._records)

    async def work(self, token: str, samples: Sequence[Sample]) -> Report:
        """Records of the first samples that it holds."""
        held = self._held[token]
        held.extend(sample.index for sample in samples)
        await asyncio.sleep(REPORT_EVERY_S)
        count = min(self._records, len(held))
        # Copies, since what is the same object would be sent once.
        records: list[Record] = [
            replace(
                self._ready,
                index=held.popleft(),
                logits=self._ready.logits.copy(),
                scores=self._ready.scores.copy(),
                ms=dict(self._ready.ms),
            )
            for _ in range(count)
        ]
        return Report(records, Figures(), "device")


class Counted(ClusterDriver):
    """Counts what it does."""

    turns = reports = 0

    def step(self, *, fresh: bool = True) -> Iterator[Record]:
        self.turns += 1
        yield from super().step(fresh=fresh)

    def _reported(self, link: Any, report: Report, seconds: float) -> Iterator[Record]:
        self.reports += 1
        yield from super()._reported(link, report, seconds)


class Echoed(Counted):
    """All its engines are one `Echo`."""

    records_a_report = 1
    _echo: Any = None

    def _actor(self, place: Any) -> Any:
        if self._echo is None:
            asked = self._ray.remote(Echo).options(num_cpus=0, max_concurrency=5000)
            self._echo = asked.remote(self.records_a_report)
        return self._echo


@dataclass(frozen=True)
class Found:
    """What the driver did in a while, and its CPU seconds."""

    engines: int
    turns: int
    reports: int
    records: int
    cpu_s: float

    @property
    def causes(self) -> list[int]:
        """Of its time, in the order of the fields of `Driver`."""
        return [self.turns, self.turns * self.engines, self.reports, self.records]

    def said(self, costs: Driver) -> float:
        """CPU seconds, by the costs."""
        return float(np.dot(self.causes, astuple(costs)))


def _samples() -> Iterator[Sample]:
    annotations = [workloads.drifting(n, i) for i, n in enumerate(workloads.lengths())]
    for index in itertools.count():
        yield Sample(index, f"video_{index}", annotations[index % len(annotations)])


def _watched(kind: type[Counted], setup: Setup, seconds: float, folder: Path) -> Found:
    """What a run costs from when all engines have reported twice."""
    runner = kind(_samples(), 10**9, setup, Aggregator(), lambda: False)
    counted, engines = 0, len(runner._links)
    with Journal(folder / f"{secrets.token_hex(4)}.jsonl") as journal:
        try:
            runner.start()
            records = runner.records()
            while runner.reports < 2 * engines:
                journal.append(record_json(next(records), HMDB51, 5))
            turns, reports, cpu = runner.turns, runner.reports, time.process_time()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                journal.append(record_json(next(records), HMDB51, 5))
                counted += 1
            cpu = time.process_time() - cpu
            return Found(engines, runner.turns - turns, runner.reports - reports, counted, cpu)
        finally:
            runner.close(at_once=True)


def fitted(found: Sequence[Found]) -> Driver:
    """The four costs that deviate least from what was found, relatively, and are not negative."""
    causes = np.array([one.causes for one in found], float)
    seconds = np.array([one.cpu_s for one in found])
    weighed = causes / seconds[:, None]
    columns = list(range(causes.shape[1]))
    while True:
        costs = np.zeros(causes.shape[1])
        costs[columns] = np.linalg.lstsq(weighed[:, columns], np.ones(len(found)), rcond=None)[0]
        if costs.min() >= 0:
            return Driver(*map(float, costs))
        columns.remove(int(costs.argmin()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.driver", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_network(folder / "row.onnx")
        (folder / "one.pkl").write_bytes(pickle.dumps([workloads.drifting(80, 0)]))
        options = Options(
            dataset=str(folder / "one.pkl"),
            model=str(folder / "row.onnx"),
            threads=1,
            workers=1,
            backend="onnxruntime",
            wire="keypoints",
            layout="clips",
            cluster="local",
        )
        ray, _ = connect("local")
        found: list[Found] = []
        real: list[Found] = []
        for turn in range(args.rounds):
            for engines, records in _CASES:
                Echoed.records_a_report = records
                setup = Setup.of(replace(options, engines=engines))
                found.append(_watched(Echoed, setup, args.seconds, folder))
                print(f"round {turn + 1}: {found[-1]}", flush=True)
            setup = Setup.of(replace(options, engines=1, tta=False))
            real.append(_watched(Counted, setup, args.seconds, folder))
            print(f"round {turn + 1}, a real engine: {real[-1]}", flush=True)
        ray.shutdown()
    costs = fitted(found)
    said, of_real = ([one.said(costs) / one.cpu_s for one in some] for some in (found, real))
    print(
        f"{costs}\nof what was found it says {min(said):.2f} to {max(said):.2f}, of a real "
        f"engine's run {min(of_real):.2f} to {max(of_real):.2f}"
    )
    publish(
        args.json,
        {
            "costs": asdict(costs),
            "rounds": args.rounds,
            "seconds": args.seconds,
            "found": [asdict(one) for one in found],
            "said": said,
            "real": [asdict(one) for one in real],
            "said_of_real": of_real,
        },
    )


if __name__ == "__main__":
    main()
