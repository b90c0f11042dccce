"""The chain: all parts of a network in one graph, where tables say which contexts a video has.

Comes in: a network that can be cut (`engine.network.cuts`), and how many rows each level has. Goes
out: a static ONNX graph of 2-D operators, for any runtime and for compilers that take no loop::

    frames ─ trunk ─► taps, shortcut ─ gather ─ block ─► … ─ block ─► features ─ mean ─► logits
                        level1 ──────────┘                              clips ──┘

A level's table, int32 [3, rows], has for each context the rows of the previous position, this one
and the next in the level below; behind the last of these is a row of zeros, for padding. ``clips``,
float32 [views, rows], has what each row of the last level counts in the mean of a clip. Rows that a
video does not need are filler, which no table names.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from engine.base.choices import CLIPS
from engine.network.cuts import FRAMES, NEXT, PREVIOUS, THIS, Cuts
from engine.network.subgraph import Subgraph

_TAPS = (PREVIOUS, THIS, NEXT)
_POINT = {"kernel_shape": (1, 1), "strides": (1, 1), "pads": (0, 0, 0, 0)}


def level_input(number: int) -> str:
    """The name of a level's table, counted from 0."""
    return f"level{number + 1}"


class Chain(Cuts):
    """A network that can be cut, in one graph."""

    def graph(self, rows: Sequence[int]) -> onnx.ModelProto:
        """The graph for so many frames and, level by level, contexts: ``frames``
        [rows[0], channels, size, size], the levels' tables and ``clips`` to logits
        [views, classes]."""
        drawing = Subgraph(self._makers, self._weights)
        drawing.known[self._data] = FRAMES
        drawing.known[self._clips.output[0]] = drawing.tensor(self._clips.input[0])
        inputs = [helper.make_tensor_value_info(FRAMES, TensorProto.FLOAT, [rows[0], *self._frame])]
        for number, count in enumerate(rows[1:]):
            table = level_input(number)
            inputs.append(helper.make_tensor_value_info(table, TensorProto.INT32, [3, count]))
            self._gather(drawing, number)
        shape = [self._views, rows[-1]]
        inputs.append(helper.make_tensor_value_info(CLIPS, TensorProto.FLOAT, shape))
        [output] = self._model.graph.output
        self._classify(drawing, output.name)
        logits = helper.make_tensor_value_info(
            output.name, TensorProto.FLOAT, [self._views, len(self.head.bias)]
        )
        model = drawing.model("contexts", inputs, [logits], self._model)
        onnx.checker.check_model(model)
        return model

    def _gather(self, drawing: Subgraph, number: int) -> None:
        """Temporal convolution `number`, and what goes around it, at a level's contexts.

        Mostly there are fewer rows below, and taps are computed there. A level that strides over
        time has half as many rows, and they are computed here."""
        conv, shortcut = self._temporal[number], self._shortcuts[number]
        read, name = conv.input[0], conv.output[0]
        x, table = drawing.tensor(read), level_input(number)
        rows = {
            tap: drawing.node("Gather", f"{table}.{tap}", [table, self._place(drawing, place)])
            for place, tap in enumerate(_TAPS)
        }
        found: list[str] = []
        if self.strides[number] > 1 and self._goes_around(number):
            padded = self._padded(drawing, x, number, self._channels(number)[1])
            for tap in _TAPS:
                source = x if tap == THIS else padded
                at = drawing.node("Gather", f"{name}.{tap}.rows", [source, rows[tap]])
                found.append(self._tap(drawing, number, tap, at))
                if tap == THIS:
                    drawing.known[read] = at
        else:
            for tap in _TAPS:
                y = self._tap(drawing, number, tap, x)
                if tap != THIS:
                    y = self._padded(drawing, y, number, self._channels(number)[0])
                found.append(drawing.node("Gather", f"{name}.{tap}.rows", [y, rows[tap]]))
            around = drawing.tensor(shortcut)
            drawing.known[shortcut] = drawing.node(
                "Gather", f"{name}.shortcut.rows", [around, rows[THIS]]
            )
        previous, this, following = found
        total = drawing.node("Add", f"{name}.sum", [previous, this])
        drawing.known[name] = drawing.node("Add", name, [total, following])

    def _place(self, drawing: Subgraph, place: int) -> str:
        return drawing.constant(f"place{place}", np.array(place, np.int64))

    def _tap(self, drawing: Subgraph, number: int, tap: str, x: str) -> str:
        conv = self._temporal[number]
        name = f"{conv.output[0]}.{tap}"
        weights = [drawing.kernel(conv.input[1], f"{name}.weight", _TAPS.index(tap))]
        if tap == THIS:  # the one that is never padding
            weights.append(drawing.weight(conv.input[2]))
        return drawing.node("Conv", name, [x, *weights], **_POINT)

    def _channels(self, number: int) -> tuple[int, int]:
        """Of what a temporal convolution writes, and of what it reads."""
        outputs, inputs = self._weights[self._temporal[number].input[1]].dims[:2]
        return outputs, inputs

    def _padded(self, drawing: Subgraph, x: str, number: int, channels: int) -> str:
        """A tensor of a level, and the row of zeros behind it."""
        _, *area, _ = self._handed[number].outputs[THIS]
        zeros = np.zeros((1, channels, *area), np.float32)
        zero = drawing.constant("zeros{}x{}x{}".format(*zeros.shape[1:]), zeros)
        return drawing.node("Concat", f"{x}.padded", [x, zero], axis=0)

    def _classify(self, drawing: Subgraph, output: str) -> None:
        """The mean of what each clip's positions are, and the classifier."""
        x = drawing.node("GlobalAveragePool", "pooled", [drawing.tensor(self._pool.input[0])])
        shape = drawing.constant("rows", np.array([-1, self.head.weight.shape[1]], np.int64))
        x = drawing.node("Gemm", "means", [CLIPS, drawing.node("Reshape", "positions", [x, shape])])
        gemm = self._makers[output]
        drawing.node("Gemm", output, [x, *map(drawing.weight, gemm.input[1:])], transB=1)
