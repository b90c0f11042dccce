"""All programs under one name: ``posec3d COMMAND …``, or ``python -m engine COMMAND …``.

Each is what ``python -m`` starts as well. Only the one that is asked for is imported: how long a
run takes to start is that of ``python -m engine.run``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

from engine.base.suggestions import meant
from engine.base.version import VERSION

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "run": ("engine.run", "score a data set, or label live sources"),
    "inspect": ("engine.inspect", "say what is in a file of poses"),
    "doctor": ("engine.doctor", "say what this host can run, and what it lacks"),
    "fuse": ("engine.fuse", "fuse the scores of several networks"),
    "convert": ("converters.pytorch2onnx", "make an ONNX file of a checkpoint"),
    "quantize": ("converters.quantize", "make an int8 model"),
    "calibrate": ("converters.calibrate", "fit --clips adaptive to a model"),
    "annotations": ("converters.annotations", "make columns of annotations larger than memory"),
    "onnx2om": ("converters.onnx2om", "compile a model for an Ascend NPU"),
    "join": ("engine.join", "decode for an engine on another machine"),
    "keys": ("engine.keys", "make keys for --listen and those who join"),
    "oracle": ("converters.oracle", "compare scores with mmaction2's"),
    "survey": ("converters.survey", "say which configs of mmaction2 or pyskl can be converted"),
}
"""By the word that is typed: the module that ``python -m`` starts, and what it does."""

BENCHMARKS: Final[Mapping[str, tuple[str, str]]] = {
    "pure_inference": ("benchmarks.pure_inference", "rate of the device alone"),
    "end_to_end": ("benchmarks.end_to_end", "rate of the engine beside its peers (--quick)"),
}
"""Those behind ``bench``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the program that the first word names. Returns its exit code.

    Flags without a word before them are those of ``run``.
    """
    word, *rest = (sys.argv[1:] if arguments is None else [*arguments]) or ["--help"]
    if word == "--version":
        print(VERSION)
        return 0
    if word in ("-h", "--help", "help"):
        print(overview())
        return 0
    if word.startswith("-"):
        word, rest = "run", [word, *rest]
    if word != "bench":
        return _start(word, rest, COMMANDS, "command")
    if not rest or rest[0] in ("-h", "--help"):
        print("\n".join(["usage: posec3d bench BENCHMARK [option …]\n", *_lines(BENCHMARKS)]))
        return 0
    return _start(rest[0], rest[1:], BENCHMARKS, "benchmark")


def overview() -> str:
    """All commands, a line each."""
    bench = {"bench": ("", f"measure this machine: {', '.join(BENCHMARKS)}")}
    return "\n".join(
        [
            "usage: posec3d COMMAND [option …], or python -m engine COMMAND [option …]\n",
            *_lines({**COMMANDS, **bench}),
            "\nposec3d run --dataset demo is a first run. COMMAND --help lists the options of one; "
            "flags\nwithout a command are those of run. --version is the version.",
        ]
    )


def _lines(programs: Mapping[str, tuple[str, str]]) -> list[str]:
    width = max(map(len, programs))
    return [f"  {word:<{width}}  {what}" for word, (_, what) in programs.items()]


def _start(
    word: str, rest: Sequence[str], programs: Mapping[str, tuple[str, str]], kind: str
) -> int:
    if word not in programs:
        hint = meant(word, [*programs, "bench"]) or f"; there are {', '.join(programs)}"
        print(f"posec3d: {word[:80]!r} is no {kind}{hint}", file=sys.stderr)
        return 2
    if rest == ["--version"]:
        print(VERSION)
        return 0
    name, _ = programs[word]
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        package = name.partition(".")[0]
        print(
            f"posec3d: another {package} hides the one of {name}, in the folder that we are in or "
            "on PYTHONPATH; start it elsewhere",
            file=sys.stderr,
        )
        return 2
    code: int | None = module.main(rest)
    return code or 0


if __name__ == "__main__":
    sys.exit(main())
