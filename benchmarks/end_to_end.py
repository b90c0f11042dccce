"""End to end against pure inference: ``python -m benchmarks.end_to_end``.

The engine as a user runs it, preprocessing included, in its layouts, against nothing but the
unmodified network on the same runtime, precision and machine: ready clips, no preprocessing, as
OpenVINO's own benchmark tool measures. Interleaved; prints medians and ratios.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov

from benchmarks import workloads
from benchmarks.measurement import interleave, publish, ratio, table
from engine import demo, machine
from engine.backends.openvino import executed_precision
from engine.constants import CLIP_SHAPE, VIEWS
from engine.errors import UsageError
from engine.models import CLIPS, SHARED, open_model
from engine.options import Options
from engine.pipeline import Pipeline

PURE = "pure inference"
_PURE_SAMPLES = 8  # the network costs the same whatever the video's length


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__)
    parser.add_argument("--workload", nargs="+", default=[workloads.HMDB51_LIKE, demo.NAME],
                        help="hmdb51_like, demo, or annotation files")  # fmt: skip
    parser.add_argument("--model", default=demo.NAME)
    parser.add_argument("--precision", nargs="+", default=["f32", "bf16"])
    parser.add_argument("--layout", nargs="+", default=[SHARED, CLIPS])
    parser.add_argument("--samples", type=int, help="evenly spaced ones of each (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="6 samples, 1 round, default layout")
    args = parser.parse_args()
    if args.quick:
        args.samples, args.rounds, args.layout = 6, 1, [SHARED]
    rates, ratios = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for workload in args.workload:
            name, path = workloads.write(workload, args.samples, Path(folder))
            for precision in args.precision:
                contestants = {
                    f"engine, layout {layout}": _engine(path, args.model, precision, layout)
                    for layout in args.layout
                }
                contestants[PURE] = _pure(args.model, precision)
                found = interleave(contestants, args.rounds)
                rates[f"{name}/{precision}"] = found
                print(table(found, f"samples/s, {name}, {precision}"), flush=True)
                for layout in args.layout:
                    value = ratio(found, f"engine, layout {layout}", PURE)
                    ratios[f"end_to_end_over_pure/{name}/{precision}/{layout}"] = value
    for key, value in ratios.items():
        print(f"{key} {value:.3f} (median of {args.rounds} paired ratios)")
    seeds = {workloads.HMDB51_LIKE: workloads.SEED}
    publish(args.json, {"ratios": ratios, "rates": rates, "seeds": seeds})


def _engine(path: Path, model: str, precision: str, layout: str) -> Callable[[], float]:
    options = Options(dataset=str(path), model=model, precision=precision, layout=layout)

    def measure() -> float:
        with Pipeline(options) as pipeline:
            start = time.monotonic()
            count = sum(1 for _ in pipeline)
            return count / (time.monotonic() - start)

    return measure


def _pure(model: str, precision: str) -> Callable[[], float]:
    """The whole network, clip by clip: the faster of the runtime's own choice for throughput
    and one stream of all threads."""
    choices: list[dict[str, object]] = [{"PERFORMANCE_HINT": "THROUGHPUT"}, {"NUM_STREAMS": 1}]
    found = [_pure_with(model, precision, choice) for choice in choices]
    return max(found, key=lambda measure: measure())


def _pure_with(model: str, precision: str, choice: dict[str, object]) -> Callable[[], float]:
    core = ov.Core()
    network = core.read_model(open_model(model).path)
    network.reshape([1, 1, *CLIP_SHAPE])
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": machine.cores()}
    compiled = core.compile_model(network, "CPU", {**settings, **choice})
    if executed_precision(compiled) != precision:
        raise UsageError(f"OpenVINO executes {executed_precision(compiled)}, not {precision}")
    queue = ov.AsyncInferQueue(compiled, int(compiled.get_property("NUM_STREAMS")) + 1)
    clip = np.random.default_rng(0).random((1, 1, *CLIP_SHAPE), np.float32)
    for request in queue:
        request.set_input_tensor(ov.Tensor(clip.copy()))

    def measure() -> float:
        start = time.monotonic()
        for _ in range(_PURE_SAMPLES * VIEWS):
            queue.start_async()
        queue.wait_all()
        return _PURE_SAMPLES / (time.monotonic() - start)

    return measure


if __name__ == "__main__":
    main()
