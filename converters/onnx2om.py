"""ONNX to OM: the program behind ``python -m converters.onnx2om``.

Composes the command lines of CANN's compiler ``atc``, runs them and writes ``NAME.om.json`` beside
each OM, since an OM itself tells nobody what it takes. For a file of a fixed batch the command is
the published recipe's.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from converters.output import exit_code
from engine.backends.ascend import npus
from engine.base import assets
from engine.base.choices import CLIPS, LAYOUTS, SHARED
from engine.base.errors import ModelError, UsageError
from engine.base.files import write_atomically
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.network.cuts import FRAMES, PLAN, Cuts
from engine.network.metadata import recipe_to_file
from engine.network.models import SLOWONLY, ModelFile, open_model
from engine.network.om import SUFFIX, Description, Interface, parse_gears, unfit_characters

DEFAULT_BATCH = 8  # samples; the published figures are best there, and 16 has not the memory
_UNIQUE = (64, 96, 160)  # distinct frames; few videos pass from one to the next
_EXACT = ("force_fp32", "must_keep_origin_dtype")  # of atc's precision modes
_EXACT_V2 = ("--precision_mode_v2=origin",)
_MOST_GEARS = 100  # of atc's
_MOST_OF_A_GEAR = 4096  # of aclruntime's


@dataclass(frozen=True)
class Compilation:
    """One call of atc. `gears`: samples, or frames in layout ``shared``; several are compiled
    into one graph."""

    onnx: Path
    output: Path  # without .om
    shapes: Mapping[str, Sequence[int]]
    gears: tuple[int, ...]
    soc_version: str
    fp16_inputs: bool
    precision_mode: str | None
    more: tuple[str, ...]  # options of atc, as the user gave them

    @property
    def command(self) -> list[str]:
        """The command line."""
        shapes = [f"{name}:{','.join(map(str, shape))}" for name, shape in self.shapes.items()]
        words = [
            "atc",
            "--framework=5",  # ONNX
            f"--model={self.onnx}",
            f"--output={self.output}",
            "--input_format=ND",
            f"--input_shape={';'.join(shapes)}",
            f"--soc_version={self.soc_version}",
            "--log=error",
        ]
        if len(self.gears) > 1:
            words.append(f"--dynamic_batch_size={','.join(map(str, self.gears))}")
        if self.fp16_inputs:
            words.append(f"--input_fp16_nodes={next(iter(self.shapes))}")
        if self.precision_mode:
            words.append(f"--precision_mode={self.precision_mode}")
        return [*words, *self.more]

    @property
    def precision(self) -> str:
        """What the convolutions run in. A 310P knows fp16 only, whatever it is told."""
        exact = self.precision_mode in _EXACT or any(option in self.more for option in _EXACT_V2)
        return "f32" if exact and "310P" not in self.soc_version else "f16"

    def describe(self, om: Path, model: ModelFile, layout: str) -> None:
        """Write what is known of an OM beside it."""
        Description(
            layout=layout,
            gears=self.gears,
            geared=len(self.gears) > 1,
            dtype="float16" if self.fp16_inputs else "float32",
            precision=self.precision,
            classes=model.classes,
            preprocessing=recipe_to_file(model.recipe),
            soc_version=self.soc_version,
            sha256=assets.file_sha256(om),
            network=None if model.network == SLOWONLY else model.network,
            split=model.split,
            published=None if model.published is None else model.published.name,
        ).write(om)
        print(f"wrote {om}.json")


def main(argv: Sequence[str] | None = None) -> int:
    """Compose, compile, describe. Returns the exit code."""
    args = _parser().parse_args(argv)
    return exit_code("onnx2om", lambda: _run(args), "interrupted", printed=args.dry_run)


def default_unique(recipe: Recipe) -> list[int]:
    """Distinct frames to compile for: a few sizes, and the most that a video has."""
    most = recipe.clips * recipe.length
    return [unique for unique in _UNIQUE if unique < most] + [most]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m converters.onnx2om",
        description="Compile a PoseC3D network for an Ascend NPU with CANN's atc.",
    )
    parser.add_argument("model", help="an .onnx file, or what else --model of engine.run takes")
    parser.add_argument("--config", metavar="NAME|PATH", help="as --config of engine.run")
    parser.add_argument(
        "--layout",
        default=CLIPS,
        choices=LAYOUTS,
        help="clips: the interface of the published OM, 205 MB a sample; shared: distinct frames "
        "and a plan, a fifth of that and a third less work (default: %(default)s)",
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--batch",
        metavar="N,N,…",
        help=f"layout clips: a static file for each number of samples "
        f"(default: that of the .onnx, or {DEFAULT_BATCH})",
    )
    sizes.add_argument(
        "--unique",
        metavar="U,U,…",
        help="layout shared: a static file for each number of "
        "distinct frames of a video (default: "
        f"{','.join(map(str, default_unique(HMDB51_RECIPE)))} for ten clips of 48 frames)",
    )
    sizes.add_argument(
        "--gears",
        metavar="N,N,…",
        help="one file for all these numbers; reserves the memory of the largest",
    )
    parser.add_argument(
        "--soc-version",
        type=npus.soc_version,
        metavar="NAME",
        help="the chip, such as Ascend310P3 or 310P3 (default: what npu-smi info shows)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="NAME",
        help="name of the OM files (default: the model's, here)",
    )
    parser.add_argument(
        "--fp16-inputs",
        action="store_true",
        help="the first input is float16: half the bytes to copy",
    )
    parser.add_argument(
        "--precision-mode", metavar="MODE", help="atc's --precision_mode (its default: force_fp16)"
    )
    parser.add_argument(
        "--atc",
        action="append",
        default=[],
        metavar="=--OPTION=VALUE",
        help="a further option of atc",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the command lines, and compile nothing; of layout shared the .onnx that they "
        "name is written, too",
    )
    parser.add_argument(
        "--describe",
        type=Path,
        metavar="FILE.om",
        help="write FILE.om.json for a file that exists; compile none",
    )
    return parser


def _run(args: argparse.Namespace) -> None:
    model = open_model(args.model, config=args.config)
    if model.compiled:
        raise UsageError(f"{args.model} is compiled already")
    if model.precision == "int8":
        raise UsageError(f"{args.model} is quantised for CPUs; atc takes files of AMCT's for int8")
    jobs = _compilations(args, model)
    if args.describe is not None:
        if len(jobs) > 1 or not args.describe.is_file():
            raise UsageError(
                f"--describe {args.describe}: one OM that exists, of one size or of --gears"
            )
        jobs[0].describe(args.describe, model, args.layout)
        return
    if not args.dry_run:
        _check_environment()
    if args.layout == SHARED:  # what the commands are about, on another host as well
        graph = _planned(model).SerializeToString()
        write_atomically(jobs[0].onnx, lambda target: target.write(graph))
        print(f"wrote {jobs[0].onnx}", file=sys.stderr)
    if args.dry_run:
        for job in jobs:
            print(shlex.join(job.command))
        return
    for number, job in enumerate(jobs, 1):
        print(
            f"compiling {job.output.name} ({number} of {len(jobs)}):\n{shlex.join(job.command)}",
            flush=True,
        )
        start = time.monotonic()
        om = _compile(job)
        print(f"wrote {om} after {time.monotonic() - start:.0f} s")
        job.describe(om, model, args.layout)


def _compilations(args: argparse.Namespace, model: ModelFile) -> list[Compilation]:
    """The calls of atc that were asked for."""
    stem = args.output or Path(Path(args.model).stem)
    if stem.suffix == SUFFIX:
        stem = stem.with_suffix("")
    if not stem.absolute().parent.is_dir():
        raise UsageError(f"--output {stem}: there is no folder {stem.absolute().parent}")
    if unfit := unfit_characters(stem.resolve()):
        raise UsageError(
            f"--output {stem.resolve()}: the runtime takes letters, digits and _ . / - in a path "
            f"only, not {unfit}"
        )
    soc_version = args.soc_version or _soc_version()
    interface = Interface(args.layout, model.recipe)
    onnx = Path(args.model) if Path(args.model) == model.path else model.path
    if interface.whole:
        names, (sizes, named) = [model.input_name], _samples(args, model)
        prefix = "_bs"
    else:
        names, (sizes, named) = [FRAMES, PLAN], (_frames(args, model, interface), True)
        prefix = "_u"
        stem = stem.with_name(f"{stem.name}_shared")
        onnx = stem.with_name(f"{stem.name}.onnx")
    jobs = []
    for gears in sizes:
        geared = len(gears) > 1
        shapes = interface.inputs(-1 if geared else gears[0])
        name = "_dyn" if geared else f"{prefix}{gears[0] // interface.unit}"
        output = stem.with_name(f"{stem.name}{name}") if named else stem
        jobs.append(
            Compilation(
                onnx,
                output,
                dict(zip(names, shapes, strict=True)),
                gears,
                soc_version,
                args.fp16_inputs,
                args.precision_mode,
                tuple(args.atc),
            )
        )
    return jobs


def _samples(args: argparse.Namespace, model: ModelFile) -> tuple[list[tuple[int, ...]], bool]:
    """Gears of each file, and whether they are to be in its name."""
    if args.unique:
        raise UsageError("--unique is for --layout shared; --batch or --gears count samples")
    if model.batch is not None:
        if args.gears or args.batch not in (None, str(model.batch)):
            raise UsageError(
                f"{model.path} has a fixed batch of {model.batch}: export it with "
                "the batch left free"
            )
        return [(model.batch,)], False
    if args.gears:
        return [_several(args.gears)], True
    batches = parse_gears(args.batch, "--batch") if args.batch else (DEFAULT_BATCH,)
    return [(batch,) for batch in batches], True


def _frames(
    args: argparse.Namespace, model: ModelFile, interface: Interface
) -> list[tuple[int, ...]]:
    """As `_samples`, in frames: each distinct one, and its flipped twin where there is one."""
    if args.batch:
        raise UsageError("--batch is for --layout clips; --unique or --gears count frames")
    if model.batch is not None:
        raise UsageError(f"{model.path} has a fixed batch; layout shared needs it free")
    *_, most = uniques = default_unique(model.recipe)
    unit = interface.unit
    if args.gears:
        several = _several(args.gears, min(most, _MOST_OF_A_GEAR // unit))
        return [tuple(unit * unique for unique in several)]
    if args.unique:
        uniques = list(parse_gears(args.unique, "--unique", most))
    return [(unit * unique,) for unique in uniques]


def _several(text: str, most: int = _MOST_OF_A_GEAR) -> tuple[int, ...]:
    gears = parse_gears(text, "--gears", most)
    if not 2 <= len(gears) <= _MOST_GEARS:
        raise UsageError(
            f"--gears {text}: 2 to {_MOST_GEARS} of them; --batch or --unique make a static file"
        )
    return gears


def _planned(model: ModelFile) -> ModelProto:
    """The graph of layout ``shared``."""
    try:
        return Cuts.of(model.content()).planned()
    except ModelError as error:
        raise ModelError(f"{model.path}: {error}; --layout clips takes any") from None


def _soc_version() -> str:
    found = npus.npu_smi()[0]
    if not found:
        raise UsageError(
            "no NPU here tells what to compile for; give --soc-version, the chip's name in "
            "npu-smi info, such as 310P3"
        )
    return found[0].soc_version


def _check_environment() -> None:
    """Raise `UsageError` where atc cannot run."""
    if shutil.which("atc") is not None:
        return
    home, _ = npus.toolkit({})
    if home is None:
        raise UsageError(
            "there is no atc here: it comes with CANN's toolkit (python -m engine.doctor); "
            "--dry-run prints the commands for another host"
        )
    folder = home.parent if home.name == "latest" else home
    raise UsageError(f"atc is not on PATH: source {folder}/set_env.sh first")


def _compile(job: Compilation) -> Path:
    """Run atc. Returns the OM, whose name may have the host's platform in it."""
    names = [
        job.output.with_name(f"{job.output.name}{suffix}{SUFFIX}")
        for suffix in ("", "_linux_x86_64", "_linux_aarch64")
    ]
    before = {name: name.stat().st_mtime_ns for name in names if name.exists()}
    code = subprocess.run(job.command, check=False).returncode
    if code:
        raise ModelError(f"atc ended with exit code {code}; what it printed is above")
    new = [n for n in names if n.exists() and before.get(n) != n.stat().st_mtime_ns]
    if not new:
        raise ModelError(f"atc wrote none of {', '.join(map(str, names))}")
    [om] = new
    if om != names[0]:
        what = (
            (
                "it has been compiled for any shape instead of for gears; give fewer of them, or "
                "static files (--batch, --unique)"
            )
            if len(job.gears) > 1
            else ("parts of it run on the host, and it loads on this platform only")
        )
        if len(job.gears) > 1:
            raise ModelError(f"atc wrote {om}: {what}")
        print(f"onnx2om: {om.name}: {what}", file=sys.stderr)
    os.chmod(om, om.stat().st_mode & ~0o022)  # the runtime takes no file that others can write
    return om


if __name__ == "__main__":
    sys.exit(main())
