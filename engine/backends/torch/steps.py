"""Steps: the network as a list of convolutions over rows, for layout ``shared`` on one device.

Comes in: the ONNX graph of layout ``clips``. Goes out: `Steps`. A row is a frame or a context
(`engine.network.contexts`). A temporal convolution takes the rows of three positions of the level
below, what goes around it those of the middle one; so no row is computed twice, and none is copied
in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from engine.base.errors import ModelError
from engine.network.cuts import FRAMES, Cuts, Head
from engine.network.requirements import ints

F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tensor:
    """Rows of maps [size, size, channels] at a level: 0 are frames, then one a temporal
    convolution."""

    name: str
    level: int
    size: int
    channels: int


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution, perhaps a Relu and one of single pixels behind it (`then`), what is added,
    and a Relu if `relu`.

    `weight`: float32 [times, kernel, kernel, inputs, outputs], where times is 3 or 1; `bias`:
    float32 [outputs]; those of `then` are [outputs, last] and [last]. `stride`: in space. Where
    `source` (or `residual`) is of the level below, its rows are looked up: those of three
    positions, or of the middle one.
    """

    source: Tensor
    target: Tensor
    weight: F32
    bias: F32
    stride: int
    relu: bool
    residual: Tensor | None
    then: tuple[F32, F32] | None = None


@dataclass(frozen=True, eq=False)
class Pooling:
    """A maximum over ``kernel`` x ``kernel`` pixels around each."""

    source: Tensor
    target: Tensor
    kernel: int
    stride: int


Step = Convolution | Pooling


@dataclass(frozen=True, eq=False)
class Steps:
    """All steps in order, and what comes after them: the mean over a clip's positions and pixels
    of `features`, then `head`. `strides`: of the temporal convolutions."""

    steps: tuple[Step, ...]
    features: Tensor
    head: Head
    strides: tuple[int, ...]


def plan(model: onnx.ModelProto) -> Steps:
    """The steps of a network. Raises `ModelError` for one of another kind."""
    cuts = Cuts(model)
    try:
        planner = _Planner(model.graph)
        [pool] = [n for n in model.graph.node if n.op_type == "GlobalAveragePool"]
        features = planner.tensor(pool.input[0], len(cuts.strides))
    except (LookupError, ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"this network cannot be planned as steps: {error!r}") from None
    return Steps(tuple(_joined(planner.steps)), features, cuts.head, cuts.strides)


class _Planner:
    """Walks the graph from its end; `steps` are in an order in which they can run."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self._makers: dict[str, onnx.NodeProto] = {
            output: node for node in graph.node for output in node.output
        }
        self._users: dict[str, int] = {}
        for node in graph.node:
            for name in node.input:
                self._users[name] = self._users.get(name, 0) + 1
        self._known: dict[str, Tensor] = {}
        [data] = [i for i in graph.input if i.name not in self._weights]
        self._data = data.name
        # [samples, views, channels, length, size, size]
        _, _, channels, _, size, _ = (d.dim_value for d in data.type.tensor_type.shape.dim)
        self._frames = Tensor(FRAMES, 0, size, channels)
        self.steps: list[Step] = []

    def tensor(self, name: str, level: int | None = None) -> Tensor:
        """A tensor of the network, planned if it is not yet; at that level, if it says so and the
        tensor is not planned at the one below."""
        if name not in self._known:
            self._known[name] = self._planned(name, level)
        return self._known[name]

    def _planned(self, name: str, level: int | None) -> Tensor:
        node = self._makers[name]
        if node.op_type == "Reshape":  # to clips, whose frames are rows
            while node.op_type == "Reshape" and node.input[0] != self._data:
                node = self._makers[node.input[0]]
            if node.op_type != "Reshape":
                raise ValueError(f"{node.name} comes before the first frame")
            return self._frames
        relu = node.op_type == "Relu"
        if relu:
            node = self._alone(node.input[0])
        if node.op_type == "MaxPool" and not relu:
            return self._pooling(name, node)
        residual = None
        if node.op_type == "Add":
            node, around = self._main(node)
            residual = around
        if node.op_type != "Conv":
            raise ValueError(f"{node.name} is a {node.op_type}")
        return self._convolution(name, node, relu, residual, level)

    def _alone(self, name: str) -> onnx.NodeProto:
        """The node that makes a tensor which one other takes."""
        if self._users[name] != 1:
            raise ValueError(f"{name} has several users")
        return self._makers[name]

    def _main(self, add: onnx.NodeProto) -> tuple[onnx.NodeProto, str]:
        """Of what is added, the convolution at the end of a chain, and what went around it."""
        for main, around in (tuple(add.input), tuple(add.input)[::-1]):
            node = self._makers[main]
            if node.op_type == "Conv" and self._users[main] == self._users[node.input[0]] == 1:
                return node, around
        raise ValueError(f"{add.name} adds what is no block's end")

    def _convolution(
        self, name: str, node: onnx.NodeProto, relu: bool, around: str | None, level: int | None
    ) -> Tensor:
        times, *kernel = ints(node, "kernel_shape")
        _, *stride = ints(node, "strides")
        half = [kernel[0] // 2] * 2
        pads = ints(node, "pads")
        if len(set(kernel)) > 1 or len(set(stride)) > 1 or times not in (1, 3):
            raise ValueError(f"{node.name} is not square")
        if kernel[0] % 2 == 0 or pads != [times // 2, *half] * 2:
            raise ValueError(f"{node.name} is padded by {pads}")
        source = self.tensor(node.input[0])
        at = source.level + (times == 3) if level is None else level
        if not source.level + (times == 3) <= at <= source.level + 1:
            raise ValueError(f"{node.name} spans several levels")
        if self._weights[node.input[1]].shape[1] != source.channels:
            raise ValueError(f"{node.name} is in groups")
        residual = None if around is None else self.tensor(around, at)
        if residual is not None and residual.level not in (at, at - 1):
            raise ValueError(f"{around} spans several levels")
        weight = self._weights[node.input[1]].astype(np.float32).transpose(2, 3, 4, 1, 0)
        bias = self._weights[node.input[2]].astype(np.float32)
        size = (source.size - 1) // stride[0] + 1
        target = Tensor(name, at, size, len(bias))
        convolution = Convolution(
            source, target, np.ascontiguousarray(weight), bias, stride[0], relu, residual
        )
        self.steps.append(convolution)
        return target

    def _pooling(self, name: str, node: onnx.NodeProto) -> Tensor:
        times, *kernel = ints(node, "kernel_shape")
        _, *stride = ints(node, "strides")
        pads = ints(node, "pads")
        half = [kernel[0] // 2] * 2
        if times != 1 or len(set(kernel)) > 1 or len(set(stride)) > 1 or pads != [0, *half] * 2:
            raise ValueError(f"{node.name} is not square")
        source = self.tensor(node.input[0])
        size = (source.size - 1) // stride[0] + 1
        target = Tensor(name, source.level, size, source.channels)
        self.steps.append(Pooling(source, target, kernel[0], stride[0]))
        return target


def _joined(steps: list[Step]) -> list[Step]:
    """The steps, with convolutions of single pixels made one with what comes before them: maps in
    between need not be written and read again."""
    users: dict[str, int] = {}
    for step in steps:
        for used in (step.source, getattr(step, "residual", None)):
            if used is not None:
                users[used.name] = users.get(used.name, 0) + 1
    joined: list[Step] = []
    for step in steps:
        before = next((one for one in joined if one.target is step.source), None)
        if (
            isinstance(step, Convolution)
            and isinstance(before, Convolution)
            and step.weight.shape[:3] == (1, 1, 1)
            and step.stride == 1
            and step.target.level == before.target.level
            and users[before.target.name] == 1
            and before.weight.shape[1] > 1
            and before.relu
            and before.residual is None
            and before.then is None
        ):
            joined.remove(before)
            then = step.weight[0, 0, 0], step.bias
            joined.append(
                replace(
                    before, target=step.target, relu=step.relu, residual=step.residual, then=then
                )
            )
        else:
            joined.append(step)
    return joined


def last_uses(steps: Steps) -> list[Sequence[str]]:
    """For each step the tensors that nothing needs after it."""
    last: dict[str, int] = {}
    for number, step in enumerate(steps.steps):
        last[step.source.name] = number
        if isinstance(step, Convolution) and step.residual is not None:
            last[step.residual.name] = number
    last.pop(steps.features.name, None)
    return [
        [name for name, end in last.items() if end == number] for number in range(len(steps.steps))
    ]
