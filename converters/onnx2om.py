"""ONNX to OM: the program behind ``python -m converters.onnx2om``.

Composes the command lines of CANN's compiler (`converters.atc`), runs them and writes
``NAME.om.json`` beside each OM, since an OM itself tells nobody what it takes. For a file of a
fixed batch the command is the published recipe's. The graphs of layout ``shared`` are plain ONNX,
for other runtimes as well.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from converters.atc import Compilation, check_environment
from converters.one_graph import chain_of, write_graph
from converters.output import exit_code
from engine.backends.ascend import npus
from engine.base.choices import CLIPS, CONTEXTS, FRAMES, SHARED
from engine.base.command_parser import CommandParser
from engine.base.errors import UsageError
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.network import buckets
from engine.network.chain import Chain, level_input
from engine.network.cuts import FRAMES as FRAMES_INPUT
from engine.network.cuts import PLAN
from engine.network.models import ModelFile, open_model
from engine.network.om import SUFFIX, Interface, parse_gears, unfit_characters

DEFAULT_BATCH = 8  # samples; the published figures are best there, and 16 has not the memory
_UNIQUE = (64, 96, 160)  # distinct frames of layout frames; few videos pass from one to the next
_FORMS = {CLIPS: CLIPS, FRAMES: SHARED, SHARED: CONTEXTS}  # what files call each layout
_MOST_GEARS = 100  # of atc's
_MOST_OF_A_GEAR = 4096  # of aclruntime's


def main(argv: Sequence[str] | None = None) -> int:
    """Compose, compile, describe. Returns the exit code."""
    args = _parser().parse_args(argv)
    return exit_code("onnx2om", lambda: _run(args), "interrupted", printed=args.dry_run)


def default_unique(recipe: Recipe) -> list[int]:
    """Distinct frames to compile layout ``frames`` for: a few sizes, and the most that a video
    has."""
    most = buckets.most(recipe)
    return [unique for unique in _UNIQUE if unique < most] + [most]


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m converters.onnx2om",
        description="Compile a PoseC3D network for an Ascend NPU with CANN's atc.",
    )
    parser.add_argument("model", help="an .onnx file, or what else --model of engine.run takes")
    parser.add_argument("--config", metavar="NAME|PATH", help="as --config of engine.run")
    parser.add_argument(
        "--layout",
        default=CLIPS,
        choices=_FORMS,
        help="clips: the interface of the published OM, 205 MB a sample; shared: distinct frames "
        "and tables of contexts, a fifth of that, half the work and no 3-D convolution; frames: "
        "distinct frames and a plan, a third less work (default: %(default)s)",
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
        help="layouts shared and frames: a static file for each number of "
        "distinct frames of a video (default: "
        f"{','.join(map(str, buckets.default(HMDB51_RECIPE)))} for ten clips of 48 frames; of "
        f"layout frames {','.join(map(str, default_unique(HMDB51_RECIPE)))})",
    )
    sizes.add_argument(
        "--gears",
        metavar="N,N,…",
        help="layouts clips and frames: one file for all these numbers; reserves the memory of the "
        "largest",
    )
    parser.add_argument(
        "--soc-version",
        type=_chip,
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
        help="print the command lines, and compile nothing; of layouts shared and frames the .onnx "
        "that they name are written, too",
    )
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="layout shared: write its .onnx files, which any runtime takes, and compile nothing",
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
    if model.files:
        raise UsageError(f"{args.model} is compiled already, or a graph of one size")
    if model.precision == "int8":
        raise UsageError(f"{args.model} is quantised for CPUs; atc takes files of AMCT's for int8")
    if args.onnx and args.layout != SHARED:
        raise UsageError(
            "--onnx is for --layout shared: add that, or take the .onnx that MODEL is; any runtime "
            "runs it"
        )
    chain = None if args.layout == CLIPS else chain_of(model)
    jobs = _compilations(args, model, chain)
    tables = chain if args.layout == SHARED else None
    if args.describe is not None:
        if len(jobs) > 1 or not args.describe.is_file():
            raise UsageError(
                f"--describe {args.describe}: one OM that exists, of one size or of --gears"
            )
        if not args.describe.stat().st_size:
            raise UsageError(f"--describe {args.describe}: it is empty; compile it again")
        jobs[0].describe(args.describe, model, tables)
        return
    if not (args.dry_run or args.onnx):
        check_environment()
    if chain is not None:  # what the commands are about, on another host as well
        for path, job in {job.onnx: job for job in jobs}.items():
            write_graph(path, chain, model, [job.gears[0], *job.levels] if tables else None)
            print(f"wrote {path}", file=sys.stderr)
    if args.onnx:
        return
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
        om = job.compiled()
        print(f"wrote {om} after {time.monotonic() - start:.0f} s")
        job.describe(om, model, tables)


def _compilations(
    args: argparse.Namespace, model: ModelFile, chain: Chain | None
) -> list[Compilation]:
    """The calls of atc that were asked for."""
    stem = args.output or Path(Path(args.model).stem)
    if stem.suffix == SUFFIX:
        stem = stem.with_suffix("")
    if not (folder := stem.absolute().parent).is_dir():
        raise UsageError(
            f"--output {stem}: there is no folder {folder}; make it first: mkdir -p {folder}"
        )
    if unfit := unfit_characters(stem.resolve()):
        raise UsageError(
            f"--output {stem.resolve()}: the runtime takes letters, digits and _ . / - in a path "
            f"only, not {unfit}"
        )
    soc_version = args.soc_version or ("" if args.onnx else _soc_version())
    interface = Interface(_FORMS[args.layout], model.recipe)
    source = Path(args.model) if Path(args.model) == model.path else model.path
    if interface.whole:
        sizes, named = _samples(args, model)
        prefix = "_bs"
    else:
        sizes, named = _frames(args, model, interface), True
        prefix = "_u"
        stem = stem.with_name(f"{stem.name}_{args.layout}")
        source = stem.with_name(f"{stem.name}.onnx")
    if interface.tabled:
        assert chain is not None
        levels = {
            gears[0]: buckets.rows(gears[0] // interface.unit, model.recipe, chain.strides)[1:]
            for gears in sizes
        }
        interface = replace(interface, levels=levels)
    jobs = []
    for gears in sizes:
        geared = len(gears) > 1
        shapes = interface.inputs(-1 if geared else gears[0])
        name = "_dyn" if geared else f"{prefix}{gears[0] // interface.unit}"
        output = stem.with_name(f"{stem.name}{name}") if named else stem
        jobs.append(
            Compilation(
                output.with_name(f"{output.name}.onnx") if interface.tabled else source,
                output,
                dict(zip(_inputs(interface, model), shapes, strict=True)),
                gears,
                soc_version,
                args.fp16_inputs,
                args.precision_mode,
                tuple(args.atc),
                interface.levels.get(gears[0], ()),
            )
        )
    return jobs


def _inputs(interface: Interface, model: ModelFile) -> list[str]:
    """Their names."""
    if interface.whole:
        return [model.input_name]
    if not interface.tabled:
        return [FRAMES_INPUT, PLAN]
    [levels] = {len(levels) for levels in interface.levels.values()}
    return [FRAMES_INPUT, *map(level_input, range(levels)), CLIPS]


def _samples(args: argparse.Namespace, model: ModelFile) -> tuple[list[tuple[int, ...]], bool]:
    """Gears of each file, and whether they are to be in its name."""
    if args.unique:
        raise UsageError(
            "--unique is for --layout shared and frames; --batch or --gears count samples"
        )
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
    if args.gears and interface.tabled:
        raise UsageError(
            "--gears is for --layout clips and frames; --unique makes the static files of shared"
        )
    if model.batch is not None:
        raise UsageError(f"{model.path} has a fixed batch; layout {args.layout} needs it free")
    uniques = (buckets.default if interface.tabled else default_unique)(model.recipe)
    most, unit = uniques[-1], interface.unit
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


def _chip(name: str) -> str:
    """The argument of ``--soc-version``, as atc wants it."""
    if not re.fullmatch(r"(Ascend)?[0-9]{3}[A-Za-z0-9_]*", name):
        raise argparse.ArgumentTypeError(
            f"{name!r} is no chip's name, such as Ascend310P3 or 910B4; npu-smi info shows it"
        )
    return npus.soc_version(name)


def _soc_version() -> str:
    found = npus.npu_smi()[0]
    if not found:
        raise UsageError(
            "no NPU here tells what to compile for; give --soc-version, the chip's name in "
            "npu-smi info, such as 310P3"
        )
    return found[0].soc_version


if __name__ == "__main__":
    sys.exit(main())
