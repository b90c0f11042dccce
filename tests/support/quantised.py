"""Small networks in int8 as NNCF writes them, without NNCF: their scales are made up."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import helper, numpy_helper

SCALE = np.float32(0.02)


def quantised(
    model: onnx.ModelProto, zero: int = 0, floats: Collection[str] = ()
) -> onnx.ModelProto:
    """A float network with its weights, and what its nodes make, quantised. `zero`: the zero point
    of what comes out of a ReLU; `floats`: outputs of nodes that stay floats."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    out.opset_import[0].version = 13
    graph = out.graph
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    users: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node.op_type)
    renamed: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []

    def pair(name: str, point: np.ndarray) -> None:
        """Quantise a tensor: its readers are given the values of what is stored."""
        scale, zero_point = f"{name}.scale", f"{name}.zero"
        graph.initializer.append(numpy_helper.from_array(np.array(SCALE), scale))
        graph.initializer.append(numpy_helper.from_array(point, zero_point))
        stored, values = f"{name}.stored", f"{name}.values"
        nodes.append(helper.make_node("QuantizeLinear", [name, scale, zero_point], [stored]))
        nodes.append(helper.make_node("DequantizeLinear", [stored, scale, zero_point], [values]))
        renamed[name] = values

    for node in model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(renamed.get(name, name) for name in node.input)
        if node.op_type == "Conv":
            kernel = node.input[1]
            scales = np.abs(weights[kernel]).max(axis=(1, 2, 3, 4)) / 127
            column = scales[:, None, None, None, None]
            parts = {
                f"{kernel}.stored": np.rint(weights[kernel] / column).astype(np.int8),
                f"{kernel}.scale": scales.astype(np.float32),
                f"{kernel}.zero": np.zeros(len(scales), np.int8),
            }
            graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in parts.items())
            values = f"{kernel}.values"
            nodes.append(helper.make_node("DequantizeLinear", [*parts], [values], axis=0))
            copy.input[1] = values
        nodes.append(copy)
        [made] = node.output
        if made in floats:
            continue
        if node.op_type == "Relu":
            pair(made, np.array(zero, np.uint8))
        elif node.op_type == "Conv" and "Add" in users[made]:
            pair(made, np.array(-3, np.int8))
        elif node.op_type == "GlobalAveragePool":
            pair(made, np.array(0, np.uint8))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(out)
    return out
