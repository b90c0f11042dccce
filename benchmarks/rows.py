"""Rows: what the constants of OpenVINO's parts cost: ``python -m benchmarks.rows``.

Rows a run and streams, each pair with a runner of its own in this process, on one made-up video.
Beside the time stands the CPU time, which other work on the machine changes less. Says whether the
logits have the same bits with every pair.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openvino as ov

from benchmarks.measurement import positive, publish
from engine.backends.openvino import OpenVINOParts, _Device
from engine.backends.registry import default_precision
from engine.base import host
from engine.base.assets import DEMO
from engine.base.choices import AUTO, PRECISIONS, SHARED
from engine.network.models import open_model
from engine.network.recogniser import infer, prepared
from engine.network.runners.base import F32, Runner
from engine.network.runners.opening import open_runner
from engine.runtime.trial import FRAMES, poses_of
from engine.skeletons.clips import sampled

_ROWS = (4, 8, 16)


class _Streamed(_Device):
    """A device whose parts have another number of streams than threads."""

    streams = 1

    def compiled(
        self, network: bytes, asked: str, prepare: Callable[[ov.Model], ov.Model], streams: int
    ) -> ov.CompiledModel:
        return super().compiled(network, asked, prepare, self.streams)


@dataclass
class _Pair:
    """Rows a run and streams; seconds of each sample, and of all threads together."""

    rows: int
    streams: int
    runner: Runner
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rows", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", default=DEMO, help="as of engine.run (default: %(default)s)")
    parser.add_argument("--precision", default=AUTO, choices=(AUTO, *PRECISIONS))
    parser.add_argument("--rounds", type=positive, default=15, help="interleaved, in random order")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args(argv)
    model = open_model(args.model).with_layout(SHARED, whole_clips=False)
    precision = default_precision(model) if args.precision == AUTO else args.precision
    threads = host.cores()
    pairs = []
    for streams in sorted({threads, max(1, threads // 2)}, reverse=True):
        for rows in _ROWS:
            device = _Streamed("CPU", precision, threads)
            device.streams = streams
            parts = OpenVINOParts(device)
            parts.rows = rows
            pairs.append(_Pair(rows, streams, open_runner(parts, model, model.recipe)))
    clips = prepared(pairs[0].runner, sampled(poses_of(model.recipe), model.recipe))
    found: list[F32] = []
    for pair in pairs:
        found += infer(pair.runner, [clips])
    same = all(np.array_equal(one, found[0]) for one in found)
    order = np.random.default_rng(0)
    for _ in range(args.rounds):
        for number in order.permutation(len(pairs)):
            pair = pairs[number]
            wall, cpu = time.perf_counter(), time.process_time()
            list(infer(pair.runner, [clips]))
            pair.wall.append(time.perf_counter() - wall)
            pair.cpu.append(time.process_time() - cpu)
    print(f"ms of a video of {FRAMES} frames, {precision}, {threads} threads")
    print("rows streams  median   least   least CPU")
    for pair in pairs:
        typical, least, cpu = statistics.median(pair.wall), min(pair.wall), min(pair.cpu)
        print(
            f"{pair.rows:4} {pair.streams:7} {1e3 * typical:7.0f} {1e3 * least:7.0f} "
            f"{1e3 * cpu:11.0f}"
        )
    print(f"logits: {'equal' if same else 'DIFFERENT'}")
    kept = [{"rows": p.rows, "streams": p.streams, "wall_s": p.wall, "cpu_s": p.cpu} for p in pairs]
    publish(args.json, {"pairs": kept, "equal": same, "precision": precision, "threads": threads})


if __name__ == "__main__":
    main()
