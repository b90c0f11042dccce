"""Operations: how many a network needs, and how many a device reaches at its best.

Two a multiply-add, convolutions only: the rest of this network is nothing beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.network.backend import Array, PartNetwork
from engine.network.contexts import Contexts
from engine.network.cuts import HANDED, NEXT, PREVIOUS, SHORTCUT, THIS, Cuts, Part
from engine.network.runners.rows import stored

Arrays = dict[str, Array]

_BY_USE: Final = (HANDED, (THIS, SHORTCUT), (PREVIOUS, NEXT))  # in the order of `Level.uses`
_RUNS: Final = 40
_TURNS: Final = 5


def of_graph(model: onnx.ModelProto) -> float:
    """Of a graph whose shapes follow from its inputs; of one sample, where the batch is free."""
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    single = onnx.ModelProto()
    single.CopyFrom(model)
    del single.graph.value_info[:]
    for value in single.graph.input:
        if value.name not in shapes and not value.type.tensor_type.shape.dim[0].dim_value:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(single, data_prop=True)
    outputs = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in (*inferred.graph.value_info, *inferred.graph.output)
    }
    made = {node.output[0]: node for node in inferred.graph.node}
    total = 0
    for node in inferred.graph.node:
        if node.op_type == "Conv":
            kernel = node.input[1]
            stored = kernel if kernel in shapes else made[kernel].input[0]
            total += 2 * prod(outputs[node.output[0]]) * prod(shapes[stored][1:])
    return float(total)


def of_contexts(cuts: Cuts, found: Contexts) -> float:
    """Of the distinct frames and contexts of a video, each once."""
    total = found.frames * of_graph(cuts.trunk(1).model)
    for number, level in enumerate(found.levels):
        for wanted, count in zip(_BY_USE, level.uses, strict=True):
            if count:
                total += count * of_graph(cuts.block(number, 1, wanted).model)
    return total


def large_convolution(*, quantised: bool) -> Part:
    """A part that is one large convolution, at which devices are at their best, in the layout in
    which parts hand on; `quantised`: as int8 files have it."""
    rows, side, channels = 2, 28, 256  # small enough for each of many lanes
    shape = (rows, side, side, channels)
    kernel = np.random.default_rng(0).integers(-127, 128, (channels, channels, 3, 3), np.int8)
    scale = np.float32(2e-4)
    constants: dict[str, Array] = {"kernel": kernel.astype(np.float32) * scale}
    nodes = [helper.make_node("Transpose", [THIS], ["data"], perm=(0, 3, 1, 2))]
    if quantised:
        constants = {
            "data.scale": np.array(1 / 255, np.float32),
            "data.zero": np.array(0, np.uint8),
            "kernel.int8": kernel,
            "scale": np.array(scale),
            "zero": np.array(0, np.int8),
        }
        nodes += [
            helper.make_node("QuantizeLinear", ["data", "data.scale", "data.zero"], ["data.uint8"]),
            helper.make_node(
                "DequantizeLinear", ["data.uint8", "data.scale", "data.zero"], ["data.again"]
            ),
            helper.make_node("DequantizeLinear", ["kernel.int8", "scale", "zero"], ["kernel"]),
        ]
    nodes += [
        helper.make_node(
            "Conv",
            ["data.again" if quantised else "data", "kernel"],
            ["made"],
            kernel_shape=(3, 3),
            pads=(1, 1, 1, 1),
        ),
        helper.make_node("Transpose", ["made"], [f"{THIS}.out"], perm=(0, 2, 3, 1)),
    ]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info(THIS, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"{THIS}.out", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return replace(Part.of(model), outputs={THIS: shape}, output_types={THIS: np.dtype(np.float32)})


def seconds_of(
    network: PartNetwork,
    part: Part,
    values: np.dtype[np.generic],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Of one run of a part when every lane is kept busy: the best of several turns. `values`: of
    arrays between parts."""
    lanes = [arrays_of(part, values) for _ in range(network.lanes)]
    best, runs = np.inf, max(_RUNS, 4 * network.lanes)
    for _ in range(_TURNS):
        start = clock()
        for turn in range(runs):
            lane = turn % network.lanes
            if turn >= network.lanes:
                network.finish(lane)
            network.start(lane, *lanes[lane])
        for turn in range(runs - network.lanes, runs):
            network.finish(turn % network.lanes)
        best = min(best, (clock() - start) / runs)
    return float(best)


def arrays_of(
    part: Part, values: np.dtype[np.generic]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Arrays of zeros for what a part takes and for what it hands on."""
    inputs, outputs = (
        {name: np.zeros(shape, stored(name, types[name], values)) for name, shape in shapes.items()}
        for shapes, types in ((part.inputs, part.input_types), (part.outputs, part.output_types))
    )
    return inputs, outputs
