"""The ONNX graph: an architecture and a state dict become one file.

Comes in: `Architecture` and the arrays of a checkpoint. Goes out: an `onnx.ModelProto` of layout
``clips``.

Opset 11, IR version 6 and eight operators (Conv, Relu, Add, MaxPool, AveragePool,
GlobalAveragePool, Reshape, Gemm), so that an ATC of CANN 6 takes it. Batch
normalisation is folded into the convolutions.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from converters.network import (
    BN_EPSILON,
    Architecture,
    AveragePool,
    Conv,
    Layer,
    MaxPool,
    Residual,
    convolutions,
)
from engine import __version__
from engine.base.constants import DEFAULT_SPLIT
from engine.base.errors import ModelError
from engine.base.recipe import Recipe
from engine.network.metadata import recipe_to_file
from engine.network.models import SLOWONLY

OPSET = 11
IR_VERSION = 6
DEFAULT_INPUT = "onnx::Reshape_0"  # the name that the published recipe's OM has
OUTPUT = "logits"
DYNAMIC = -1  # batch size: any
_CLASSIFIER = "cls_head.fc_cls.weight"
_OF_BLOCK = re.compile(r"backbone\.layer(\d{1,3})\.(\d{1,3})\.")


def select_weights(
    arch: Architecture, state_dict: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float32]]:
    """The tensors of the network, float32, names less ``backbone.`` and ``cls_head.``.

    Raises `ModelError` that names tensors missing, left over or of another shape.
    """
    expected: dict[str, tuple[int, ...]] = {}
    for conv in convolutions(arch):
        expected[f"backbone.{conv.name}.conv.weight"] = conv.shape
        if conv.normalised:
            for part in ("weight", "bias", "running_mean", "running_var"):
                expected[f"backbone.{conv.name}.bn.{part}"] = (conv.outputs,)
    expected[_CLASSIFIER] = (arch.num_classes, arch.features)
    expected["cls_head.fc_cls.bias"] = (arch.num_classes,)

    # DataParallel checkpoints carry a prefix that mmcv drops as well.
    found = {name.removeprefix("module."): array for name, array in state_dict.items()}
    found = {name: a for name, a in found.items() if not name.endswith("num_batches_tracked")}
    blocks, wanted = _blocks(found), _blocks(expected)
    if blocks and blocks != wanted:
        raise ModelError(
            f"the checkpoint has {blocks} blocks, the config {wanted or 'none'}: "
            "it belongs to another network than the config describes"
        )
    for problem, names in (
        ("lacks", sorted(expected.keys() - found.keys())),
        ("has unknown", sorted(found.keys() - expected.keys())),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ModelError(
                f"the checkpoint {problem} {', '.join(names[:3])}{more}: "
                "it belongs to another network than the config describes"
            )
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in expected.items():
        array = found[name]
        if name == _CLASSIFIER and array.shape == (len(array), arch.features) != shape:
            raise ModelError(
                f"the checkpoint has {len(array)} classes, the config {arch.num_classes}"
            )
        if array.shape != shape:
            raise ModelError(f"{name} has shape {array.shape}; the config asks for {shape}")
        with np.errstate(over="ignore"):  # a double may be none of float32's finite numbers
            single = array.astype(np.float32, order="C")
        if array.dtype.kind != "f" or not np.isfinite(single).all():
            raise ModelError(f"{name} ({array.dtype}) holds values that are not finite numbers")
        if name.endswith("running_var") and (single < 0).any():
            raise ModelError(f"{name} holds negative numbers, which are no variances")
        weights[name.removeprefix("backbone.").removeprefix("cls_head.")] = single
    return weights


def _blocks(names: Iterable[str]) -> str:
    """Blocks of the stages that tensors are of, as in ``3-4-6``."""
    found = {match.groups() for name in names if (match := _OF_BLOCK.match(name))}
    counts = Counter(int(stage) for stage, _ in found)
    return "-".join(str(counts[stage]) for stage in sorted(counts))


def fold(conv: Conv, weights: Mapping[str, NDArray[np.float32]]) -> tuple[Any, Any]:
    """Weight and bias, float32, of a convolution with its batch norm folded in (in float64)."""
    if not conv.normalised:
        return weights[f"{conv.name}.conv.weight"], np.zeros(conv.outputs, np.float32)
    bn = {
        part: weights[f"{conv.name}.bn.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    }
    scale = bn["weight"] / np.sqrt(bn["running_var"] + BN_EPSILON)
    kernel = weights[f"{conv.name}.conv.weight"] * scale[:, None, None, None, None]
    bias = bn["bias"] - bn["running_mean"] * scale
    with np.errstate(over="ignore"):
        folded = kernel.astype(np.float32), bias.astype(np.float32)
    if not all(np.isfinite(part).all() for part in folded):
        raise ModelError(f"{conv.name} with its batch norm exceeds what float32 holds")
    return folded


class _Graph:
    """Nodes and initializers in the making; every method returns its output's name."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, op: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def layer(self, layer: Layer, x: str) -> str:
        match layer:
            case Conv():
                y = self.conv(layer, x)
                return self.relu(y) if layer.activated else y
            case MaxPool(name, kernel, stride):
                pads = layer.padding * 2
                return self.node(
                    "MaxPool", name, [x], kernel_shape=kernel, strides=stride, pads=pads
                )
            case AveragePool(name, kernel):
                return self.node("AveragePool", name, [x], kernel_shape=kernel, strides=kernel)
            case Residual(name, body, shortcut):
                around = x if shortcut is None else self.layer(shortcut, x)
                for conv in body:
                    x = self.layer(conv, x)
                return self.relu(self.node("Add", f"{name}.add", [x, around]))

    def conv(self, conv: Conv, x: str) -> str:
        kernel, bias = fold(conv, self.weights)
        inputs = [x]
        inputs.append(self.constant(f"{conv.name}.weight", kernel))
        inputs.append(self.constant(f"{conv.name}.bias", bias))
        groups = {} if conv.groups == 1 else {"group": conv.groups}
        return self.node(
            "Conv",
            conv.name,
            inputs,
            kernel_shape=conv.kernel,
            strides=conv.stride,
            pads=conv.padding * 2,
            **groups,
        )

    def relu(self, x: str) -> str:
        return self.node("Relu", f"{x}.relu", [x])

    def reshape(self, name: str, x: str, shape: Sequence[int]) -> str:
        target = self.constant(f"{name}.shape", np.array(shape, np.int64))
        return self.node("Reshape", name, [x, target])


def build_clips(
    arch: Architecture,
    weights: Mapping[str, NDArray[np.float32]],
    *,
    recipe: Recipe,
    batch: int,
    classes: Sequence[str],
    source_sha256: str,
    split: str | None = None,
    input_name: str = DEFAULT_INPUT,
) -> onnx.ModelProto:
    """The layout ``clips``: float32 [batch, views, channels, length, size, size] to logits
    [batch * views, classes].

    `batch` is the number of samples, or `DYNAMIC`. `split`: which a data set is tested on, where
    that is not the usual one.
    """
    if not input_name:
        raise ModelError("the input needs a name")
    graph = _Graph(weights)
    x = graph.reshape("clips", input_name, (-1, *recipe.clip_shape))
    for layer in arch.layers:
        x = graph.layer(layer, x)
    x = graph.node("GlobalAveragePool", "avg_pool", [x])
    x = graph.reshape("features", x, (-1, arch.features))
    for part in ("fc_cls.weight", "fc_cls.bias"):
        graph.constant(part, weights[part])
    graph.node("Gemm", OUTPUT, [x, "fc_cls.weight", "fc_cls.bias"], transB=1)

    if input_name in {t.name for t in graph.initializers} | {n.name for n in graph.nodes}:
        raise ModelError(f"input name {input_name!r} is a tensor of the network; choose another")
    samples: int | str = "batch" if batch == DYNAMIC else batch
    rows: int | str = "clips" if batch == DYNAMIC else batch * recipe.views
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "posec3d",
            [
                helper.make_tensor_value_info(
                    input_name, TensorProto.FLOAT, [samples, recipe.views, *recipe.clip_shape]
                )
            ],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [rows, arch.num_classes])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="posec3d-engine",
        producer_version=__version__,
    )
    helper.set_model_props(
        model,
        {
            "layout": "clips",
            "classes": json.dumps(list(classes)),
            "preprocessing": json.dumps(recipe_to_file(recipe)),
            "source_sha256": source_sha256,
            **({} if arch.network == SLOWONLY else {"network": arch.network}),
            **({"split": split} if split not in (None, DEFAULT_SPLIT) else {}),
        },
    )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"input name {input_name!r} does not fit this graph: {error}") from None
    return model
