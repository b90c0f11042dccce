"""Post-training quantisation: the program behind ``python -m converters.quantize``.

Comes in: a float model and annotations. Goes out: an ONNX file of the same interface that
computes in int8, with its scales stored as QuantizeLinear and DequantizeLinear. NNCF
(``pip install '.[quantize]'``) chooses the scales from clips of a calibration split; what they
cost in accuracy is measured on a held-out split by the engine itself, and a file that loses
more than allowed is not written. What it costs is in the file's metadata.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import version_converter

from converters.output import exit_code, proven
from engine.base.assets import DEMO
from engine.base.choices import Precision
from engine.base.command_parser import CommandParser
from engine.base.errors import DatasetError, EngineError, SampleError, UsageError
from engine.base.options import Options
from engine.base.progress import SampleProgress
from engine.base.published import other_classes
from engine.base.recipe import Recipe
from engine.base.records import Prediction
from engine.base.signals import INTERRUPTIONS
from engine.network.models import open_model
from engine.outputs import accuracy
from engine.pipeline import Pipeline
from engine.skeletons.clips import HeatmapClips, decode
from engine.skeletons.samples import Sample
from engine.sources.dataset import open_dataset

OPSET = 13  # the first with a scale for each channel of a kernel

OneClip = tuple[HeatmapClips, int]  # the clips of a video, and which of the twenty


def main(argv: Sequence[str] | None = None) -> int:
    """Calibrate, quantise, measure, write. Returns the exit code: 1 where it loses too much."""
    args = _parser().parse_args(argv)
    return exit_code("quantize", lambda: _quantise(args))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m converters.quantize",
        description="Quantise a PoseC3D to int8 and measure what that costs in accuracy. Needs "
        "NNCF: pip install '.[quantize]'. Exit code 1: it costs more than allowed.",
    )
    parser.add_argument("model", help="as --model of engine.run, of float weights")
    parser.add_argument("--config", metavar="NAME|PATH", help="as --config of engine.run")
    parser.add_argument("--dataset", required=True, help="as --dataset of engine.run")
    parser.add_argument("--output-file", type=Path, required=True, metavar="FILE.onnx")
    parser.add_argument(
        "--calibrate",
        default="train1",
        metavar="SPLIT",
        help="split that the scales are chosen from (default: %(default)s; the demo has train)",
    )
    parser.add_argument(
        "--clips",
        type=int,
        default=64,
        metavar="N",
        help="clips to choose them from, each of another video (default: %(default)s)",
    )
    parser.add_argument(
        "--split",
        default="test1",
        metavar="SPLIT",
        help="held-out split to measure on (default: %(default)s)",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="first samples of it to measure on (default: all)"
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        default=2.0,
        metavar="POINTS",
        help="top-1 that may be lost, percentage points (default: %(default)s)",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        default=97.0,
        metavar="PERCENT",
        help="samples that must keep their best class (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the choice of clips (default: %(default)s)"
    )
    return parser


def _quantise(args: argparse.Namespace) -> None:
    if args.output_file.suffix != ".onnx":
        raise UsageError(f"--output-file {args.output_file}: must end in .onnx")
    if args.clips < 1 or (args.limit is not None and args.limit < 1):
        raise UsageError("--clips and --limit must be at least 1")
    model = open_model(args.model, config=args.config)
    if model.precision != "f32":
        raise UsageError(f"{model.path} is {model.precision}; only float32 files are quantised")
    if args.output_file.exists() and args.output_file.samefile(model.path):
        raise UsageError(f"--output-file {args.output_file} is the model that is to be read")
    if (differs := other_classes(args.dataset, model.classes)) is not None:
        raise UsageError(f"{differs}: --dataset needs the model's classes to measure a loss")
    chosen, held_out = _splits(args)
    with proven(args.output_file) as part:
        clips = _clips(chosen, len(model.classes), model.recipe, args.seed)
        print(f"choosing scales from {len(clips)} clips of split {args.calibrate}", flush=True)
        quantised = quantise(onnx.load_model_from_string(model.content()), clips)
        about = {"calibration": args.calibrate, "clips": len(clips), "seed": args.seed}
        entry = quantised.metadata_props.add()
        entry.key, entry.value = "quantisation", json.dumps(about)
        part.write_bytes(quantised.SerializeToString())
        before = _measure(args, str(model.path), "f32", held_out)
        after = _measure(args, str(part), "int8", held_out)
        print(f"{'':6}{'top1_acc':>10}{'top5_acc':>10}   split {args.split}, {held_out} samples")
        for name, found in (("f32", before), ("int8", after)):
            print(f"{name:6}{found.top1:10.4f}{found.top5:10.4f}")
        agreement = 100 * before.agreement(after)
        print(f"the same best class in {agreement:.1f} % of the samples")
        loss = 100 * (before.top1 - after.top1)  # NaN of samples without labels
        if loss > args.max_loss or not agreement >= args.min_agreement:
            raise EngineError(
                f"{args.output_file} not written: int8 loses {loss:.1f} points of top-1 "
                f"(allowed {args.max_loss:g}) and keeps {agreement:.1f} % of the best classes "
                f"(needed {args.min_agreement:g}); more --clips, or another --calibrate, may help"
            )
        gate = {
            "split": args.split,
            "samples": held_out,
            "loss": None if np.isnan(loss) else round(loss, 3),
            "max_loss": args.max_loss,
            "agreement": round(agreement, 3),
            "min_agreement": args.min_agreement,
        }
        entry.value = json.dumps({**about, "gate": gate})
        part.write_bytes(quantised.SerializeToString())
    print(f"wrote {args.output_file}: run it with --precision int8")


def _splits(args: argparse.Namespace) -> tuple[list[Sample], int]:
    """The videos to calibrate with, and how many there are to measure on."""
    held_out = open_dataset(args.dataset, split=args.split).samples
    # the demo's train split has no end
    limit = args.clips if args.dataset == DEMO else None
    candidates = open_dataset(args.dataset, split=args.calibrate, limit=limit).samples
    known = {sample.id for sample in held_out}
    if shared := [sample.id for sample in candidates if sample.id in known]:
        raise DatasetError(
            f"{args.dataset}: splits {args.calibrate} and {args.split} share {len(shared)} samples "
            f"({shared[0]}, …); accuracy is measured on videos that nothing was chosen from"
        )
    order = np.random.default_rng(args.seed).permutation(len(candidates))
    return [candidates[i] for i in order[: args.clips]], len(held_out[: args.limit])


def _clips(samples: Sequence[Sample], classes: int, recipe: Recipe, seed: int) -> list[OneClip]:
    """One clip of each sample; which of its views is drawn."""
    views = np.random.default_rng(seed).integers(recipe.views, size=len(samples))
    found: list[OneClip] = []
    for sample, view in zip(samples, views, strict=True):
        try:
            found.append((decode(sample.poses(classes, recipe), recipe), int(view)))
        except SampleError as error:
            print(f"left out: {sample.id}: {error}", file=sys.stderr)
    if not found:
        raise DatasetError("none of the videos to calibrate with can be used")
    return found


def quantise(model: onnx.ModelProto, clips: Sequence[OneClip]) -> onnx.ModelProto:
    """The same network in int8: weights a scale an output channel, activations one a tensor.

    `clips` are what the scales are chosen from. Raises `UsageError` where NNCF is not installed.
    """
    try:
        import nncf
        import onnxruntime  # noqa: F401  NNCF runs the network with it
    except ImportError as error:
        raise UsageError(f"{error}; quantisation needs NNCF: pip install '.[quantize]'") from None

    free = version_converter.convert_version(model, OPSET)
    name = free.graph.input[0].name
    # One clip at a time: twenty are the same network again and twenty times the memory.
    batch, views, rows = _counts(free)
    batch.dim_value = views.dim_value = 1
    rows.dim_param = "clips"
    del free.graph.value_info[:]  # shapes of the file's own batch

    def tensor(chosen: OneClip) -> dict[str, NDArray[np.float32]]:
        out = np.empty((1, 1, *chosen[0].shape), np.float32)
        chosen[0].write(chosen[1], out[0])
        return {name: out}

    quantised: onnx.ModelProto = nncf.quantize(
        free,
        nncf.Dataset(clips, tensor),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(clips),
    )
    for count, original in zip(_counts(quantised), _counts(model), strict=True):
        count.CopyFrom(original)
    del quantised.graph.value_info[:]  # shapes of one clip
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    return quantised


def _counts(model: onnx.ModelProto) -> list[Any]:
    """Where a file says how many samples and views go in, and how many clips come out."""
    [data], [logits] = model.graph.input, model.graph.output
    return [*data.type.tensor_type.shape.dim[:2], logits.type.tensor_type.shape.dim[0]]


@dataclass(frozen=True, eq=False)
class _Accuracy:
    """Of the samples that have labels; `best`: the best class of every sample by its id."""

    top1: float
    top5: float
    best: dict[str, int]

    def agreement(self, other: _Accuracy) -> float:
        """Share of the samples whose best class is the same."""
        same = [self.best[name] == other.best.get(name) for name in self.best]
        return float(np.mean(same)) if same else 0.0


def _measure(args: argparse.Namespace, path: str, precision: Precision, count: int) -> _Accuracy:
    """Run the held-out split."""
    options = Options(
        dataset=args.dataset, split=args.split, limit=args.limit, model=path, precision=precision
    )
    found: list[Prediction] = []
    with Pipeline(options) as pipeline, SampleProgress(precision, count) as progress:
        for done, record in enumerate(pipeline, 1):
            progress.update(done)
            if isinstance(record, Prediction):
                found.append(record)
            else:
                print(f"left out: {record.id}: {record.message}", file=sys.stderr)
    labelled: list[Any] = [p for p in found if p.label is not None]
    scores = np.array([p.scores for p in labelled])
    labels = [p.label for p in labelled]
    return _Accuracy(
        accuracy.top_k_accuracy(scores, labels, 1),
        accuracy.top_k_accuracy(scores, labels, 5),
        {p.id: int(p.scores.argmax()) for p in found},
    )


if __name__ == "__main__":
    for interruption in INTERRUPTIONS:  # all of them clean up
        signal.signal(interruption, signal.default_int_handler)
    sys.exit(main())
