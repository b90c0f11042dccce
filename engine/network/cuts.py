"""Parts: the network cut at its temporal convolutions, so that every context runs once.

Comes in: the ONNX graph of layout ``clips``. Goes out: a `Part` for each level: a small
graph over single positions (no time axis), with the tensors that it hands on.

A temporal convolution (3x1x1) over positions p, t, n of a clip is the sum of three
convolutions (1x1, its taps) of one position each. The part that computes a position computes
its three taps and its shortcut, too; the next part adds the taps of its context's three
positions (`engine.network.contexts` says which)::

    frames ─ trunk ─► taps, shortcut ─ block ─► taps, shortcut ─ … ─ block ─► features

Of a quantised network, what a temporal convolution reads is handed on as it is quantised, a byte
a value, and the next part computes the convolution from three rows of it. Taps are accumulators
that the file has no scales for; and so the parts compute what the whole network does::

    frames ─ trunk ─► activation ─ block ─► activation ─ … ─ block ─► features

Tensors between parts are channels-last, [n, height, width, channels]: one row a position.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engine.base.errors import ModelError
from engine.network.requirements import check_head, check_plain, check_temporal, ints
from engine.network.stem import SIDE, Stem
from engine.network.subgraph import OUT, Subgraph, Weights

PREVIOUS, THIS, NEXT, SHORTCUT = HANDED = ("previous", "this", "next", "shortcut")
ACTIVATION, FRAMES, FEATURES, PLAN, STEM = "activation", "frames", "features", "plan", "stem"
_BY_VALUE: Final = [["Relu"], ["QuantizeLinear"], ["DequantizeLinear"]]
Shape = tuple[int, ...]
Types = dict[str, np.dtype[Any]]


@dataclass(frozen=True)
class Part:
    """A graph over a fixed number of positions, and the shapes of what goes in and comes out.

    `inputs` are ``frames``, ``stem``, or of `HANDED`; `outputs` are ``features``, or some of
    `HANDED`, or ``activation`` alone, from which the next part takes its ``previous``, ``this`` and
    ``next``.
    `input_types`, `output_types`: float32, or uint8 or int8 of what is handed on quantised.
    """

    model: onnx.ModelProto
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    input_types: Types
    output_types: Types

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Part:
        """Of a graph that declares it all."""
        inputs, outputs = model.graph.input, model.graph.output
        return cls(model, _shapes(inputs), _shapes(outputs), _types(inputs), _types(outputs))


def _shapes(values: Iterable[onnx.ValueInfoProto]) -> dict[str, Shape]:
    return {
        value.name.removesuffix(OUT): tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in values
    }


def _types(values: Iterable[onnx.ValueInfoProto]) -> Types:
    return {
        value.name.removesuffix(OUT): helper.tensor_dtype_to_np_dtype(
            value.type.tensor_type.elem_type
        )
        for value in values
    }


@dataclass(frozen=True, eq=False)
class Head:
    """The classifier: `weight` float32 [classes, features], `bias` float32 [classes]; `scale` and
    `zero`, of uint8 or int8, of features that it reads quantised."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    scale: NDArray[np.float32] | None = None
    zero: NDArray[Any] | None = None

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """[clips, classes] of the mean features of clips, float32 [clips, features]."""
        if self.scale is not None and self.zero is not None:
            kind, zero = np.iinfo(self.zero.dtype), np.float32(self.zero)
            stored = np.clip(np.rint(features / self.scale) + zero, kind.min, kind.max)
            features = (stored - zero) * self.scale
        found: NDArray[np.float32] = features @ self.weight.T + self.bias
        return found


class Cuts:
    """A network and the places where it can be cut: before each temporal convolution.

    `strides`: the temporal stride of each of these and what follows it. `head`: what comes
    after the features. Raises `ModelError` for a graph of another kind.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._model = model
        self._weights = Weights(graph)
        self._makers = {output: node for node in graph.node for output in node.output}
        self._users: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._users.setdefault(name, []).append(node)
        try:
            self._temporal = [
                n for n in graph.node if n.op_type == "Conv" and ints(n, "kernel_shape")[0] == 3
            ]
            [data] = [i for i in graph.input if i.name not in self._weights]
            self._data = data.name
            dims = [d.dim_value for d in data.type.tensor_type.shape.dim]
            _, self._views, channels, self._length, *area = dims
            self._frame: Shape = (channels, *area)
            for node in self._temporal:
                check_temporal(node)
            [self._clips] = self._users[self._data]
            while self._clips.op_type != "Reshape":  # to clips, of which frames have no axis
                [self._clips] = self._users[self._clips.output[0]]
            [self._pool] = [n for n in graph.node if n.op_type == "GlobalAveragePool"]
            gemm = self._makers[graph.output[0].name]
            check_head(gemm, self._pool, self._makers)
            self.head = self._classifier(gemm)
            ends = [self._end(conv) for conv in self._temporal]
            self.strides = tuple(stride for stride, _ in ends)
            self._shortcuts = [shortcut for _, shortcut in ends]
            self._check_strides()
            self._handed = [self.trunk(1)]
            for number in range(len(self._temporal)):
                self._handed.append(self.block(number, 1))
        except (
            LookupError,
            ValueError,
            TypeError,
            RecursionError,  # a chain of thousands
            onnx.shape_inference.InferenceError,
        ) as error:
            raise ModelError(f"this network cannot be cut into parts: {error!r:.300}") from None

    @classmethod
    def of(cls, content: bytes) -> Cuts:
        """The cuts of a file's content."""
        return cls(onnx.load_model_from_string(content))

    def trunk(self, rows: int) -> Part:
        """Frames to what the first temporal convolution needs of each."""
        drawing = Subgraph(self._makers, self._weights)
        drawing.input(FRAMES, (rows, *self._frame))
        drawing.known[self._data] = FRAMES
        drawing.known[self._clips.output[0]] = drawing.tensor(self._clips.input[0])
        return self._to_cut(drawing, 0, HANDED)

    @cached_property
    def stem(self) -> Stem | None:
        """The first convolution, where cells that are drawn are enough to compute it."""
        conv, quantised = self._first()
        if conv is None or min(self._frame[1:]) < SIDE:
            return None
        if quantised is None:
            return Stem(self._weights.array(conv.input[1])[:, :, 0])
        scale, zero = map(self._weights.plain, quantised.input[1:])
        if zero.dtype != np.uint8 or scale.size != 1 or zero.any():
            return None
        return Stem(self._weights.whole(conv.input[1])[:, :, 0], float(scale))

    def stemmed_trunk(self, rows: int) -> Part:
        """`trunk` from what `stem` writes."""
        assert self.stem is not None
        conv, quantised = self._first()
        assert conv is not None
        drawing = Subgraph(self._makers, self._weights)
        drawing.input(STEM, (rows, *self._frame[1:], self.stem.outputs))
        x = STEM
        if quantised is not None:
            scale = self._weights.plain(quantised.input[1]) * self._weights.scale(conv.input[1])
            x = drawing.node("Mul", "stem.scaled", [x, drawing.constant("stem.scale", scale)])
        bias = drawing.constant("stem.bias", self._weights.array(conv.input[2]))
        x = drawing.node("Add", "stem.biased", [x, bias])
        node = conv  # what follows value by value is cheapest before the transposition
        while [n.op_type for n in self._users[node.output[0]]] in _BY_VALUE:
            [node] = self._users[node.output[0]]
            x = drawing.copied(node, x)
        drawing.known[node.output[0]] = drawing.channels_first(x)
        return self._to_cut(drawing, 0, HANDED)

    def _first(self) -> tuple[onnx.NodeProto | None, onnx.NodeProto | None]:
        """The convolution that reads frames, if it is what a stem computes, and what quantises
        them for it, if anything does."""
        name, quantised = self._data, None
        while True:
            [node] = self._users[name]
            if node.op_type == "QuantizeLinear":
                quantised = node
            elif node.op_type not in ("Reshape", "DequantizeLinear"):
                break
            name = node.output[0]
        if node.op_type != "Conv":
            return None, None
        check_plain(node)
        found = [ints(node, name) for name in ("kernel_shape", "strides", "pads")]
        half = found[0][1] // 2
        plain = [[1, 2 * half + 1, 2 * half + 1], [1, 1, 1], [0, half, half] * 2]
        return (node, quantised) if found == plain else (None, None)

    def block(self, number: int, rows: int, wanted: Sequence[str] = HANDED) -> Part:
        """What temporal convolution `number` needs, to what the next one needs (`wanted` of
        it), or to the features."""
        drawing = Subgraph(self._makers, self._weights)
        handed, temporal = self._handed[number], self._temporal[number]
        if ACTIVATION in handed.outputs:
            for name in (PREVIOUS, THIS, NEXT):
                shape = (rows, *handed.outputs[ACTIVATION][1:])
                drawing.input(name, shape, handed.output_types[ACTIVATION])
            read = temporal.input[0]
            drawing.known[temporal.output[0]] = drawing.over_time(temporal, (PREVIOUS, THIS, NEXT))
            drawing.known[read] = drawing.dequantised(read, THIS)
        else:
            for name, shape in handed.outputs.items():
                drawing.input(name, (rows, *shape[1:]))
            total = drawing.node("Add", "previous+this", [PREVIOUS, THIS])
            total = drawing.node("Add", "previous+this+next", [total, NEXT])
            drawing.known[temporal.output[0]] = drawing.channels_first(total)
            drawing.known[self._shortcuts[number]] = drawing.channels_first(SHORTCUT)
        return self._to_cut(drawing, number + 1, wanted)

    def planned(self) -> onnx.ModelProto:
        """The network as one graph: ``frames`` [n, channels, size, size] and ``plan``, int32
        [views, length], of their places in the clips, to logits [views, classes]. What comes before
        the first temporal convolution is computed once a frame; then the plan gathers clips."""
        drawing = Subgraph(self._makers, self._weights)
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

    def _classifier(self, gemm: onnx.NodeProto) -> Head:
        """The head, and how what it reads is quantised, if it is."""
        weight, bias = (self._weights.array(name) for name in gemm.input[1:])
        node = gemm
        while node is not self._pool:
            node = self._makers[node.input[0]]
            if node.op_type == "QuantizeLinear":
                return Head(weight, bias, *map(self._weights.plain, node.input[1:]))
        return Head(weight, bias)

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

    def _to_cut(self, drawing: Subgraph, end: int, wanted: Sequence[str]) -> Part:
        """The part that ends at cut `end`."""
        if end == len(self._temporal):
            x = drawing.tensor(self._pool.input[0])
            x = drawing.node("GlobalAveragePool", "pooled", [x])
            x = drawing.node("Flatten", "flat", [x], axis=1)
            return Part.of(drawing.finished({FEATURES: x}, self._model))
        conv = self._temporal[end]
        if (stored := self._stored(end)) is not None:
            return Part.of(drawing.finished({ACTIVATION: drawing.stored(stored)}, self._model))
        x = drawing.tensor(conv.input[0])
        found = {SHORTCUT: self._around(drawing, end)} if SHORTCUT in wanted else {}
        for tap, name in enumerate((PREVIOUS, THIS, NEXT)):
            if name in wanted:
                weights = [drawing.kernel(conv.input[1], f"{name}.weight", tap)]
                if name == THIS:  # the one tap that is never padding
                    weights.append(drawing.weight(conv.input[2]))
                found[name] = drawing.node("Conv", f"{name}.tap", [x, *weights])
        found = {name: found[name] for name in HANDED if name in found}
        found = {name: drawing.channels_last(tensor) for name, tensor in found.items()}
        return Part.of(drawing.finished(found, self._model))

    def _stored(self, end: int) -> str | None:
        """The quantised tensor whose values are all that is read behind cut `end`, if that is so,
        and zero bytes are zeros, of which padding consists."""
        read = self._temporal[end].input[0]
        maker = self._makers.get(read)
        if maker is None or maker.op_type != "DequantizeLinear" or not self._goes_around(end):
            return None
        scale, zero = map(self._weights.plain, maker.input[1:])
        return maker.input[0] if scale.size == 1 and not zero.any() else None

    def _goes_around(self, end: int) -> bool:
        """Whether what goes around temporal convolution `end` is what that reads, at most through a
        convolution."""
        read, before = self._temporal[end].input[0], self._shortcuts[end]
        while before != read:
            node = self._makers.get(before)
            if node is None or node.op_type not in ("Conv", "QuantizeLinear", "DequantizeLinear"):
                return False
            before = node.input[0]
        return True

    def _around(self, drawing: Subgraph, end: int) -> str:
        """What goes around temporal convolution `end`, to be handed on.

        Mostly that is what the convolution reads as well, after a ReLU. A second ReLU changes no
        value; but with a reader of its own, OpenVINO stores its result as it is handed on, where
        otherwise it brings it into another order and back: a quarter of a part's time."""
        tensor = drawing.tensor(self._shortcuts[end])
        maker = self._makers.get(self._shortcuts[end])
        if maker is None or maker.op_type != "Relu":
            return tensor
        return drawing.node("Relu", f"{tensor}.again", [tensor])
