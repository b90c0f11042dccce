"""What an Ascend 310P3 should do, computed: nobody has measured it. A calculation, not a figure.

    python -m benchmarks.npu_model --plot model.svg

From the published rate of execution alone, the bytes that each way of running moves, assumed rates
of the bus, and the decoding and filling times measured now on this machine. A streaming engine runs
at the rate of its slowest stage; scripts one after the other take the sum of theirs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import operations, workloads
from benchmarks.measurement import publish
from converters.onnx2om import default_unique
from engine.base.constants import CLIP_SHAPE, JOINTS, SIZE, VIEWS
from engine.base.recipe import HMDB51_RECIPE
from engine.runtime.transport.wire import Message, encode
from engine.skeletons.clips import HeatmapClips, decode
from engine.skeletons.poses import PoseSequence
from engine.skeletons.sampling import clip_plan

_CLIPS = VIEWS * int(np.prod(CLIP_SHAPE)) * 4  # bytes of a sample
_FRAME = JOINTS * SIZE * SIZE * 4
_COMPILED = default_unique(HMDB51_RECIPE)  # distinct frames
_MEASURED = 8  # samples
# Features behind the first layers: [960, 128, 28, 28] in fp16, gathered: read once, written once.
_GATHERED = 2 * 960 * 128 * 28 * 28 * 2


@dataclass(frozen=True)
class Assumptions:
    """What is taken for granted; every one of them is an option."""

    execution: float = 22.39  # samples/s of execution alone, published, batch 8
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
    bus, execution = 1e9 * assumed.bus, 1 / assumed.execution
    decode = host.decode / assumed.workers
    wire = host.sent / (1e9 * assumed.ipc)
    gears = [next(u for u in _COMPILED if u >= n) for n in _uniques()]
    work = statistics.fmean(operations.planned(2 * u) for u in gears) / operations.whole()
    planned = execution * work + _GATHERED / (1e9 * assumed.device_memory)
    copied = statistics.fmean(2 * u for u in gears) * _FRAME
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
            )
        ),
    ]


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
    if args.plot is not None:
        _draw(found, args.plot)
    figures = {w.name: {"rate": w.rate, "binding": w.binding, "stages": w.stages} for w in found}
    publish(args.json, {"assumed": vars(assumed), "host": vars(host), "ways": figures})
    return 0


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
