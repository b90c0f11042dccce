"""The engine end to end against its peers: ``python -m benchmarks.end_to_end``.

The engine as a user runs it, preprocessing included, with all clips and with fewer, against pure
inference of the unmodified network, the NPU recipe's three steps, torch with a DataLoader, and the
machine's ceiling (`benchmarks.peers`): the same samples and weights, interleaved in one run. Then
the engine's own layouts, wires and precisions on 24 samples, its rate by the length of a video, and
its parts under the roofline. Prints medians and ratios; writes them, and plots
(`benchmarks.figures`).
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import orjson

from benchmarks import lengths, operations, peers, roofline, untrained, workloads
from benchmarks.measurement import Rates, interleave, publish, ratio, table
from benchmarks.memory import PeakMemory
from converters import quantize
from engine.base.assets import DEMO
from engine.base.choices import CLIPS, SHARED
from engine.base.command_parser import CommandParser
from engine.base.constants import VIEWS
from engine.base.errors import EngineError, UsageError
from engine.base.recipe import HMDB51_RECIPE
from engine.network.models import open_model
from engine.runtime.transport.clip_messages import most_nbytes
from engine.skeletons.clips import decode
from engine.skeletons.poses import PoseSequence

# layout and wire; the first is what a run does by default
PRECISIONS = ["f32", "bf16", "int8"]  # that a CPU computes in
RULES = ["adaptive", "certain"]  # of --clips, beside all of them
CONFIGURATIONS = [(SHARED, "frames"), (SHARED, "keypoints"), (CLIPS, "frames"), (CLIPS, "clips")]
PURE, RECIPE, TORCH = "pure inference", "recipe, .bin files", "torch, DataLoader"
_ABLATION_SAMPLES = 24
_CALIBRATION_CLIPS = 32


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = CommandParser(prog="python -m benchmarks.end_to_end", description=__doc__)
    parser.add_argument(
        "--workload",
        nargs="+",
        default=[workloads.HMDB51_LIKE, f"{DEMO}:96"],
        metavar="DEMO[:N]",
        help="hmdb51_like, crowd, ntu_like, demo, or annotation files; N "
        "evenly spaced samples of it, or all (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        default=DEMO,
        help="as --model of engine.run, or untrained:NAME for a published network with made-up "
        "weights (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        default=PRECISIONS,
        choices=PRECISIONS,
        help="default: %(default)s",
    )
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument(
        "--ablations",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="layouts, wires, lengths and the roofline, too",
    )
    parser.add_argument(
        "--quick", action="store_true", help="6 samples, 1 round, no ablations: under five minutes"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw them into FOLDER")
    args = parser.parse_args(arguments)
    if args.quick:
        args.rounds, args.ablations = 1, False
        args.workload = [f"{name.partition(':')[0]}:6" for name in args.workload]
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = _measured(args, Path(folder))
    except EngineError as error:
        raise SystemExit(f"end_to_end: {error}") from None
    for name, rates in results["rates"].items():
        print(table(rates, f"samples/s, {name}"))
    for key, value in results["ratios"].items():
        print(f"{key} {value:.3f}")
    for key, value in results["memory"].items():
        print(f"peak memory, {key}: {value / 1e9:.2f} GB")
    for precision, (best, by) in results["ceiling"].items():
        print(f"ceiling, {precision}: {best / 1e9:.0f} GFLOP/s ({by})")
    publish(args.json, results)
    if args.plots:
        from benchmarks import figures  # needs matplotlib, which measuring does not

        for path in figures.draw(results, args.plots):
            print(f"drew {path}")


def _measured(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything that is published of a run."""
    arch = untrained.architecture(args.model)
    args.model = untrained.resolve(args.model, folder)
    recipe = open_model(args.model).recipe
    models = _models(args.model, args.precision, folder)
    exact = [precision for precision in models if precision != "int8"]
    ceilings = {precision: peers.ceiling(precision) for precision in exact}
    files = dict(workloads.write(*_counted(workload), folder) for workload in args.workload)
    memory: dict[str, int] = {}
    contestants: dict[str, Callable[[], float]] = {}
    # Length does not matter to these: once a round for all workloads.
    first = next(iter(files.values()))
    if steps := peers.recipe(first, args.model, folder):
        contestants[f"{RECIPE}, f32"] = steps
    else:
        print("onnxruntime is not installed (pip install '.[bench]'): the recipe is left out")
    if recipe != HMDB51_RECIPE:
        print("torch is left out: it is compared with on the demo's network")
    elif loader := peers.torch_loader(first):
        contestants[f"{TORCH}, f32"] = loader
    else:
        print("torch is not installed (pip install '.[bench]'): its row is left out")
    pure = {precision: peers.pure(models[precision], precision) for precision in models}
    for name, path in files.items():
        for precision, model in models.items():
            ours = _engine_name(precision, *CONFIGURATIONS[0])
            default = dict(zip(("layout", "wire"), CONFIGURATIONS[0], strict=True))
            asked = {ours: default, **{_rule_name(precision, r): {"clips": r} for r in RULES}}
            for one, options in asked.items():
                options |= {"dataset": path, "model": model, "precision": precision}
                contestants[f"{name}/{one}"] = _engine(options, memory, f"{name}, {one}")
            contestants[f"{name}/{PURE}, {precision}"] = pure[precision]
    together = interleave(contestants, args.rounds, warm_up=False)
    peers_alone = {name: found for name, found in together.items() if "/" not in name}
    rates = {name: {**_within(together, name), **peers_alone} for name in files}
    network = operations.Network(arch, recipe)
    counts = {name: _operations(path, network) for name, path in files.items()}
    results: dict[str, Any] = {
        "ratios": _ratios(list(models), rates, counts, ceilings),
        "rates": rates,
        "memory": memory,
        "operations": counts,
        "ceiling": ceilings,
        "rounds": args.rounds,
        "samples": {name: len(pickle.loads(path.read_bytes())) for name, path in files.items()},
        "recipe_bytes_per_sample": most_nbytes(recipe),
        "seeds": {workloads.HMDB51_LIKE: workloads.SEED},
    }
    if args.ablations:
        folder = folder / "ablations"
        folder.mkdir()
        name, path = workloads.write(args.workload[0].partition(":")[0], _ABLATION_SAMPLES, folder)
        every = {
            _engine_name(precision, layout, wire): _engine(
                {
                    "dataset": path,
                    "model": model,
                    "precision": precision,
                    "layout": layout,
                    "wire": wire,
                },
                memory,
                f"{name}, {_engine_name(precision, layout, wire)}",
            )
            for precision, model in models.items()
            for layout, wire in CONFIGURATIONS
        }
        rates[f"{name}, {_ABLATION_SAMPLES} samples"] = interleave(
            every, args.rounds, warm_up=False
        )
        results["lengths"] = {p: lengths.rates(m, p, folder) for p, m in models.items()}
        results["roofline"] = {p: roofline.parts(m, p) for p, m in models.items()}
        results["bandwidth"] = roofline.bandwidth()
        results["wire"] = lengths.bytes_on_wire()
    return results


def _counted(workload: str) -> tuple[str, int | None]:
    """Name and number of samples of ``DEMO[:N]``."""
    name, _, count = workload.partition(":")
    return name, int(count) if count else None


def _models(spec: str, precisions: list[str], folder: Path) -> dict[str, str]:
    """The file that runs at each precision: for int8 the same weights, quantised now."""
    path = open_model(spec).path
    models = {precision: str(path) for precision in precisions}
    if "int8" in models:
        clips = [
            (decode(PoseSequence.from_annotation(generated), HMDB51_RECIPE), number % VIEWS)
            for number, generated in enumerate(workloads.demo_train(_CALIBRATION_CLIPS))
        ]
        try:
            quantised = quantize.quantise(onnx.load(str(path)), clips)
        except UsageError as error:
            print(f"int8 is left out: {error}")
            del models["int8"]
            return models
        models["int8"] = str(folder / "int8.onnx")
        Path(models["int8"]).write_bytes(quantised.SerializeToString())
    return models


def _within(rates: Rates, workload: str) -> Rates:
    prefix = f"{workload}/"
    return {n.removeprefix(prefix): found for n, found in rates.items() if n.startswith(prefix)}


def _engine_name(precision: str, layout: str, wire: str) -> str:
    return f"engine, {precision}, {layout}, {wire}"


def _rule_name(precision: str, rule: str) -> str:
    return f"engine, {precision}, {rule} clips"


def _engine(options: dict[str, Any], memory: dict[str, int], name: str) -> Callable[[], float]:
    """The command itself, in processes of its own; its fps. Its peak goes into `memory`."""

    def measure() -> float:
        with tempfile.TemporaryDirectory() as folder:
            summary = Path(folder) / "summary.json"
            flags = [f"--{key}={value}" for key, value in options.items()]
            command = [sys.executable, "-m", "engine.run", *flags, f"--summary={summary}"]
            with (
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run,
                PeakMemory(run.pid) as watched,
            ):
                _, errors = run.communicate()
            if run.returncode:
                raise SystemExit(f"{' '.join(command)} failed:\n{errors.decode()}")
            memory[name] = max(memory.get(name, 0), watched.peak)
            return float(orjson.loads(summary.read_bytes())["fps"])

    return measure


def _operations(path: Path, network: operations.Network) -> dict[str, float]:
    """Mean operations a sample: of the reference, and with everything shared."""
    frames = [a["total_frames"] for a in pickle.loads(path.read_bytes())]
    shared = statistics.mean(operations.shared(number, network) for number in frames)
    return {"whole": operations.whole(network), "shared": shared}


def _ratios(
    precisions: list[str],
    rates: dict[str, Rates],
    counts: dict[str, dict[str, float]],
    ceilings: dict[str, tuple[float, str]],
) -> dict[str, float]:
    """Of the engine with default flags, and of fewer clips, medians of the paired ratios."""
    ratios: dict[str, float] = {}
    for name, found in rates.items():
        for precision in precisions:
            ours = _engine_name(precision, *CONFIGURATIONS[0])
            engines = {"end_to_end": ours, **{r: _rule_name(precision, r) for r in RULES}}
            for who, engine in engines.items():
                for key, peer in (
                    ("pure", f"{PURE}, {precision}"),
                    ("recipe", f"{RECIPE}, f32"),
                    ("torch", f"{TORCH}, f32"),
                    ("all_clips", ours),
                ):
                    if peer in found and engine in found and peer != engine:
                        ratios[f"{who}_over_{key}/{name}/{precision}"] = ratio(found, engine, peer)
            if precision in ceilings:
                achieved = statistics.median(found[ours]) * counts[name]["shared"]
                ratios[f"of_ceiling/{name}/{precision}"] = achieved / ceilings[precision][0]
    return ratios


if __name__ == "__main__":
    main()
