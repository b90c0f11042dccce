"""Figures: what `benchmarks.end_to_end` found, drawn.

Comes in: its results, as written to JSON. Goes out: SVG files. To draw a file again:
``python -m benchmarks.figures RESULTS.json FOLDER``.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import orjson
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_COLOURS = {"f32": "#1f4e8c", "bf16": "#2a78d6", "int8": "#6db3f2"}
_PEER = "#8a8984"
_WIRES = {"clips": "#8a8984", "frames": "#2a78d6", "keypoints": "#0b8f5a"}


def draw(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw what the results have; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "figures"})  # text as text
    drawn = {"rates": _rates(results["rates"]), "memory": _memory(results["memory"])}
    if "lengths" in results:
        drawn["lengths"] = _lengths(results["lengths"], results["rates"])
        drawn["roofline"] = _roofline(results)
        drawn["wire"] = _wire(results["wire"])
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return [folder / f"{name}.svg" for name in drawn]


def _rates(rates: Mapping[str, Mapping[str, list[float]]]) -> Figure:
    """A bar a contestant: the median rate, with least and greatest."""
    heights = [len(found) + 2 for found in rates.values()]
    figure = Figure(figsize=(9, 0.26 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(rates), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (name, found) in zip(panels, rates.items(), strict=True):
        medians = [statistics.median(values) for values in found.values()]
        low = [m - min(v) for m, v in zip(medians, found.values(), strict=True)]
        high = [max(v) - m for m, v in zip(medians, found.values(), strict=True)]
        colours = [_colour(contestant) for contestant in found]
        bars = axis.barh(list(found), medians, xerr=[low, high], color=colours, height=0.7)
        axis.bar_label(bars, fmt="%.2f", padding=6)
        axis.invert_yaxis()
        axis.margins(x=0.12)
        _plain(axis, f"{name}: samples/s (preprocessing included, except pure inference)")
    return figure


def _memory(peaks: Mapping[str, int]) -> Figure:
    """A bar a run: the peak of all its processes."""
    figure = Figure(figsize=(9, 0.6 + 0.26 * len(peaks)), layout="constrained")
    axis = figure.subplots()
    bars = axis.barh(
        list(peaks),
        [peak / 1e9 for peak in peaks.values()],
        height=0.7,
        color=[_colour(name) for name in peaks],
    )
    axis.bar_label(bars, fmt="%.2f", padding=6)
    axis.invert_yaxis()
    axis.margins(x=0.12)
    _plain(axis, "peak memory of all processes, GB (PSS)")
    return figure


def _lengths(
    lengths: Mapping[str, Mapping[Any, float]], rates: Mapping[str, Mapping[str, list[float]]]
) -> Figure:
    """Rate by frames in the video, and that of the network alone, which is the same for all."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    alone = next(iter(rates.values()))
    for precision, found in lengths.items():
        frames = [int(n) for n in found]
        axis.plot(
            frames,
            list(found.values()),
            "o-",
            color=_COLOURS[precision],
            label=f"engine, {precision}",
        )
        pure = alone.get(f"pure inference, {precision}")
        if pure:
            axis.axhline(
                statistics.median(pure),
                color=_COLOURS[precision],
                linestyle=":",
                label=f"network alone, {precision}",
            )
    _by_frames(axis, frames)
    axis.set_yticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
    axis.legend(frameon=False, ncols=2)
    _plain(axis, "samples/s by length of the video")
    return figure


def _roofline(results: Mapping[str, Any]) -> Figure:
    """Each part's operations a second over its operations a byte, under what bounds them."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    speed = results["bandwidth"] / 1e9
    reach = [1.0, 1000.0]
    for precision, found in results["roofline"].items():
        colour = _COLOURS[precision]
        x = [part["operations"] / part["bytes"] for part in found.values()]
        y = [part["operations"] / part["seconds"] / 1e9 for part in found.values()]
        axis.plot(x, y, "o", color=colour, label=f"parts, {precision}")
        axis.annotate("trunk", (x[0], y[0]), xytext=(4, 4), textcoords="offset points")
        if precision in results["ceiling"]:
            ceiling = results["ceiling"][precision][0] / 1e9
            axis.plot(
                [ceiling / speed, reach[1]],
                [ceiling, ceiling],
                color=colour,
                linewidth=1,
                label=f"ceiling, {precision}: {ceiling:.0f} GFLOP/s",
            )
    axis.plot(
        reach,
        [speed * n for n in reach],
        color=_PEER,
        linewidth=1,
        label=f"memory: {speed:.1f} GB/s",
    )
    axis.set(xscale="log", yscale="log", xlabel="operations a byte", ylim=(10, 3000))
    axis.legend(frameon=False, loc="lower right")
    _plain(axis, "roofline: GFLOP/s of the network's parts")
    return figure


def _wire(wires: Mapping[str, Mapping[Any, int]]) -> Figure:
    """Megabytes of a sample by frames in the video."""
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axis = figure.subplots()
    for kind, found in wires.items():
        frames = [int(n) for n in found]
        axis.plot(frames, [n / 1e6 for n in found.values()], "o-", color=_WIRES[kind], label=kind)
    _by_frames(axis, frames)
    axis.legend(frameon=False)
    _plain(axis, "MB a sample between processes, by --wire")
    return figure


def memory_over_time(
    sizes: Sequence[tuple[float, int]], kills: Sequence[tuple[float, str]], path: Path
) -> None:
    """What `benchmarks.soak` saw: memory of all processes, and when one was killed."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "figures"})
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.plot([t / 60 for t, _ in sizes], [n / 1e9 for _, n in sizes], color=_COLOURS["f32"], lw=1)
    for role, height, colour in (("worker", 0.02, _PEER), ("executor", 0.06, "#c0392b")):
        times = [t / 60 for t, name in kills if name.startswith(role)]
        axis.plot(
            times,
            [height] * len(times),
            "|",
            color=colour,
            ms=8,
            label=f"{role} killed",
            transform=axis.get_xaxis_transform(),
            clip_on=False,
        )
    axis.set_ylim(bottom=0)
    axis.set_xlabel("minutes")
    axis.legend(frameon=False, loc="lower right", ncols=2)
    _plain(axis, "memory of all processes, GB (RSS)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def live_memory(sizes: Sequence[tuple[float, int]], seconds: float, path: Path) -> None:
    """What `benchmarks.live_soak` saw: memory of all processes; who was there in the middle."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "figures"})
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.axvspan(seconds / 180, seconds / 90, color=_PEER, alpha=0.3, label="a liar and a flood")
    axis.plot([t / 60 for t, _ in sizes], [n / 1e9 for _, n in sizes], color=_COLOURS["f32"], lw=1)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("minutes")
    axis.legend(frameon=False, loc="lower right")
    _plain(axis, "memory of all processes, GB (RSS)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def live(results: Mapping[str, Any], path: Path) -> None:
    """What `benchmarks.live` found: what windows save by stride, and latencies by streams."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "figures"})
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    strides = [int(stride) for stride in results["strides"]]
    about = results["strides"].values()
    best = [found["anew_operations"] / found["operations"] for found in about]
    left.plot(strides, best, "--", color=_PEER, label="at best (operations)")
    measured = [found["anew_ms"] / found["once_ms"] for found in about]
    left.plot(strides, measured, "o-", color=_COLOURS["bf16"], label="measured")
    left.set_xlabel("moments from a window to the next")
    left.set_ylim(bottom=0)
    left.legend(frameon=False)
    _plain(left, "a window, times faster than anew")
    for (way, found), colour in zip(
        results["streams"].items(), (_COLOURS["bf16"], _PEER), strict=True
    ):
        points = sorted((one["streams"], one["p95_ms"]) for one in found if one["labels"])
        right.plot(*zip(*points, strict=True), "o", ms=4, color=colour, label=way)
    right.axhline(500, color="#c0392b", lw=1)
    right.set(xlabel="streams at 30 frames/s", yscale="log")
    right.legend(frameon=False)
    _plain(right, "latency, 95th percentile, ms")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def capacity(results: Mapping[str, Any], path: Path) -> None:
    """What `benchmarks.capacity` found: what stages cost, and the links that devices need."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "figures"})
    figure = Figure(figsize=(10, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    costs = {name: statistics.median(found) for name, found in results["cpu_ms"].items()}
    costs |= {
        f"{name}: all of it, in a run": statistics.median(found)
        for name, found in results["run_cpu_ms"].items()
    }
    roles = {"driver": "#0b8f5a", "worker": "#2a78d6", "executor": "#1f4e8c", "both": _PEER}
    bars = left.barh(
        list(costs),
        list(costs.values()),
        height=0.7,
        color=[roles[name.partition(":")[0]] for name in costs],
    )
    left.bar_label(bars, fmt="%.3g", padding=4, fontsize=8)
    left.invert_yaxis()
    left.set_xscale("log")
    left.tick_params(axis="y", labelsize=8)
    left.margins(x=0.15)
    _plain(left, "CPU ms a sample")
    rates = [1.0, 10_000.0]
    for kind, colour in _WIRES.items():
        size = results["bytes"][kind]
        right.plot(rates, [8 * size * rate / 1e9 for rate in rates], color=colour, label=kind)
    for gigabits in (1, 10, 25, 100):
        right.axhline(gigabits, color=_PEER, lw=0.5)
        right.annotate(f"{gigabits}", (rates[1], gigabits), fontsize=8, va="bottom", ha="right")
    for name, rate in results["devices"].items():
        right.axvline(rate, color=_PEER, lw=0.5, ls=":")
        right.annotate(name, (rate, 2e-4), rotation=90, fontsize=7, va="bottom", ha="right")
    driver = 1 / results["samples_cost"]["keypoints"]["driver_s"]
    right.axvline(driver, color="#c0392b", lw=1, label="one driver's bound")
    right.set(xscale="log", yscale="log", xlabel="samples/s", ylim=(1e-4, 1e3), xlim=rates)
    right.legend(frameon=False, loc="upper left", fontsize=8)
    _plain(right, "Gbit/s of clips, by --wire")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def simulation(results: Mapping[str, Any], path: Path) -> None:
    """What `benchmarks.simulation` found, beside the model: rates by nodes, and what failures
    leave of them."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "figures"})
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in results["sizes"]:
        groups.setdefault(one["device"], []).append(one)
    for (name, found), colour in zip(groups.items(), _WIRES.values(), strict=False):
        nodes = [one["nodes"] for one in found]
        left.plot(nodes, [one["predicted"] for one in found], "-", color=colour, lw=1)
        left.plot(nodes, [one["rate"] for one in found], "o", color=colour, label=name)
    left.set(xscale="log", yscale="log", xlabel="nodes")
    left.legend(frameon=False, title="lines: the model", fontsize=8)
    _plain(left, "samples/s without failures")
    found = [one for one in results["failures"] if one["deaths"]]
    hours = [one["mtbf_s"] / 3600 for one in found]
    right.fill_between(
        hours,
        [one["least"] for one in found],
        [one["most"] for one in found],
        color=_COLOURS["int8"],
        alpha=0.4,
        label="the model",
    )
    right.plot(
        hours, [one["efficiency"] for one in found], "o-", color=_COLOURS["f32"], label="simulated"
    )
    right.set(xscale="log", ylim=(0, 1.05), xlabel="hours between failures of a node")
    right.legend(frameon=False, loc="lower right")
    _plain(right, f"share of the rate that failures leave, {found[0]['nodes']} nodes")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def engines(results: Mapping[str, Any], path: Path) -> None:
    """What `benchmarks.engines` found: what failures leave, by the rule of each state machine."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "figures"})
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    found = [one for one in results["failures"] if one["deaths"]]
    hours = [one["mtbf_s"] / 3600 for one in found]
    for key, style, colour, label in (
        ("model", "-", _COLOURS["int8"], "engines (--cluster), the model"),
        ("efficiency", "o", _COLOURS["f32"], "engines (--cluster), simulated"),
        ("leases", "s--", _PEER, "one lease table, simulated"),
    ):
        axis.plot(hours, [one[key] for one in found], style, color=colour, label=label)
    axis.set(xscale="log", ylim=(0, 1.05), xlabel="hours between failures of a node")
    axis.legend(frameon=False, loc="lower right")
    _plain(axis, f"share of the rate that failures leave, {found[0]['engines']} nodes")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def cores(results: Mapping[str, Any], path: Path) -> None:
    """What `benchmarks.cores` found: rates by cores, beside as many times that of the fewest."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "figures"})
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    counts = [int(n) for n in results["rates"]]
    medians = [statistics.median(found) for found in results["rates"].values()]
    spread = [
        [m - min(found) for m, found in zip(medians, results["rates"].values(), strict=True)],
        [max(found) - m for m, found in zip(medians, results["rates"].values(), strict=True)],
    ]
    even = [medians[0] * n / counts[0] for n in counts]
    axis.plot(counts, even, ":", color=_PEER, label="the same a core")
    axis.errorbar(
        counts, medians, spread, fmt="o-", capsize=3, color=_COLOURS["f32"], label="measured"
    )
    axis.set_xticks(counts)
    axis.set(xlabel="cores", xlim=(0, None), ylim=(0, None))
    axis.legend(frameon=False)
    _plain(axis, f"{results['dataset']}: samples/s end to end by cores")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _by_frames(axis: Axes, frames: list[int]) -> None:
    """Both axes logarithmic, the lower one with the numbers of frames that were measured."""
    axis.set(xscale="log", yscale="log", xlabel="frames in the video")
    axis.minorticks_off()
    axis.set_xticks(frames, [str(n) for n in frames])


def _colour(contestant: str) -> str:
    if "engine" not in contestant:
        return _PEER
    return next((c for precision, c in _COLOURS.items() if precision in contestant), _PEER)


def _plain(axis: Axes, title: str) -> None:
    axis.set_title(title, loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    for path in draw(orjson.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2])):
        print(path)
