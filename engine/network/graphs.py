"""Graphs: what is in an ONNX file, checked before anybody walks it.

Comes in: the file as it was read. Goes out: an `onnx.ModelProto` that is complete, without cycles
and other flaws, and of finite numbers. Some runtimes load what is not: OpenVINO's Relu makes zeros
of NaN, and gives every video the same scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray
from onnx import numpy_helper

from engine.base.assets import Content
from engine.base.errors import ModelError, printable

_FLOATS: Final = {
    number for name, number in onnx.TensorProto.DataType.items() if "FLOAT" in name
} | {onnx.TensorProto.DOUBLE}
_TIMES: Final = 16  # as many values as the input has, at most, between two nodes
_SAID: Final = 300  # characters of what the checker says


def parsed(content: Content) -> onnx.ModelProto:
    """The model in a file. Raises `ModelError` where it is none, or has its weights elsewhere."""
    path = content.path
    if not content.data:
        raise ModelError(f"{path} is empty")
    try:
        model = onnx.load_model_from_string(content.data)
    except DecodeError as error:
        raise ModelError(f"{path} is damaged or not an ONNX file ({error})") from None
    # A runtime would read the files that they name.
    external = onnx.TensorProto.EXTERNAL
    if any(
        part.data_location == external
        for part in _parts(model)
        if isinstance(part, onnx.TensorProto)
    ):
        raise ModelError(f"{path} keeps its weights in other files; store it as one file")
    if not all(map(_is_text, _parts(model))):
        raise ModelError(f"{path} is damaged: it has names that are not UTF-8")
    return model


def _is_text(part: Message) -> bool:
    """Whether all texts of a message are such; protobuf hands over others as bytes."""
    texts = [value for field, value in part.ListFields() if field.type == field.TYPE_STRING]
    each = (one for text in texts for one in ([text] if isinstance(text, (str, bytes)) else text))
    return not any(isinstance(one, bytes) for one in each)


def check(content: Content, model: onnx.ModelProto) -> float:
    """The largest magnitude of a number in a graph. Raises `ModelError` for one that is not as ONNX
    has it (nodes in a circle, an output of another shape than it declares, …) or that holds numbers
    which are not finite."""
    path, largest = content.path, 0.0
    try:
        onnx.checker.check_model(content.data, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(content.data, data_prop=True)
    except Exception as error:  # its own two kinds, and what its C++ raises beside them
        said = " ".join(printable(error).split())
        raise ModelError(f"{path} is no valid ONNX graph: {said[:_SAID]}") from None
    _check_sizes(path, model.graph, inferred.graph)
    for part in _parts(model):
        if isinstance(part, onnx.TensorProto) and part.data_type in _FLOATS:
            try:
                magnitude = _largest(part)
            except (ValueError, TypeError) as error:  # what the checker lets pass
                raise ModelError(f"{path}: {printable(part.name)} is damaged ({error})") from None
            if not isfinite(magnitude):
                raise ModelError(
                    f"{path}: {printable(part.name) or 'a constant'} holds values that are not "
                    "finite numbers (NaN or infinite): the training diverged, or the file is "
                    "damaged"
                )
            largest = max(largest, magnitude)
        if isinstance(part, onnx.AttributeProto) and not all(map(isfinite, [part.f, *part.floats])):
            raise ModelError(
                f"{path}: the attribute {printable(part.name)} of a node is no finite number"
            )
    return largest


def _check_sizes(path: Path, graph: onnx.GraphProto, inferred: onnx.GraphProto) -> None:
    """Raise `ModelError` for a value that is out of all proportion to the network's input, so far
    as its shape is known: a few bytes can say that a constant has any size, or be repeated."""
    names = {tensor.name for tensor in graph.initializer}
    most = sum(_known_size(one) for one in graph.input if one.name not in names)
    sizes = {one.name: _known_size(one) for one in (*inferred.value_info, *inferred.output)}
    stored = sum(prod(tensor.dims) for tensor in graph.initializer)
    made = 0  # of nothing but constants, as weights are that were quantised
    for node in graph.node:
        constant = all(name in names for name in node.input if name)
        for name in filter(None, node.output):
            made += sizes.get(name, 0) if constant else 0
            if constant:
                names.add(name)
            if made > most + stored or sizes.get(name, 0) > _TIMES * most:
                raise ModelError(
                    f"{path}: {printable(name)} has {max(made, sizes[name]):,} values where the "
                    f"network's input has {most:,}; this is no PoseC3D, or the file is damaged"
                )


def _known_size(value: onnx.ValueInfoProto) -> int:
    """Values of one sample, so far as they are known."""
    return prod(max(1, dim.dim_value) for dim in value.type.tensor_type.shape.dim)


def _largest(tensor: onnx.TensorProto) -> float:
    """The largest magnitude in a tensor; NaN where there is one."""
    values: NDArray[Any] = numpy_helper.to_array(tensor)
    if values.dtype.kind != "f":  # a type that numpy has not: bfloat16 and smaller ones
        values = values.astype(np.float32)
    return float(np.maximum(values.max(initial=0), -values.min(initial=0)))


def _parts(message: Message) -> Iterator[Message]:
    """Every message in a model, wherever it hides."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in [value] if isinstance(value, Message) else value:
                yield from _parts(part)
