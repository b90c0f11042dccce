"""Subgraphs: graphs over single positions in the making, after the network that they are parts of.

Comes in: the nodes and constants of a network whose clips have a time axis. Goes out: an ONNX graph
without one, of copies of the nodes that make the tensors asked for (`engine.network.cuts` asks).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from engine.network.requirements import check_plain, ints

OUT = ".out"
_FLOAT = np.dtype(np.float32)


class Weights(dict[str, onnx.TensorProto]):
    """The constants of a graph by name; quantised ones under the names of what is stored."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__((t.name, t) for t in graph.initializer)
        self._quantised = {
            n.output[0]: n.input for n in graph.node if n.op_type == "DequantizeLinear"
        }

    def plain(self, name: str) -> NDArray[Any]:
        """A constant as it is stored."""
        return numpy_helper.to_array(self[name])

    def array(self, name: str) -> NDArray[np.float32]:
        """The values of a weight [outputs, …], whether it is quantised or not."""
        if name in self:
            return self.plain(name)
        whole = self.whole(name)
        column = (-1, *[1] * (whole.ndim - 1))
        return np.asarray(whole * self.scale(name).reshape(column), np.float32)

    def whole(self, name: str) -> NDArray[np.float32]:
        """The whole numbers that a quantised weight [outputs, …] is multiples of its scales by."""
        stored, _, zero = map(self.plain, self._quantised[name])
        column = (-1, *[1] * (stored.ndim - 1))
        return np.asarray(stored.astype(np.float32) - zero.reshape(column), np.float32)

    def scale(self, name: str) -> NDArray[np.float32]:
        """Of a quantised weight, by output or for all."""
        return self.plain(self._quantised[name][1])


class Subgraph:
    """A graph without time axis in the making, after the network that it is a part of."""

    def __init__(self, makers: dict[str, onnx.NodeProto], weights: Weights) -> None:
        self._makers, self._weights = makers, weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self.known: dict[str, str] = {}  # the network's tensors, as they are called here

    def input(self, name: str, shape: Sequence[int], dtype: np.dtype[Any] = _FLOAT) -> None:
        """Declare an input."""
        kind = helper.np_dtype_to_tensor_dtype(dtype)
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))

    def node(self, op: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node; returns the name of its output, which is its own."""
        self._nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def weight(self, name: str) -> str:
        """A weight of the network, as it is."""
        self._constants[name] = self._weights[name]
        return name

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """A constant of its own; one of the same name is the same."""
        self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def kernel(self, source: str, name: str, tap: int) -> str:
        """One tap in time of a convolution's kernel, quantised if the kernel is."""
        return self._kernel(source, name, lambda array: array[:, :, tap])

    def _kernel(self, source: str, name: str, of: Callable[[NDArray[Any]], NDArray[Any]]) -> str:
        """What is made `of` a convolution's kernel, quantised if the kernel is."""
        maker = self._makers.get(source)
        array = of(self._weights.plain(source if maker is None else maker.input[0]))
        tensor = name if maker is None else f"{name}.quantised"
        self._constants[tensor] = numpy_helper.from_array(np.ascontiguousarray(array), tensor)
        if maker is None:
            return name
        return self._copy(maker, name, [tensor, *map(self.weight, maker.input[1:])])

    def over_time(self, conv: onnx.NodeProto, taps: Sequence[str]) -> str:
        """A temporal convolution of the positions that three inputs are, quantised as what it
        reads: their channels behind each other are those of one convolution."""
        together = self.node("Concat", "taps", taps, axis=3)
        x = self.dequantised(conv.input[0], together)
        kernel = self._kernel(
            conv.input[1],
            "taps.weight",
            lambda array: array.swapaxes(1, 2).reshape(len(array), -1, 1, 1),
        )
        return self.node("Conv", f"{conv.output[0]}.taps", [x, kernel, self.weight(conv.input[2])])

    def dequantised(self, name: str, handed: str) -> str:
        """The values of what was handed on as the network's tensor `name` is quantised.

        OpenVINO computes in int8 from there on if that comes before the transposition."""
        node = self._makers[name]
        scale = map(self.weight, node.input[1:])
        values = self._copy(node, f"{handed}.values", [handed, *scale])
        return self.channels_first(values)

    def stored(self, name: str) -> str:
        """A quantised tensor of the network, channels last, to be handed on.

        That no byte is less than the least one changes nothing; but OpenVINO has a convolution add
        to its shortcut in place, and would bring such a sum into another order and back."""
        x = self.tensor(name)
        zero = self._weights.plain(self._makers[name].input[2])
        least = self.constant("least", np.array(np.iinfo(zero.dtype).min, zero.dtype))
        return self.channels_last(self.node("Max", f"{x}.again", [x, least]))

    def copied(self, node: onnx.NodeProto, x: str) -> str:
        """A node of the network that changes each value by itself, of another tensor."""
        constants = map(self.weight, node.input[1:])
        return self._copy(node, f"{x}.{node.op_type}", [x, *constants])

    def _copy(self, node: onnx.NodeProto, name: str, inputs: Sequence[str]) -> str:
        """A node like another one, with these inputs and its output of that name."""
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        return self.node(node.op_type, name, inputs, **attributes)

    def channels_first(self, name: str) -> str:
        return self._transposed(name, (0, 3, 1, 2))

    def channels_last(self, name: str) -> str:
        return self._transposed(name, (0, 2, 3, 1))

    def _transposed(self, name: str, order: tuple[int, ...]) -> str:
        return self.node("Transpose", f"{name}.{order[1:]}", [name], perm=order)

    def tensor(self, name: str) -> str:
        """A tensor of the network, computed by copies of the nodes that make it there."""
        if name not in self.known:
            node = self._makers[name]
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                inputs = [self.tensor(node.input[0]), *map(self.weight, node.input[1:])]
                self.known[name] = self._copy(node, name, inputs)
                return self.known[name]
            check_plain(node)
            inputs = [self.tensor(i) for i in node.input[: 1 if node.op_type == "Conv" else None]]
            attributes: dict[str, Any] = {}
            if node.op_type in ("Conv", "MaxPool"):
                if ints(node, "kernel_shape")[0] != 1:
                    raise ValueError(f"{node.name} spans several frames")
                pads = ints(node, "pads")
                attributes = {
                    "kernel_shape": ints(node, "kernel_shape")[1:],
                    "strides": ints(node, "strides")[1:],
                    "pads": [*pads[1:3], *pads[4:]],
                }
            if node.op_type == "Conv":
                kernel, bias = node.input[1:]
                inputs += [self.kernel(kernel, f"{name}.kernel", 0), self.weight(bias)]
            self.known[name] = self.node(node.op_type, name, inputs, **attributes)
        return self.known[name]

    def taken(self, node: onnx.NodeProto, renamed: dict[str, str]) -> None:
        """Take a node of the network as it is, with its weights; some inputs `renamed`."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(renamed.get(name, name) for name in node.input)
        self._nodes.append(copy)
        for name in node.input:
            if name in self._weights:
                self.weight(name)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        source: onnx.ModelProto,
    ) -> onnx.ModelProto:
        """The finished graph."""
        return helper.make_model(
            helper.make_graph(self._nodes, name, inputs, outputs, list(self._constants.values())),
            opset_imports=source.opset_import,
            ir_version=source.ir_version,
        )

    def finished(self, outputs: dict[str, str], source: onnx.ModelProto) -> onnx.ModelProto:
        """The graph, with the shapes of all tensors. `outputs`: tensors by the names that they are
        handed on under, which `OUT` follows."""
        for name, tensor in outputs.items():
            self.node("Identity", name + OUT, [tensor])
        ends = [onnx.ValueInfoProto(name=name + OUT) for name in outputs]
        model = self.model("part", self._inputs, ends, source)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
