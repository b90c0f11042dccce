"""Options: one frozen dataclass; command line over environment over default.

An option has one name in all three places: field ``max_batch``, flag ``--max-batch``,
variable ``ENGINE_MAX_BATCH``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any

from engine import assets
from engine.backends import AUTO, PRECISIONS, Precision
from engine.constants import REFERENCES, Reference
from engine.errors import UsageError

GROUPS = ("input", "model", "device", "output")


def _option(
    default: Any,
    group: str,
    help: str,
    *,
    kind: type = str,
    metavar: str | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    assert group in GROUPS
    about = {"group": group, "help": help, "kind": kind, "metavar": metavar, "choices": choices}
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class Options:
    """Everything that a run can be told."""

    dataset: str = _option(
        "hmdb51", "input",
        "hmdb51, or an annotation file (.pkl, .npz, .jsonl)", metavar="NAME|PATH",
    )  # fmt: skip
    ann_file: str | None = _option(
        None, "input", "the annotation file of a named dataset", metavar="PATH"
    )
    split: str | None = _option(
        None, "input",
        "split of the annotation file (default: test1 where it has splits); `all` takes everything",
        metavar="NAME",
    )  # fmt: skip
    limit: int | None = _option(
        None, "input", "score the first N samples only", kind=int, metavar="N"
    )
    reference: Reference = _option(
        "0.24.1", "input",
        "mmaction2 version whose flipped clips are computed: 0.24.1 flips coordinates and draws "
        "again, 1.x mirrors the heatmaps", choices=REFERENCES,
    )  # fmt: skip
    model: str = _option(
        assets.DEFAULT_CHECKPOINT, "model",
        "an .onnx or .om file, a checkpoint (.pth, converted once into the cache), or the name of "
        "a published checkpoint", metavar="NAME|PATH",
    )  # fmt: skip
    backend: str = _option(AUTO, "device", "runtime: auto, openvino, onnxruntime", metavar="NAME")
    device: str | None = _option(
        None, "device",
        "the runtime's own name of the device: CPU, GPU (openvino), an execution provider such as "
        "CUDAExecutionProvider (onnxruntime)", metavar="NAME",
    )  # fmt: skip
    precision: Precision = _option(
        "f32", "device", "precision that the device computes in", choices=PRECISIONS
    )
    threads: int | None = _option(
        None, "device", "threads of the runtime (default: one a core)", kind=int, metavar="N"
    )
    in_process: bool = _option(
        False, "device", "run everything in this process, one sample after the other", kind=bool
    )
    output: str | None = _option(
        None, "output", "write one JSON line a sample to FILE", metavar="FILE"
    )
    scores: str | None = _option(
        None, "output", "write id [N] and scores [N, classes] to FILE", metavar="FILE.npz"
    )
    logits: str | None = _option(
        None, "output", "write id [N] and logits [N, 20, classes] to FILE", metavar="FILE.npz"
    )
    summary: str | None = _option(
        None, "output", "write the figures of the run to FILE", metavar="FILE.json"
    )
    top_k: int = _option(5, "output", "classes listed for each sample", kind=int, metavar="K")

    def __post_init__(self) -> None:
        for name, least in (("limit", 1), ("threads", 1), ("top_k", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{_flag(name)} {value}: must be at least {least}")
        for name in ("reference", "precision"):
            choices = next(f for f in fields(self) if f.name == name).metadata["choices"]
            if getattr(self, name) not in choices:
                raise UsageError(
                    f"{_flag(name)} {getattr(self, name)!r}: choose from {', '.join(choices)}"
                )


def parse(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None
) -> Options:
    """Options of a command line. Exits with code 2 and a message on a usage error."""
    environment = os.environ if environment is None else environment
    parser = argparse.ArgumentParser(
        prog="python -m engine.run",
        description="Recognise actions in 2-D skeletons with PoseC3D.",
        epilog="Every flag can be given as a variable, too: --max-batch as ENGINE_MAX_BATCH.",
        allow_abbrev=False,
    )
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for f in fields(Options):
        _add(groups[f.metadata["group"]], f)
    given = vars(parser.parse_args(arguments))
    try:
        values = {f.name: _value(f, given, environment) for f in fields(Options)}
        return Options(**values)
    except UsageError as error:
        parser.error(str(error))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _add(group: Any, f: Field[Any]) -> None:
    about = f.metadata
    text = about["help"]
    if about["kind"] is bool:
        group.add_argument(_flag(f.name), action="store_true", default=None, help=text)
        return
    if f.default is not None:
        text += f" (default: {f.default})"
    group.add_argument(
        _flag(f.name),
        type=about["kind"],
        metavar=about["metavar"],
        choices=about["choices"],
        help=text,
    )


def _value(f: Field[Any], given: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    if given[f.name] is not None:
        return given[f.name]
    variable = "ENGINE_" + f.name.upper()
    text = environment.get(variable)
    if not text:
        return f.default
    kind = f.metadata["kind"]
    if kind is bool:
        if text not in ("0", "1"):
            raise UsageError(f"{variable}={text}: expected 0 or 1")
        return text == "1"
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"{variable}={text}: not a valid {kind.__name__}") from None
