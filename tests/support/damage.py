"""ONNX files that are not what they seem: each function changes a model in place."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Damage = Callable[[onnx.ModelProto], None]
FIRST = "layer1.0.conv1.weight"  # of the weights, one behind which there is a Relu


def damaged(path: Path, model: Path, damage: Damage) -> Path:
    """Write a changed copy of a model to `path`."""
    found = onnx.load(str(model))
    damage(found)
    path.write_bytes(found.SerializeToString())
    return path


def weight(name: str, change: Callable[[Any], Any]) -> Damage:
    """Other numbers in a weight."""

    def apply(model: onnx.ModelProto) -> None:
        [tensor] = [t for t in model.graph.initializer if t.name == name]
        array = np.asarray(change(numpy_helper.to_array(tensor).copy()), np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, name))

    return apply


def one(value: float) -> Callable[[Any], Any]:
    """One number of an array is another."""

    def change(array: Any) -> Any:
        array.flat[array.size // 2] = value
        return array

    return change


def declared(classes: int) -> Damage:
    """A file without metadata that declares so many classes."""

    def apply(model: onnx.ModelProto) -> None:
        del model.metadata_props[:]
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = classes

    return apply


def batch(samples: int) -> Damage:
    """An input of so many samples."""

    def apply(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = samples

    return apply


def constant_nan(model: onnx.ModelProto) -> None:
    """NaN in a Constant node instead of the weights."""
    weight(FIRST, one(np.nan))(model)
    [tensor] = [t for t in model.graph.initializer if t.name == FIRST]
    model.graph.node.insert(0, helper.make_node("Constant", [], [FIRST], "made", value=tensor))
    model.graph.initializer.remove(tensor)


def fed_by_itself(model: onnx.ModelProto) -> None:
    node = _nodes(model, "Relu")[2]
    node.input[0] = node.output[0]


def in_a_circle(model: onnx.ModelProto) -> None:
    convolutions = _nodes(model, "Conv")
    convolutions[1].input[0] = convolutions[3].output[0]


def swollen(model: onnx.ModelProto) -> None:
    """A few bytes that make a constant of 17 GB, whose sum is added to what is fed."""
    graph = model.graph
    shape = numpy_helper.from_array(np.array([65536, 65536]), "shape")
    graph.initializer.append(shape)
    first = graph.node[0]
    made = [
        helper.make_node("ConstantOfShape", ["shape"], ["swollen"]),
        helper.make_node("ReduceSum", ["swollen"], ["sum"], keepdims=0),
        helper.make_node("Add", [first.input[0], "sum"], ["fed"]),
    ]
    first.input[0] = "fed"
    for node in reversed(made):
        graph.node.insert(0, node)


def without_numbers(model: onnx.ModelProto) -> None:
    """A weight of a shape for which its bytes do not suffice."""
    [tensor] = [t for t in model.graph.initializer if t.name == FIRST]
    tensor.dims[0] *= 1 << 20


def chained(model: onnx.ModelProto) -> None:
    """Three thousand nodes in a row, which change nothing."""
    [pool] = _nodes(model, "GlobalAveragePool")
    nodes = list(model.graph.node)
    place, names = nodes.index(pool), [pool.input[0], *(f"chained.{n}" for n in range(3000))]
    nodes[place:place] = [
        helper.make_node("Relu", [before], [after], after) for before, after in pairwise(names)
    ]
    pool.input[0] = names[-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def attribute(op: str, **values: Any) -> Damage:
    """Other attributes of the first node of a kind that has a square kernel, or none."""

    def apply(model: onnx.ModelProto) -> None:
        node = next(
            n for n in _nodes(model, op) if op != "Conv" or list(n.attribute[0].ints) == [1, 3, 3]
        )
        kept = [a for a in node.attribute if a.name not in values]
        del node.attribute[:]
        node.attribute.extend([*kept, *(helper.make_attribute(*pair) for pair in values.items())])

    return apply


def other(op: str, by: str) -> Damage:
    """All nodes of a kind are of another."""

    def apply(model: onnx.ModelProto) -> None:
        for node in _nodes(model, op):
            node.op_type = by

    return apply


def _nodes(model: onnx.ModelProto, op: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == op]
