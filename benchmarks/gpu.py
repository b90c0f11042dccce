"""The engine on a GPU against the network alone: ``python -m benchmarks.gpu``.

End to end, preprocessing included, on as many videos as HMDB51's test split has, of its lengths;
against pure inference of the whole network compiled by PyTorch (the faster of its two forms, at
its best batch), on clips that are on the GPU already; and against the engine with whole clips on
the wire. The same weights, interleaved in one run. Prints medians and ratios.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from engine.base.assets import DEMO

try:
    import torch
    from torch import Tensor
    from torch.nn import functional
except ImportError:
    raise SystemExit("gpu: PyTorch is not installed: pip install '.[torch]'") from None

from benchmarks import workloads
from benchmarks.measurement import Rates, engine_run, interleave, publish, ratio, table
from engine.base.choices import CLIPS, SHARED
from engine.base.constants import CLIP_SHAPE, VIEWS
from engine.network.models import open_model

_DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
_BATCHES = (2, 8)  # samples
_SECONDS = 1.0  # of a measurement of the network alone
_TEST_SPLIT = 1530  # videos
_CLIPS_SAMPLES = 96  # that the engine scores with whole clips on the wire


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--model", default=DEMO, help="as --model of engine.run")
    parser.add_argument("--precision", default="bf16", choices=_DTYPES)
    parser.add_argument("--device", default="cuda", help="as --device of engine.run")
    parser.add_argument("--samples", type=int, default=_TEST_SPLIT, metavar="N")
    parser.add_argument("--workers", type=int, metavar="N", help="as --workers of engine.run")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = _measured(args, Path(folder))
    print(table(results["rates"], "samples/s"))
    for key, value in results["ratios"].items():
        print(f"{key} {value:.3f}")
    print(f"on {results['device']}, PyTorch {torch.__version__}")
    publish(args.json, results)


def _measured(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    _, many = workloads.write(workloads.HMDB51_LIKE, args.samples, folder)
    (folder / "few").mkdir()
    _, few = workloads.write(workloads.HMDB51_LIKE, _CLIPS_SAMPLES, folder / "few")
    model = open_model(args.model).path
    summaries: dict[str, Any] = {}
    ours, whole, compiled = (
        f"engine, {args.precision}, shared, keypoints",
        f"engine, {args.precision}, clips, clips",
        f"torch.compile, {args.precision}, pure inference",
    )
    peer, form, forms = _compiled(model, args.precision, args.device)
    contestants = {
        ours: _engine(args, many, SHARED, "keypoints", summaries, ours),
        whole: _engine(args, few, CLIPS, "clips", summaries, whole),
        compiled: peer,
    }
    rates: Rates = interleave(contestants, args.rounds, warm_up=False)
    device = torch.device(args.device)
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "torch": torch.__version__,
        "compiled_form": form,
        "forms": forms,
        "samples": args.samples,
        "rounds": args.rounds,
        "seed": workloads.SEED,
        "rates": rates,
        "summaries": summaries,
        "ratios": {
            "end_to_end_over_compiled": ratio(rates, ours, compiled),
            "end_to_end_over_clips": ratio(rates, ours, whole),
        },
    }


def _engine(
    args: argparse.Namespace,
    data: Path,
    layout: str,
    wire: str,
    summaries: dict[str, Any],
    name: str,
) -> Callable[[], float]:
    """The rate of a run, as a user has it."""
    flags = [
        "--dataset",
        data,
        "--model",
        args.model,
        "--backend",
        "torch",
        "--device",
        args.device,
        "--precision",
        args.precision,
        "--layout",
        layout,
        "--wire",
        wire,
    ]
    if args.workers is not None:
        flags += ["--workers", args.workers]

    def measure() -> float:
        found = engine_run(flags)
        summaries[name] = {key: found[key] for key in ("startup_s", "pipeline")}
        return float(found["fps"])

    return measure


def _compiled(
    model: Path, precision: str, name: str
) -> tuple[Callable[[], float], str, dict[str, float]]:
    """The fastest form and batch of the compiled network: its measurement, which it is, and the
    rates of all."""
    device, dtype = torch.device(name), _DTYPES[precision]
    torch.backends.cudnn.benchmark = True
    found: dict[str, tuple[float, Callable[[], float]]] = {}
    for form in (_Volumes, _SideBySide):
        network = form(onnx.load(str(model)), device, dtype)
        forward = torch.compile(network.forward, dynamic=False)
        for batch in _BATCHES:
            clips = network.clips(batch)
            measure = _rate(forward, clips, batch)
            measure()  # compiles
            found[f"{form.__name__.strip('_')}, batch {batch}"] = measure(), measure
            print(f"{form.__name__}, batch {batch}: {measure():.1f} samples/s", file=sys.stderr)
    best = max(found, key=lambda key: found[key][0])
    return found[best][1], best, {name: rate for name, (rate, _) in found.items()}


def _rate(forward: Callable[[Tensor], Tensor], clips: Tensor, batch: int) -> Callable[[], float]:
    def measure() -> float:
        with torch.inference_mode():
            forward(clips)
            torch.cuda.synchronize()
            runs, start = 0, time.perf_counter()
            while (seconds := time.perf_counter() - start) < _SECONDS:
                for _ in range(4):
                    forward(clips)
                torch.cuda.synchronize()
                runs += 4
            return batch * runs / seconds

    return measure


class _Volumes:
    """The network by three-dimensional operators, as it is written, channels innermost."""

    _LAST = torch.channels_last_3d

    def __init__(self, model: onnx.ModelProto, device: torch.device, dtype: torch.dtype) -> None:
        self._nodes = [
            (
                node.op_type,
                list(node.input),
                node.output[0],
                {a.name: list(a.ints) for a in node.attribute},
            )
            for node in model.graph.node
        ]
        self._device, self._dtype = device, dtype
        self._weights = {
            tensor.name: self._prepared(torch.from_numpy(numpy_helper.to_array(tensor).copy()))
            for tensor in model.graph.initializer
        }

    def clips(self, samples: int) -> Tensor:
        """Clips of so many samples, of which nothing is known to be zero."""
        generator = torch.Generator(self._device).manual_seed(workloads.SEED)
        shape = (samples * VIEWS, *CLIP_SHAPE)
        clips = torch.rand(shape, generator=generator, device=self._device, dtype=self._dtype)
        return clips.to(memory_format=torch.channels_last_3d)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits."""
        known = dict(self._weights)
        for kind, inputs, output, about in self._nodes:
            x = known.get(inputs[0], clips)
            if kind == "Reshape":  # to clips, at the start, and to features, at the end
                known[output] = clips if x is clips else x.flatten(1)
            elif kind == "Conv":
                weight, bias = known[inputs[1]], known[inputs[2]]
                known[output] = self._convolved(x, weight, bias, about["strides"], clips)
            elif kind == "MaxPool":
                known[output] = self._pooled(x, about["strides"])
            elif kind == "GlobalAveragePool":
                known[output] = self._averaged(x, clips)
            elif kind == "Gemm":
                known[output] = functional.linear(x, known[inputs[1]], known[inputs[2]])
            else:
                known[output] = functional.relu(x) if kind == "Relu" else x + known[inputs[1]]
        return known[output]

    def _prepared(self, weight: Tensor) -> Tensor:
        if not weight.is_floating_point():
            return weight
        weight = weight.to(self._device, self._dtype)
        return weight.to(memory_format=self._LAST) if weight.ndim == 5 else weight

    def _convolved(
        self, x: Tensor, weight: Tensor, bias: Tensor, stride: list[int], clips: Tensor
    ) -> Tensor:
        padding = [n // 2 for n in weight.shape[2:]]
        return functional.conv3d(x, weight, bias, stride, padding)

    def _pooled(self, x: Tensor, stride: list[int]) -> Tensor:
        return functional.max_pool3d(x, (1, 3, 3), stride, (0, 1, 1))

    def _averaged(self, x: Tensor, clips: Tensor) -> Tensor:
        return x.mean(dim=(2, 3, 4))


class _SideBySide(_Volumes):
    """The same with frames side by side, so that all convolutions are two-dimensional: those in
    space of [clips * times, channels, height, width], those in time of
    [clips, channels, times, height * width]."""

    def clips(self, samples: int) -> Tensor:
        clips = super().clips(samples).transpose(1, 2).flatten(0, 1)
        return clips.contiguous(memory_format=torch.channels_last)

    def _convolved(
        self, x: Tensor, weight: Tensor, bias: Tensor, stride: list[int], clips: Tensor
    ) -> Tensor:
        times = CLIP_SHAPE[1] * len(x) // len(clips)
        if stride[0] > 1:
            x = x.unflatten(0, (-1, times))[:, :: stride[0]].flatten(0, 1)
        if weight.shape[2] == 1:
            half = weight.shape[-1] // 2
            return functional.conv2d(x, weight[:, :, 0], bias, stride[1:], half)
        size = x.shape[-1]
        rows = x.permute(0, 2, 3, 1).reshape(-1, times, size * size, x.shape[1])
        y = functional.conv2d(rows.permute(0, 3, 1, 2), weight[..., 0], bias, padding=(1, 0))
        return y.permute(0, 2, 3, 1).reshape(len(x), size, size, -1).permute(0, 3, 1, 2)

    def _pooled(self, x: Tensor, stride: list[int]) -> Tensor:
        return functional.max_pool2d(x, 3, stride[1:], 1)

    def _averaged(self, x: Tensor, clips: Tensor) -> Tensor:
        times = CLIP_SHAPE[1] * len(x) // len(clips)
        return x.mean(dim=(2, 3)).unflatten(0, (-1, times)).mean(dim=1)


if __name__ == "__main__":
    main()
