"""Static: one graph of every context against the parts that it is made of, and whole clips.

    python -m benchmarks.static --dataset hmdb51_like --model demo --samples 4

On this CPU, in OpenVINO and in ONNX Runtime: samples/s of the network alone, in rounds that take
turns. Beside it by how much the logits differ from those of whole clips.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import untrained, workloads
from benchmarks.measurement import common_arguments, interleave, publish, ratio, table
from converters.one_graph import chain_of, write_graph
from engine.backends import registry
from engine.base import host
from engine.base.choices import CLIPS, SHARED
from engine.network import buckets
from engine.network.models import ModelFile, open_model
from engine.network.recogniser import infer
from engine.network.runners.base import Runner
from engine.network.runners.opening import open_runner
from engine.skeletons.clips import Clips, decode
from engine.skeletons.poses import PoseSequence

_RUNTIMES = ("openvino", "onnxruntime")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.static", description=__doc__.splitlines()[0]
    )
    common_arguments(parser)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = open_model(untrained.resolve(args.model, folder))
        _, data = workloads.write(args.dataset, args.samples, folder)
        samples = [
            decode(PoseSequence.from_annotation(one, model.recipe), model.recipe)
            for one in pickle.loads(data.read_bytes())
        ]
        ways = {
            "whole clips": model.with_layout(CLIPS, whole_clips=False),
            "parts": model.with_layout(SHARED, whole_clips=False),
            "static": static(model, folder),
        }
        runners = {
            f"{runtime}, {way}": opened(runtime, file, args.precision)
            for runtime in _RUNTIMES
            for way, file in ways.items()
        }
        logits = {way: list(infer(runner, samples)) for way, runner in runners.items()}
        measured: dict[str, Callable[[], float]] = {
            way: partial(rate, runner, samples) for way, runner in runners.items()
        }
        rates = interleave(measured, args.rounds, warm_up=False)
        for runner in runners.values():
            runner.close()
    print(table(rates, f"samples/s of the network, {len(samples)} of {args.dataset}"))
    errors = {}
    for runtime in _RUNTIMES:
        whole, parts, one = (f"{runtime}, {way}" for way in ways)
        errors[runtime] = max(
            float(np.abs(found - exact).max() / np.abs(exact).max())
            for found, exact in zip(logits[one], logits[whole], strict=True)
        )
        print(
            f"{runtime}: static {ratio(rates, one, parts):.2f} of parts, "
            f"{ratio(rates, one, whole):.2f} of whole clips; logits differ by "
            f"{errors[runtime]:.1e} of the largest"
        )
    medians = {way: statistics.median(found) for way, found in rates.items()}
    publish(args.json, {"rates": rates, "medians": medians, "errors": errors})
    return 0


def static(model: ModelFile, folder: Path) -> ModelFile:
    """The static files of a model, in the sizes that are made by default."""
    chain, paths = chain_of(model), []
    for unique in buckets.default(model.recipe):
        paths.append(folder / f"u{unique}.onnx")
        write_graph(paths[-1], chain, model, buckets.rows(unique, model.recipe, chain.strides))
    return open_model(",".join(map(str, paths)))


def opened(runtime: str, model: ModelFile, precision: str) -> Runner:
    """A runner of a model on all cores."""
    [known] = [one for one in registry.candidates(model) if one == precision]
    backend = registry.load(runtime, model, device=None, precision=known, threads=host.cores())
    return open_runner(backend, model, model.recipe)


def rate(runner: Runner, samples: Sequence[Clips]) -> float:
    """Samples/s."""
    start = time.perf_counter()
    for _ in infer(runner, samples):
        pass
    return len(samples) / (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
