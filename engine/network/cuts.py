"""Parts: the network cut at its temporal convolutions, so that every context runs once.

Comes in: the ONNX graph of layout ``clips``. Goes out: a `Part` for each level: a small
graph over single positions (no time axis), with the tensors that it hands on.

A temporal convolution (3x1x1) over positions p, t, n of a clip is the sum of three
convolutions (1x1, its taps) of one position each. The part that computes a position computes
its three taps and its shortcut, too; the next part adds the taps of its context's three
positions (`engine.network.contexts` says which)::

    frames ─ trunk ─► taps, shortcut ─ block ─► taps, shortcut ─ … ─ block ─► features

Tensors between parts are channels-last, [n, height, width, channels]: one row a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.base.errors import ModelError

PREVIOUS, THIS, NEXT, SHORTCUT = HANDED = ("previous", "this", "next", "shortcut")
FRAMES, FEATURES, PLAN = "frames", "features", "plan"
_CHANNELS_FIRST, _CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """A graph over a fixed number of positions, and the shapes of what goes in and comes out.

    `inputs` are ``frames``, or `HANDED`; `outputs` some of `HANDED`, or ``features``.
    """

    model: onnx.ModelProto
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]


@dataclass(frozen=True, eq=False)
class Head:
    """The classifier: `weight` float32 [classes, features], `bias` float32 [classes]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


class Cuts:
    """A network and the places where it can be cut: before each temporal convolution.

    `strides`: the temporal stride of each of these and what follows it. `head`: what comes
    after the features. Raises `ModelError` for a graph of another kind.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._model = model
        self._weights = _Weights(graph)
        self._makers = {output: node for node in graph.node for output in node.output}
        self._users: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._users.setdefault(name, []).append(node)
        self._temporal = [
            n for n in graph.node if n.op_type == "Conv" and ints(n, "kernel_shape")[0] == 3
        ]
        try:
            [data] = [i for i in graph.input if i.name not in self._weights]
            self._data = data.name
            dims = [d.dim_value for d in data.type.tensor_type.shape.dim]
            _, self._views, channels, self._length, *area = dims
            self._frame: Shape = (channels, *area)
            [self._clips] = self._users[self._data]
            while self._clips.op_type != "Reshape":  # to clips, of which frames have no axis
                [self._clips] = self._users[self._clips.output[0]]
            [self._pool] = [n for n in graph.node if n.op_type == "GlobalAveragePool"]
            gemm = self._makers[graph.output[0].name]
            self.head = Head(*(self._weights.array(name) for name in gemm.input[1:]))
            ends = [self._end(conv) for conv in self._temporal]
            self.strides = tuple(stride for stride, _ in ends)
            self._shortcuts = [shortcut for _, shortcut in ends]
            self._check_strides()
            self._handed = [self.trunk(1).outputs]
            for number in range(len(self._temporal)):
                self._handed.append(self.block(number, 1).outputs)
        except (KeyError, ValueError, TypeError, StopIteration) as error:
            raise ModelError(f"this network cannot be cut into parts: {error!r}") from None

    @classmethod
    def of(cls, path: Path) -> Cuts:
        """The cuts of a file."""
        return cls(onnx.load(str(path)))

    def trunk(self, rows: int) -> Part:
        """Frames to what the first temporal convolution needs of each."""
        return self._part(rows, {FRAMES: self._frame}, 0, HANDED)

    def block(self, number: int, rows: int, wanted: Sequence[str] = HANDED) -> Part:
        """What temporal convolution `number` needs, to what the next one needs (`wanted` of
        it), or to the features."""
        tails = {name: shape[1:] for name, shape in self._handed[number].items()}
        return self._part(rows, tails, number + 1, wanted)

    def planned(self) -> onnx.ModelProto:
        """The network as one graph: ``frames`` [n, channels, size, size] and ``plan``, int32
        [views, length], of their places in the clips, to logits [views, classes]. What comes before
        the first temporal convolution is computed once a frame; then the plan gathers clips."""
        drawing = _Drawing(self._makers, self._weights)
        drawing.known[self._data] = drawing.known[self._clips.output[0]] = FRAMES
        border = (self._temporal[0] if self._temporal else self._pool).input[0]
        flat = drawing.tensor(border)
        drawn = {name for name in drawing.known if name != border}
        rows = drawing.node("Gather", "clips.rows", [flat, PLAN], axis=0)
        clips = drawing.node("Transpose", "clips.gathered", [rows], perm=(0, 2, 1, 3, 4))
        for node in self._model.graph.node:
            if not drawn & set(node.output) and border not in node.output:
                drawing.taken(node, {border: clips})
        graph = self._model.graph
        inputs = [
            helper.make_tensor_value_info(FRAMES, TensorProto.FLOAT, ["frames", *self._frame]),
            helper.make_tensor_value_info(PLAN, TensorProto.INT32, [self._views, self._length]),
        ]
        classes = len(self.head.bias)
        output = helper.make_tensor_value_info(
            graph.output[0].name, TensorProto.FLOAT, [self._views, classes]
        )
        model = drawing.model("planned", inputs, [output], self._model)
        onnx.checker.check_model(model)
        return model

    def _check_strides(self) -> None:
        """Raise `ValueError` where frames are left out by another block than one that begins with
        a temporal convolution: parts compute single frames, and would leave out none."""
        layers = [n for n in self._model.graph.node if n.op_type in ("Conv", "MaxPool")]
        found = len([node for node in layers if ints(node, "strides")[0] != 1])
        if found != 2 * sum(stride != 1 for stride in self.strides):  # and on their shortcuts
            raise ValueError("a temporal stride in a block without a temporal convolution")

    def _end(self, temporal: onnx.NodeProto) -> tuple[int, str]:
        """The product of the temporal strides from a temporal convolution to its block's end,
        and the tensor that is added there, having gone around it."""
        stride, node, last = 1, temporal, ""
        while node.op_type != "Add":
            if node.op_type == "Conv":
                stride *= ints(node, "strides")[0]
            last = node.output[0]
            [node] = self._users[last]
        [shortcut] = [name for name in node.input if name != last]
        return stride, shortcut

    def _part(self, rows: int, tails: dict[str, Shape], end: int, wanted: Sequence[str]) -> Part:
        """The part that ends at cut `end`, its inputs given by the shapes of one position."""
        drawing = _Drawing(self._makers, self._weights)
        if FRAMES in tails:
            drawing.known[self._data] = FRAMES
            drawing.known[self._clips.output[0]] = drawing.tensor(self._clips.input[0])
        else:
            temporal = self._temporal[end - 1]
            total = drawing.node("Add", "previous+this", [PREVIOUS, THIS])
            total = drawing.node("Add", "previous+this+next", [total, NEXT])
            drawing.known[temporal.output[0]] = drawing.transposed(total, _CHANNELS_FIRST)
            drawing.known[self._shortcuts[end - 1]] = drawing.transposed(SHORTCUT, _CHANNELS_FIRST)
        if end == len(self._temporal):
            x = drawing.tensor(self._pool.input[0])
            x = drawing.node("GlobalAveragePool", "pooled", [x])
            found = {FEATURES: drawing.node("Flatten", "flat", [x], axis=1)}
        else:
            conv = self._temporal[end]
            x = drawing.tensor(conv.input[0])
            found = {SHORTCUT: self._around(drawing, end)} if SHORTCUT in wanted else {}
            for tap, name in enumerate((PREVIOUS, THIS, NEXT)):
                if name in wanted:
                    weights = [drawing.kernel(conv.input[1], f"{name}.weight", tap)]
                    if name == THIS:  # the one tap that is never padding
                        weights.append(drawing.weight(conv.input[2]))
                    found[name] = drawing.node("Conv", f"{name}.tap", [x, *weights])
            found = {
                name: drawing.transposed(found[name], _CHANNELS_LAST)
                for name in HANDED
                if name in found
            }
        inputs = {name: (rows, *tail) for name, tail in tails.items()}
        return drawing.part(inputs, found, self._model)

    def _around(self, drawing: _Drawing, end: int) -> str:
        """What goes around temporal convolution `end`, to be handed on.

        Mostly that is what the convolution reads as well, after a ReLU. A second ReLU changes no
        value; but with a reader of its own, OpenVINO stores its result as it is handed on, where
        otherwise it brings it into another order and back: a quarter of a part's time."""
        tensor = drawing.tensor(self._shortcuts[end])
        maker = self._makers.get(self._shortcuts[end])
        if maker is None or maker.op_type != "Relu":
            return tensor
        return drawing.node("Relu", f"{tensor}.again", [tensor])


class _Weights(dict[str, onnx.TensorProto]):
    """The constants of a graph by name; quantised ones under the names of what is stored."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__((t.name, t) for t in graph.initializer)
        self._quantised = {
            n.output[0]: n.input for n in graph.node if n.op_type == "DequantizeLinear"
        }

    def array(self, name: str) -> NDArray[np.float32]:
        """The values of a weight [outputs, …], whether it is quantised or not."""
        if name in self:
            return numpy_helper.to_array(self[name])
        stored, scale, zero = (numpy_helper.to_array(self[part]) for part in self._quantised[name])
        column = (-1, *[1] * (stored.ndim - 1))
        difference = stored.astype(np.float32) - zero.reshape(column)
        return np.asarray(difference * scale.reshape(column), np.float32)


class _Drawing:
    """A graph without time axis in the making, after the network that it is a part of."""

    def __init__(self, makers: dict[str, onnx.NodeProto], weights: _Weights) -> None:
        self._makers, self._weights = makers, weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self.known: dict[str, str] = {}  # the network's tensors, as they are called here

    def node(self, op: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node; returns the name of its output, which is its own."""
        self._nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def weight(self, name: str) -> str:
        """A weight of the network, as it is."""
        self._constants[name] = self._weights[name]
        return name

    def kernel(self, source: str, name: str, tap: int) -> str:
        """One tap in time of a convolution's kernel, quantised if the kernel is."""
        maker = self._makers.get(source)
        stored = source if maker is None else maker.input[0]
        array = numpy_helper.to_array(self._weights[stored])[:, :, tap]
        tensor = name if maker is None else f"{name}.quantised"
        self._constants[tensor] = numpy_helper.from_array(np.ascontiguousarray(array), tensor)
        if maker is None:
            return name
        return self._copy(maker, name, [tensor, *map(self.weight, maker.input[1:])])

    def _copy(self, node: onnx.NodeProto, name: str, inputs: Sequence[str]) -> str:
        """A node like another one, with these inputs and its output of that name."""
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        return self.node(node.op_type, name, inputs, **attributes)

    def transposed(self, name: str, order: tuple[int, ...]) -> str:
        return self.node("Transpose", f"{name}.{order[1:]}", [name], perm=order)

    def tensor(self, name: str) -> str:
        """A tensor of the network, computed by copies of the nodes that make it there."""
        if name not in self.known:
            node = self._makers[name]
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                inputs = [self.tensor(node.input[0]), *map(self.weight, node.input[1:])]
                self.known[name] = self._copy(node, name, inputs)
                return self.known[name]
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

    def part(
        self, inputs: dict[str, Shape], outputs: dict[str, str], source: onnx.ModelProto
    ) -> Part:
        """The finished part; `outputs` by the names of their tensors."""
        for name, tensor in outputs.items():
            self.node("Identity", f"{name}.out", [tensor])
        model = self.model(
            "part",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(f"{n}.out", TensorProto.FLOAT, None) for n in outputs],
            source,
        )
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        shapes = [
            tuple(d.dim_value for d in o.type.tensor_type.shape.dim) for o in model.graph.output
        ]
        return Part(model, inputs, dict(zip(outputs, shapes, strict=True)))


def ints(node: onnx.NodeProto, name: str) -> list[int]:
    """An attribute that is a list of numbers."""
    return next(list(a.ints) for a in node.attribute if a.name == name)
