"""What an Ascend 310P3 should do, computed: nobody has measured it. A calculation, not a figure.

    python -m benchmarks.npu_model --plot model.svg

From the published rate of execution alone, the bytes that each way of running moves, assumed rates
of the bus, and the decoding and filling times measured now on this machine. A streaming engine runs
at the rate of its slowest stage; scripts one after the other take the sum of theirs. Then the
operations of each static graph of layout shared, which are exact.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import operations, workloads
from benchmarks.measurement import publish
from converters.onnx2om import default_unique
from engine.base.constants import CLIP_SHAPE, JOINTS, SIZE, VIEWS
from engine.base.recipe import HMDB51_RECIPE
from engine.network import buckets
from engine.network.contexts import of_plan
from engine.runtime.transport.wire import Message, encode
from engine.skeletons.clips import HeatmapClips, decode
from engine.skeletons.poses import PoseSequence
from engine.skeletons.sampling import clip_plan

_CLIPS = VIEWS * int(np.prod(CLIP_SHAPE)) * 4  # bytes of a sample
_FRAME = JOINTS * SIZE * SIZE * 4
_COMPILED = default_unique(HMDB51_RECIPE)  # distinct frames, of layout frames
_HALF = 2  # bytes of a value on the device
_MEASURED = 8  # samples
# Features behind the first layers: [960, 128, 28, 28] in fp16, gathered: read once, written once.
_GATHERED = 2 * 960 * 128 * 28 * 28 * 2


@dataclass(frozen=True)
class Assumptions:
    """What is taken for granted; every one of them is an option."""

    execution: float = 22.39  # samples/s of execution alone, published, batch 8
    two_d: float = 2.0  # times as many operations a second in 2-D convolutions as in those, 3-D
    bus: float = 10.0  # GB/s from the host's memory to the device's
    device_memory: float = 204.0  # GB/s
    ipc: float = 4.3  # GB/s between processes, measured with messages of 19 MB
    workers: int = 8
    disk: float = 1.0  # GB/s, of writing and reading files
    recipe_decode: float = 1.3  # s a sample on one core, as users report of mmaction2


@dataclass(frozen=True)
class Way:
    """A way of running: seconds a sample of each stage, and whether stages overlap."""

    name: str
    stages: dict[str, float]
    overlapped: bool

    @property
    def rate(self) -> float:
        """Samples/s, end to end."""
        times = self.stages.values()
        return 1 / (max(times) if self.overlapped else sum(times))

    @property
    def binding(self) -> str:
        """The stage that takes longest."""
        return max(self.stages, key=lambda name: self.stages[name])


@dataclass(frozen=True)
class Host:
    """Seconds a sample, measured here on one core; `sent`: bytes of its frames on the wire."""

    decode: float
    fill_clips: float
    fill_half: float
    fill_frames: float
    sent: float


def ways(assumed: Assumptions, host: Host) -> list[Way]:
    """The recipe and the engine's ways, slowest design first."""
    bus, memory = 1e9 * assumed.bus, 1e9 * assumed.device_memory
    execution = 1 / assumed.execution
    decode = host.decode / assumed.workers
    wire = host.sent / (1e9 * assumed.ipc)
    gears = [next(u for u in _COMPILED if u >= n) for n in _uniques()]
    work = statistics.fmean(operations.planned(2 * u) for u in gears) / operations.whole()
    planned = execution * work + _GATHERED / memory
    copied = statistics.fmean(2 * u for u in gears) * _FRAME
    graphs = static_graphs()
    runs = [fitting(frames, graphs) for frames in workloads.lengths()]
    work = statistics.fmean(map(operations.tabled, runs)) / operations.whole()
    moved = 2 * _HALF * statistics.fmean(map(operations.gathered, runs))  # read and written
    tabled = execution * work / assumed.two_d + moved / memory
    few = statistics.fmean(rows[0] for rows in runs) * _FRAME
    disk = _CLIPS / (1e9 * assumed.disk)
    return [
        Way(
            "recipe: three scripts, files between them",
            {
                "decode": assumed.recipe_decode / assumed.workers,
                "write .bin": disk,
                "read .bin": disk,
                "copy": _CLIPS / bus,
                "execute": execution,
            },
            overlapped=False,
        ),
        *(
            Way(name, {"decode": decode, "wire": wire, "fill": fill, **device}, overlapped=True)
            for name, fill, device in (
                ("clips, acl", host.fill_clips, {"copy, then execute": _CLIPS / bus + execution}),
                (
                    "clips in fp16, acl",
                    host.fill_half,
                    {"copy, then execute": _CLIPS / 2 / bus + execution},
                ),
                ("clips, pyacl", host.fill_clips, {"copy": _CLIPS / bus, "execute": execution}),
                (
                    "frames and plan, acl",
                    host.fill_frames,
                    {"copy, then execute": copied / bus + planned},
                ),
                (
                    "frames and plan, pyacl",
                    host.fill_frames,
                    {"copy": copied / bus, "execute": planned},
                ),
                ("shared, acl", host.fill_frames, {"copy, then execute": few / bus + tabled}),
                ("shared, pyacl", host.fill_frames, {"copy": few / bus, "execute": tabled}),
                (
                    "shared in fp16, pyacl",
                    host.fill_frames,
                    {"copy": few / 2 / bus, "execute": tabled},
                ),
            )
        ),
    ]


def static_graphs() -> dict[int, tuple[int, ...]]:
    """Rows of frames and of each level, by distinct frames, of the files that are made unless the
    user says otherwise."""
    network = operations.Network()
    return {
        unique: buckets.rows(unique, network.recipe, network.strides)
        for unique in buckets.default(network.recipe)
    }


def fitting(total_frames: int, graphs: Mapping[int, tuple[int, ...]]) -> tuple[int, ...]:
    """The rows of the smallest graph that takes a video of so many frames."""
    network = operations.Network()
    plan = clip_plan(total_frames, network.recipe).positions
    needed = 2 * np.array(of_plan(plan, network.strides).rows)
    return next(rows for rows in graphs.values() if (needed <= rows).all())


def _uniques() -> list[int]:
    """Distinct frames of the videos of ``hmdb51_like``."""
    return [
        int(clip_plan(frames, HMDB51_RECIPE).positions.max()) + 1 for frames in workloads.lengths()
    ]


def measure() -> Host:
    """Time the host's part on this machine."""
    poses = [
        PoseSequence.from_annotation(workloads.drifting(frames, number))
        for number, frames in enumerate(workloads.lengths()[:_MEASURED])
    ]
    samples = [decode(one, HMDB51_RECIPE) for one in poses]
    clips = np.zeros((VIEWS, *CLIP_SHAPE), np.float32)
    half = np.zeros((VIEWS, *CLIP_SHAPE), np.float16)
    canvas = np.zeros(2 * _COMPILED[-1] * _FRAME // 4, np.float32)

    def frames(sample: HeatmapClips) -> None:
        places, values = sample.frames.entries()
        canvas[places] = values
        canvas[places] = 0

    sent = [sum(len(memoryview(part).cast("B")) for part in _message(sample)) for sample in samples]
    return Host(
        decode=_median([lambda p=one: decode(p, HMDB51_RECIPE) for one in poses]),
        fill_clips=_median([lambda s=one: s.write(0, clips) for one in samples]),
        fill_half=_median([lambda s=one: s.write(0, half) for one in samples]),
        fill_frames=_median([lambda s=one: frames(s) for one in samples]),
        sent=statistics.fmean(sent),
    )


def _message(sample: HeatmapClips) -> list[bytes]:
    frames = sample.frames
    arrays = (frames.starts, frames.cells, frames.values, sample.plan)
    return encode(Message("frames", {}, arrays))


def _median(actions: Sequence[Callable[[], object]]) -> float:
    times = []
    for action in actions:
        action()  # once for the memory
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main(argv: Sequence[str] | None = None) -> int:
    """Compute and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.npu_model", description=__doc__.splitlines()[0]
    )
    for name, value in vars(Assumptions()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    assumed = Assumptions(**{name: getattr(args, name) for name in vars(Assumptions())})
    host = measure()
    found = ways(assumed, host)
    print("A calculation for an Ascend 310P3, not a measurement. Assumed:")
    for name, value in vars(assumed).items():
        print(f"  {name:14} {value}")
    print("Measured on this machine, a sample on one core:")
    for name, value in vars(host).items():
        spelt = f"{value / 1e6:.2f} MB" if name == "sent" else f"{1e3 * value:.1f} ms"
        print(f"  {name:14} {spelt}")
    base = found[0].rate
    print(f"\n{'':42} samples/s  over the recipe  slowest stage")
    for way in found:
        print(
            f"{way.name:42} {way.rate:9.1f} {way.rate / base:16.1f}  {way.binding} "
            f"({1e3 * way.stages[way.binding]:.1f} ms)"
        )
    counted = _operations()
    if args.plot is not None:
        _draw(found, args.plot)
    figures = {w.name: {"rate": w.rate, "binding": w.binding, "stages": w.stages} for w in found}
    about = {"assumed": vars(assumed), "host": vars(host), "ways": figures}
    publish(args.json, {**about, "operations": counted})
    return 0


def _operations() -> dict[str, Any]:
    """Print and return what each graph computes, GMAC, and what the videos of ``hmdb51_like`` come
    to: in these graphs, in those of frames and a plan, and with nothing computed twice."""
    graphs, lengths = static_graphs(), workloads.lengths()
    print("\nOperations of layout shared by distinct frames (exact):")
    print(f"{'':4} {'GMAC':>6} {'gathered, M values':>19}  frames and contexts")
    found: dict[str, Any] = {"graphs": {}}
    for unique, rows in graphs.items():
        macs, moved = operations.tabled(rows) / 2e9, operations.gathered(rows) / 1e6
        print(f"{unique:4} {macs:6.1f} {moved:19.0f}  {' '.join(map(str, rows))}")
        found["graphs"][unique] = {"gmac": macs, "gathered": moved, "rows": rows}
    gears = [next(u for u in _COMPILED if u >= n) for n in _uniques()]
    found["mean"] = {
        "whole": operations.whole() / 2e9,
        "frames and plan": statistics.fmean(operations.planned(2 * u) for u in gears) / 2e9,
        "shared": statistics.fmean(operations.tabled(fitting(n, graphs)) for n in lengths) / 2e9,
        "nothing twice": statistics.fmean(map(operations.shared, lengths)) / 2e9,
    }
    print(f"A video of {workloads.HMDB51_LIKE}, mean, GMAC:")
    for name, macs in found["mean"].items():
        print(f"  {name:16} {macs:.1f}")
    return found


def _draw(found: Sequence[Way], path: Path) -> None:
    """A row a way: the time of each stage, the binding one in colour."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "figures"})
    figure = Figure(
        figsize=(9, 1 + 0.28 * sum(len(w.stages) + 1 for w in found)), layout="constrained"
    )
    axis = figure.subplots()
    row, ticks = 0, []
    for way in found:
        how = "slowest stage counts" if way.overlapped else "sum counts"
        title = f"{way.name}: {way.rate:.1f} samples/s ({how})"
        axis.text(0, row, title, weight="bold", va="center")
        for name, seconds in way.stages.items():
            row += 1
            counts = not way.overlapped or name == way.binding
            axis.barh(row, 1e3 * seconds, color="#2a78d6" if counts else "#c9c8c3", height=0.7)
            axis.text(1e3 * seconds, row, f" {1e3 * seconds:.1f}", va="center")
            ticks.append((row, name))
        row += 1
    axis.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    axis.invert_yaxis()
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.set_title("ms a sample on an Ascend 310P3: computed, not measured", loc="left")
    axis.margins(x=0.1)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
