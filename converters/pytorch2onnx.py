"""Checkpoint to ONNX: the program behind ``python -m converters.pytorch2onnx``.

The arguments are those of mmaction2's ``tools/deployment/pytorch2onnx.py`` and of the
published NPU recipe, so that their command lines work after the program's name is
changed. The graph is built from the checkpoint's tensors; mmaction2 is needed only for
``--via mmaction2``, which exports through it in a Python of its own.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx

from converters.architectures import read_network
from converters.checkpoint import read_checkpoint
from converters.config import files_of
from converters.evaluation import evaluation_of
from converters.graph import DEFAULT_INPUT, DYNAMIC, OPSET, build_clips, select_weights
from converters.network import Architecture
from converters.old_python import run_script
from converters.output import exit_code, proven
from converters.verification import TOLERANCE, difference, example_clip, run_checkpoint, run_onnx
from engine.base.assets import file_sha256
from engine.base.command_parser import CommandParser
from engine.base.errors import ModelError, UsageError
from engine.base.files import write_json
from engine.base.published import CHECKPOINTS, Benchmark, config_of, read_class_names
from engine.network.models import MAX_BATCH


def main(argv: Sequence[str] | None = None) -> int:
    """Convert, verify, write. Returns the exit code."""
    args = _parser().parse_args(argv)
    logging.basicConfig(format="pytorch2onnx: %(message)s")
    return exit_code("pytorch2onnx", lambda: _convert(args))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m converters.pytorch2onnx",
        description="Convert a PoseC3D checkpoint (mmaction2) to ONNX and prove the result.",
    )
    parser.add_argument(
        "config",
        help="config file of mmaction2 or pyskl, or the name of a published checkpoint "
        "(python -m engine.run --list); a path where there is no file counts by its last part",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint file (.pth)")
    parser.add_argument(
        "--output-file",
        type=Path,
        default=Path("tmp.onnx"),
        metavar="FILE.onnx",
        help="file to write, none of those that are read (default: %(default)s)",
    )
    parser.add_argument(
        "--shape",
        type=int,
        nargs="+",
        metavar="N",
        help="input shape, BS 20 17 48 56 56 for HMDB51; BS -1 (default) leaves the batch free",
    )
    parser.add_argument(
        "--input-name", default=DEFAULT_INPUT, help="name of the input (default: %(default)s)"
    )
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="class names, one a line (default: those of the published data set that the config "
        "tests on, if it has as many; else class_0, class_1, …)",
    )
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"compare the file with an independent computation; a relative difference over "
        f"{TOLERANCE:g} is an error (default: on)",
    )
    parser.add_argument(
        "--sources",
        type=Path,
        metavar="FILE.json",
        help="write the SHA-256 of the checkpoint and of the config files that were read to FILE",
    )
    parser.add_argument("--show", action="store_true", help="print the graph")
    parser.add_argument("--opset-version", type=int, default=OPSET, choices=[OPSET])
    parser.add_argument(
        "--via",
        choices=["mmaction2"],
        help="export through mmaction2 0.24.1 and torch instead of building the graph here",
    )
    parser.add_argument(
        "--python", metavar="PATH", help="the Python that has mmaction2 (with --via mmaction2)"
    )
    for flag, reason in (
        ("--softmax", "the engine averages the softmax of each clip itself and needs raw logits"),
        ("--is-localizer", "PoseC3D is a recognizer"),
    ):
        parser.add_argument(flag, action=_Refused, nargs=0, const=reason, help=argparse.SUPPRESS)
    return parser


class _Refused(argparse.Action):
    """An argument of the original program that makes no sense here."""

    def __call__(
        self, parser: argparse.ArgumentParser, *unused: object, **also_unused: object
    ) -> None:
        parser.error(f"{self.option_strings[0]} is not supported: {self.const}")


def _convert(args: argparse.Namespace) -> None:
    if (args.via is None) != (args.python is None):
        raise UsageError("--via mmaction2 and --python PATH go together")
    args.config = config_of(args.config)
    _check_outputs(args)
    arch, recipe = read_network(args.config)
    shape = [recipe.views, *recipe.clip_shape]
    batch, *rest = args.shape or [DYNAMIC, *shape]
    if rest != shape or not (batch == DYNAMIC or 1 <= batch <= MAX_BATCH):
        wanted = " ".join(map(str, shape))
        raise UsageError(f"--shape {' '.join(map(str, args.shape))}: expected BS {wanted}")
    tested = evaluation_of(args.config)
    classes = _class_names(args.classes, arch, tested.benchmark)
    checkpoint = read_checkpoint(args.checkpoint)
    weights = select_weights(arch, checkpoint.state_dict)
    model = build_clips(
        arch,
        weights,
        recipe=recipe,
        batch=batch,
        classes=classes,
        source_sha256=checkpoint.sha256,
        split=tested.split,
        input_name=args.input_name,
    )
    if args.via:
        model = _export_via_mmaction2(args, batch, metadata=model)
    if args.show:
        print(onnx.printer.to_text(model.graph))

    with proven(args.output_file) as part:
        part.write_bytes(model.SerializeToString())
        if args.verify:
            clip = example_clip(recipe)
            expected, by = run_checkpoint(arch, weights, clip)
            found = difference(run_onnx(part, clip), expected)
            if not found <= TOLERANCE:
                raise ModelError(
                    f"{args.output_file} not written: its logits differ from {by} by {found:.2e} "
                    f"(relative; allowed {TOLERANCE:g})"
                )
            print(f"verified against {by}: largest relative difference {found:.1e}")
    if args.sources is not None:
        configs = {str(path): file_sha256(path) for path in _configs(args)}
        write_json(args.sources, {"checkpoint": checkpoint.sha256, "config": configs})
    print(f"wrote {args.output_file}")


def _configs(args: argparse.Namespace) -> list[Path]:
    return [] if args.config in CHECKPOINTS else files_of(Path(args.config))


def _check_outputs(args: argparse.Namespace) -> None:
    """Raise `UsageError` where a file that is read would be written over."""
    if args.output_file.suffix != ".onnx":
        raise UsageError(f"--output-file {args.output_file}: must end in .onnx")
    config = Path(args.config)
    read = [args.checkpoint, args.classes, *(_configs(args) if config.is_file() else [])]
    for flag, path in (("--output-file", args.output_file), ("--sources", args.sources)):
        for one in read:
            if path and one and path.exists() and one.exists() and path.samefile(one):
                raise UsageError(f"{flag} {path} is a file that is to be read; name another")


def _class_names(
    path: Path | None, arch: Architecture, benchmark: Benchmark | None
) -> Sequence[str]:
    if path is not None:
        return read_class_names(path, arch.num_classes)
    if benchmark is not None and benchmark.count == arch.num_classes:
        return benchmark.classes
    return [f"class_{i}" for i in range(arch.num_classes)]


def _export_via_mmaction2(
    args: argparse.Namespace, batch: int, metadata: onnx.ModelProto
) -> onnx.ModelProto:
    """The same file as mmaction2's own export gives it, with our metadata."""
    if batch == DYNAMIC:
        raise UsageError("--via mmaction2 exports a fixed batch: give --shape BS 20 17 48 56 56")
    if not Path(args.config).is_file():
        raise UsageError("--via mmaction2 needs a config file, not a name")
    with tempfile.TemporaryDirectory(prefix="posec3d-") as folder:
        exported = Path(folder) / "exported.onnx"
        run_script(
            args.python,
            "mmaction2_export.py",
            args.config,
            args.checkpoint,
            exported,
            "--batch",
            batch,
            "--input-name",
            args.input_name,
        )
        model = onnx.load(str(exported))
    model.metadata_props.extend(metadata.metadata_props)
    return model


if __name__ == "__main__":
    sys.exit(main())
