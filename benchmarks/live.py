"""Live: what windows that share their inner results save, and how many streams that makes.

``python -m benchmarks.live`` prints, for windows of one person every so many moments: operations
a window, what they could save at best, and what the runner does save; then how many streams of
one person at 30 frames/s are sustained (99 of 100 windows' worth of labels, none left out, the
95th percentile of latency below half a second), with what is known computed once and anew, in
turn; then three times as many as are sustained, with and without a stream that floods, with
bounded ages (`--max-age`) and unbounded. One process tree, sources in it; two cores are a machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import operations
from benchmarks.measurement import publish
from engine import Options, Stream
from engine.base import host
from engine.base.progress import SampleProgress
from engine.base.recipe import HMDB51_RECIPE
from engine.live.fair_queue import FairQueue
from engine.network.recogniser import infer
from engine.network.runners.base import Runner
from engine.runtime.setup import Setup
from engine.skeletons.clips import HeatmapClips, decode
from engine.skeletons.heatmaps import crop_around
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import Sample
from engine.sources.dataset import open_dataset
from engine.sources.pose_frames import Person, PoseFrame
from engine.sources.recorded import frames_of
from engine.sources.source import Source, Stop

_RATE = 30.0
_STRIDES = (2, 4, 8, 12, 16, 24, 48)
_TRACKS = 12
_BOUND_MS = 500.0
_WARM_UP_S = 15.0  # all streams begin at once, with windows that have nothing in common
_SAMPLES = 40
WAYS: dict[str, dict[str, Any]] = {"once": {}, "anew": {"track_memory": 0}}


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--stride", type=int, default=8, help="moments from a window to the next")
    parser.add_argument("--seconds", type=float, default=45.0, help="of a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=20, help="streams that are tried")
    parser.add_argument(
        "--sustained", type=int, help="take it that so many streams are: the overload alone"
    )
    parser.add_argument("--max-age", type=float, default=2.0, help="seconds, in the overload")
    parser.add_argument("--json", type=Path, help="keep everything in a file")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    args = parser.parse_args()
    samples = open_dataset("demo", None, "train", _SAMPLES).samples
    results: dict[str, Any] = {
        "machine": host.describe(),
        "arguments": {k: str(v) for k, v in vars(args).items()},
    }
    if (sustained := args.sustained) is None:
        results["strides"] = _strides(args, samples)
        results["streams"] = _streams(args, samples)
        sustained = int(statistics.median(_best(results["streams"]["once"])))
    results["overload"] = _overload(args, samples, 3 * max(1, sustained))
    print(_report(results))
    publish(args.json, results)
    if args.plot is not None and args.sustained is None:
        from benchmarks.figures import live

        live(results, args.plot)


def _strides(args: argparse.Namespace, samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """By stride: operations a window, and milliseconds of the runner, once and anew: medians of
    interleaved rounds."""
    setup = Setup.of(Options(source=("live",), model="demo", precision=args.precision))
    runner = setup.executors[0].open_runner()
    found: dict[str, dict[str, float]] = {}
    with SampleProgress("strides", len(_STRIDES)) as progress:
        for number, stride in enumerate(_STRIDES):
            times: dict[str, list[float]] = {way: [] for way in WAYS}
            for turn in range(args.rounds + 1):
                # in memory that the turns before have used, as in a run that lasts
                windows = _windows(samples, stride, crop=(args.rounds + 1) * number + turn)
                for way in WAYS:
                    seconds = _seconds(runner, windows, way)
                    if turn:  # the first one warms up
                        times[way].append(1e3 * seconds)
            found[str(stride)] = {
                "operations": operations.window(stride),
                "anew_operations": operations.window(None),
                **{f"{way}_ms": statistics.median(of) for way, of in times.items()},
            }
            progress.update(number + 1)
    runner.close()
    return found


def _windows(samples: Sequence[Sample], stride: int, crop: int) -> list[list[HeatmapClips]]:
    """Windows of tracks in a crop of that number: first the first of each, then the second ones."""
    steps = 5
    found: list[list[HeatmapClips]] = []
    whole = [_long(samples, number, 48 + steps * stride) for number in range(_TRACKS)]
    for step in range(steps):
        row = []
        for number, poses in enumerate(whole):
            part = slice(step * stride, step * stride + 48)
            window = PoseSequence(
                poses[:, part, :, :2],
                poses[:, part, :, 2],
                (480, 640),
                48,
                crop_around(poses[..., :2], HMDB51_RECIPE),
                (number, crop, step * stride, stride),
            )
            row.append(decode(window, HMDB51_RECIPE.one_view))
        found.append(row)
    return found


def _seconds(runner: Runner, windows: list[list[HeatmapClips]], way: str) -> float:
    """A window, once the first one of each track has been computed."""
    if way == "anew":
        windows = [[replace(clips, track=None) for clips in row] for row in windows]
    list(infer(runner, windows[0]))
    start = time.perf_counter()
    for row in windows[1:]:
        list(infer(runner, row))
    return (time.perf_counter() - start) / (len(windows) - 1) / len(windows[0])


def _long(samples: Sequence[Sample], first: int, frames: int) -> Any:
    """Skeletons [1, frames, 17, 3] of samples one after the other, in the middle of the frame."""
    parts: list[Any] = []
    while sum(part.shape[1] for part in parts) < frames:
        sample = samples[(first + len(parts)) % len(samples)]
        seen = [
            f.people[0].kpts for f in frames_of(sample) if isinstance(f, PoseFrame) and f.people
        ]
        kpts = np.stack(seen)[None].copy()
        low, high = kpts[..., :2].min(axis=(0, 1, 2)), kpts[..., :2].max(axis=(0, 1, 2))
        kpts[..., :2] = (kpts[..., :2] - (low + high) / 2) * (300 / (high - low).max()) + (320, 240)
        parts.append(kpts)
    return np.concatenate(parts, axis=1)[:, :frames]


def _streams(
    args: argparse.Namespace, samples: Sequence[Sample]
) -> dict[str, list[dict[str, Any]]]:
    """For each way the measurements of each round: a bisection of the number of streams."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    motion = [_long(samples, 3 * n, 900) for n in range(args.most)]
    for turn in range(args.rounds):
        for way in WAYS:
            low, high = 0, args.most + 1  # sustained, not sustained
            while high - low > 1:
                count = (low + high) // 2
                about = _sustained(args, motion[:count], way)
                print(
                    f"round {turn + 1}: {way}, {count} streams: p95 {about['p95_ms']:.0f} ms, "
                    f"{about['dropped']} left out",
                    file=sys.stderr,
                    flush=True,
                )
                found[way].append({"round": turn, "streams": count, **about})
                low, high = (count, high) if about["sustained"] else (low, count)
    return found


def _sustained(args: argparse.Namespace, motion: Sequence[Any], way: str) -> dict[str, Any]:
    """Run so many streams for a while; their beginning does not count."""
    options = Options(
        source=("live",),
        model="demo",
        precision=args.precision,
        stride=args.stride / _RATE,
        **WAYS[way],
    )
    source = Source("cameras", lambda stop: _cameras(motion, args.seconds, stop), live=True)
    latencies = []
    with Stream(options, [source]) as stream:
        begun, before = time.monotonic(), 0
        for label in stream:
            if time.monotonic() - begun > _WARM_UP_S:
                latencies.append(label.latency_ms)
            else:
                before = stream.streams.figures.dropped
        dropped = stream.streams.figures.dropped - before
        lost = stream.supply.figures["cameras"].lost
    p95 = float(np.percentile(latencies, 95)) if latencies else float("inf")
    return {
        "p50_ms": float(np.percentile(latencies, 50)) if latencies else float("inf"),
        "p95_ms": p95,
        "dropped": dropped + lost,
        "labels": len(latencies),
        "seconds": time.monotonic() - begun,
        "sustained": p95 < _BOUND_MS and not dropped and not lost,
    }


def _overload(
    args: argparse.Namespace, samples: Sequence[Sample], count: int
) -> list[dict[str, Any]]:
    """So many streams, which are too many, without a flood and with one; ages unbounded and
    bounded, in turn."""
    motion = [_long(samples, 3 * n, 900) for n in range(count)]
    return [
        _overloaded(args, motion, bounded=bounded, flood=flood)
        for flood in (False, True)
        for bounded in (False, True)
    ]


def _overloaded(
    args: argparse.Namespace, motion: Sequence[Any], *, bounded: bool, flood: bool
) -> dict[str, Any]:
    """What becomes of the cameras' windows once the beginning is over."""
    options = Options(
        source=("live",),
        model="demo",
        precision=args.precision,
        stride=args.stride / _RATE,
        max_age=args.max_age,
    )
    sources = [Source("cameras", lambda stop: _cameras(motion, args.seconds, stop), live=True)]
    if flood:
        whole = (motion[0], args.seconds)
        sources.append(Source("flood", lambda stop: _flooding(*whole, stop), live=True))
    ages, infer, labels = [], [], Counter[str]()
    with Stream(options, sources) as stream:
        if not bounded:
            stream.freshness = stream.streams.freshness = None
            stream.streams._queue = FairQueue(each=8, total=64)  # as it was without
        begun = time.monotonic()
        for label in stream:
            passed = time.monotonic() - begun
            if _WARM_UP_S < passed < args.seconds and label.error is None:
                labels[label.stream] += 1
                if label.stream != "flood":
                    ages.append(label.latency_ms / 1e3)
                    infer.append(label.ms["infer"])
    cameras = [labels[f"camera-{number}"] for number in range(len(motion))]
    share, seconds = statistics.mean(cameras), args.seconds - _WARM_UP_S
    found = {
        "streams": len(motion),
        "bounded": bounded,
        "flood": flood,
        "p50_s": float(np.percentile(ages, 50)),
        "p95_s": float(np.percentile(ages, 95)),
        "labels_per_s": labels.total() / seconds,
        "of_flood": labels["flood"] / seconds,
        "least_share": min(cameras) / share,
        "largest_share": max(cameras) / share,
        "window_ms": statistics.median(infer),
    }
    print(_in_words(found), file=sys.stderr, flush=True)
    return found


def _flooding(kpts: Any, seconds: float, stop: Stop) -> Iterator[PoseFrame]:
    """Twenty people, as fast as they are taken."""
    begun, number = time.monotonic(), 0
    while time.monotonic() - begun < seconds and not stop():
        at = kpts[0, number % kpts.shape[1]].astype(np.float32)
        crowd = tuple(Person(who, at + np.float32(who)) for who in range(20))
        yield PoseFrame("flood", number, number / _RATE, (640, 480), crowd, _RATE)
        number += 1


def _cameras(motion: Sequence[Any], seconds: float, stop: Stop) -> Iterator[PoseFrame]:
    """Every stream at its rate, none in step with another."""
    count, begun = len(motion), time.monotonic()
    for tick in range(int(seconds * _RATE)):
        for number in range(count):
            due = begun + (tick + number / count) / _RATE
            while (left := due - time.monotonic()) > 0:
                time.sleep(left)
            if stop():
                return
            yield _frame(motion[number], number, tick)


def _frame(kpts: Any, number: int, tick: int) -> PoseFrame:
    # windows of different streams end at different moments of the grid
    at = tick + 5 * number
    person = Person(0, kpts[0, at % kpts.shape[1]].astype(np.float32))
    return PoseFrame(f"camera-{number}", at, at / _RATE, (640, 480), (person,), _RATE)


def _best(found: Sequence[dict[str, Any]]) -> list[int]:
    """The most streams that each round sustained."""
    rounds = sorted({about["round"] for about in found})
    return [
        max((a["streams"] for a in found if a["round"] == turn and a["sustained"]), default=0)
        for turn in rounds
    ]


def _in_words(about: dict[str, Any]) -> str:
    flood = f" and a flood ({about['of_flood']:.1f} labels/s)" if about["flood"] else ""
    return (
        f"overload, {about['streams']} streams{flood}, ages "
        f"{'bounded' if about['bounded'] else 'unbounded'}: "
        f"median {about['p50_s']:.2f} s, p95 {about['p95_s']:.2f} s, {about['labels_per_s']:.1f} "
        f"labels/s in all, shares {about['least_share']:.2f} to {about['largest_share']:.2f}, "
        f"{about['window_ms']:.0f} ms a window"
    )


def _report(results: dict[str, Any]) -> str:
    overload = [_in_words(about) for about in results["overload"]]
    if "streams" not in results:
        return "\n".join(overload)
    rows = ["stride  GFLOP  at best  measured  ms: once, anew"]
    for stride, about in results["strides"].items():
        best = about["anew_operations"] / about["operations"]
        measured = about["anew_ms"] / about["once_ms"]
        rows.append(
            f"{stride:>6}  {about['operations'] / 1e9:5.1f}  {best:6.2f}x  {measured:7.2f}x  "
            f"{about['once_ms']:5.1f} {about['anew_ms']:5.1f}"
        )
    best = {way: _best(found) for way, found in results["streams"].items()}
    for way, counts in best.items():
        rows.append(f"streams sustained, {way}: median {statistics.median(counts):g} {counts}")
    ratio = statistics.median(best["once"]) / max(1, statistics.median(best["anew"]))
    rows.append(f"once / anew: {ratio:.2f}")
    return "\n".join([*rows, *overload])


if __name__ == "__main__":
    main()
