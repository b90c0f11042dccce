"""Requirements: what nodes must be, so that parts of a network compute what the whole of it does.

Asked by `engine.network.cuts` of every node that a part takes over. What is not known to be the
same for single positions raises `ValueError`, and the network runs in layout ``clips``.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto, helper

_OVER_SPACE = ("Add", "Conv", "MaxPool", "Relu")  # and perhaps over time
_TAKEN_OVER = ("kernel_shape", "strides", "pads")  # of attributes
_BEFORE_HEAD = ("Flatten", "Identity", "Reshape", "QuantizeLinear", "DequantizeLinear")


def check_plain(node: NodeProto) -> None:
    """A node of one of the kinds that a part may have, with nothing more to it."""
    if node.op_type not in _OVER_SPACE:
        raise ValueError(f"{node.name} is a {node.op_type}")
    for attribute in node.attribute:
        name, value = attribute.name, helper.get_attribute_value(attribute)
        usual = {"group": 1, "auto_pad": b"NOTSET", "ceil_mode": 0, "storage_order": 0}
        if name == "dilations":
            value, usual[name] = set(value), {1}
        if name not in _TAKEN_OVER and (name not in usual or value != usual[name]):
            raise ValueError(f"{node.name} has {name} {value!r:.40}")


def check_temporal(node: NodeProto) -> None:
    """A convolution over time and not over space, which a part computes by its taps."""
    check_plain(node)
    kernel, pads, strides = (ints(node, name) for name in ("kernel_shape", "pads", "strides"))
    if kernel != [3, 1, 1] or pads != [1, 0, 0, 1, 0, 0] or strides[1:] != [1, 1]:
        raise ValueError(f"{node.name}: kernel {kernel}, pads {pads}, strides {strides}")


def check_head(node: NodeProto, pool: NodeProto, makers: Mapping[str, NodeProto]) -> None:
    """A matrix product, and nothing between it and the pool: the mean over positions is taken
    before it. `makers`: of each tensor."""
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type != "Gemm" or {**plain, "transB": 0, **given} != plain:
        raise ValueError(f"{node.name} is no plain Gemm")
    before = makers[node.input[0]]
    while before.op_type in _BEFORE_HEAD:
        before = makers[before.input[0]]
    if before is not pool:
        raise ValueError(f"{before.name} is between the pool and the classifier")


def ints(node: NodeProto, name: str) -> list[int]:
    """An attribute that is a list of numbers. Raises `ValueError` where there is none."""
    for attribute in node.attribute:
        if attribute.name == name and attribute.ints:
            return list(attribute.ints)
    raise ValueError(f"{node.name} has no {name}")
