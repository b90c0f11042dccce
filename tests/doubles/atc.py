"""A test double of CANN's compiler ``atc``: checks its arguments as ATC's documents say, and
writes what the double of ``aclruntime`` reads. ``DOUBLE_ATC_SUFFIX`` goes into the file's name,
as with a graph that has parts for the host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import onnx

from tests.doubles import om

_KNOWN = {
    "framework",
    "model",
    "output",
    "input_format",
    "input_shape",
    "soc_version",
    "log",
    "dynamic_batch_size",
    "input_fp16_nodes",
    "precision_mode",
    "op_select_implmode",
    "keep_dtype",
}
_CHIPS = ("Ascend310P3", "Ascend310P1", "Ascend910B3")


class Refused(Exception):
    """An error of atc's, by its code."""


def compile_model(arguments: list[str]) -> Path:
    given = {}
    for argument in arguments:
        name, _, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in _KNOWN or not value:
            raise Refused(f"E10001: {argument}")
        given[name] = value
    if given["framework"] != "5" or given["input_format"] not in ("ND", "NCHW", "NCDHW"):
        raise Refused("E10001: framework or input_format")
    if given["soc_version"] not in _CHIPS:
        raise Refused(f"E10001: soc_version {given['soc_version']}")
    graph = Path(given["model"]).read_bytes()
    names = [value.name for value in onnx.load_model_from_string(graph).graph.input]
    shapes = {}
    for part in given["input_shape"].split(";"):
        name, _, numbers = part.rpartition(":")  # at the last colon: names may have some
        if name not in names:
            raise Refused(f"E10016: no input {name}")
        shapes[name] = [int(n) for n in numbers.split(",")]
    if set(shapes) != set(names):
        raise Refused("E10001: an input without a shape")
    if any(-1 in shape[1:] for shape in shapes.values()):
        raise Refused("E10018: -1 beyond the first dimension")
    gears = []
    if "dynamic_batch_size" in given:
        text = given["dynamic_batch_size"]
        if not all(part.isdecimal() for part in text.split(",")):
            raise Refused("E10003: dynamic_batch_size")
        gears = [int(part) for part in text.split(",")]
        if len(gears) < 2:
            raise Refused("E10035: fewer than two gears")
        if len(set(gears)) < len(gears):
            raise Refused("E10039: a gear twice")
    free = [name for name, shape in shapes.items() if shape[0] == -1]
    if bool(free) != bool(gears):
        raise Refused("E10031: gears without -1, or the reverse")
    half = [given["input_fp16_nodes"]] if "input_fp16_nodes" in given else []
    if set(half) - set(names):
        raise Refused("E10016: input_fp16_nodes")
    name = f"{given['output']}{os.environ.get('DOUBLE_ATC_SUFFIX', '')}.om"
    return om.write(Path(name), graph, shapes, gears, half)


def main() -> int:
    try:
        compile_model(sys.argv[1:])
    except (Refused, KeyError, OSError) as error:
        print(f"ATC run failed, {error}")
        return 1
    print("ATC run success, welcome to the next use.")
    return 0
