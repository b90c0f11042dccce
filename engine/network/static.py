"""Static files: ONNX graphs of layout ``contexts``, one for each number of frames.

Comes in: a network as one graph (`engine.network.chain`), to be written, or such a file. Goes out:
the file, or its `Description`, which is the same as that of an OM that was compiled from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from engine.base.assets import Content
from engine.base.choices import CLIPS, CONTEXTS
from engine.base.errors import ModelError, printable
from engine.base.published import checkpoint_of
from engine.network import graphs
from engine.network.chain import level_input
from engine.network.cuts import FRAMES
from engine.network.metadata import classes_of, recipe_of
from engine.network.om import Description, Interface


def is_static(properties: Mapping[str, str]) -> bool:
    """Whether a file is one of these, by its metadata."""
    return properties.get("layout") == CONTEXTS


def mark(
    graph: onnx.ModelProto, properties: Mapping[str, str], strides: Sequence[int]
) -> onnx.ModelProto:
    """Give a graph its metadata: `properties` of the file that it was made from, and what the
    tables are made by."""
    about = {**properties, "layout": CONTEXTS, "strides": json.dumps(list(strides))}
    helper.set_model_props(graph, about)
    return graph


def describe_static(content: Content, model: onnx.ModelProto) -> tuple[Description, float]:
    """What a file is, and the largest magnitude of a number in it. Raises `ModelError`."""
    path = content.path
    properties = {p.key: p.value for p in model.metadata_props}
    recipe = recipe_of(path, properties)
    strides = _strides(path, properties)
    weights = {t.name for t in model.graph.initializer}
    inputs = {i.name: i for i in model.graph.input if i.name not in weights}
    levels = [level_input(number) for number in range(len(strides))]
    names = [FRAMES, *levels, CLIPS]
    if list(inputs) != names or len(model.graph.output) != 1:
        raise ModelError(
            f"{path}: inputs {', '.join(inputs)[:200]}; expected {', '.join(names)}, and one output"
            f"{_AGAIN}"
        )
    shapes = [_shape(inputs[name]) for name in names]
    frames, counts = shapes[0][0], tuple(shape[-1] for shape in shapes[1:-1])
    interface = Interface(CONTEXTS, recipe, {frames: counts})
    columns = _shape(model.graph.output[0])
    most = recipe.views * recipe.length  # positions of all clips
    if (
        not all(0 < count <= most for count in (frames, *counts))
        or shapes != interface.inputs(frames)
        or len(columns) != 2
    ):
        raise ModelError(f"{path}: inputs of shapes {shapes}, which are not its recipe's{_AGAIN}")
    types = [inputs[name].type.tensor_type.elem_type for name in names]
    kinds = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}
    if types != [kinds[kind] for kind in interface.types("float32")]:
        raise ModelError(f"{path}: inputs of other types than {interface.types('float32')}{_AGAIN}")
    classes = classes_of(path, properties, columns[1])
    largest = graphs.check(content, model)
    published = checkpoint_of(properties.get("source_sha256", ""))
    network = properties.get("network")
    return (
        Description(
            layout=CONTEXTS,
            gears=(frames,),
            geared=False,
            dtype="float32",
            precision="f32",
            classes=classes,
            preprocessing=_preprocessing(properties),
            soc_version="",
            sha256=content.sha256,
            network=None if network is None else printable(network),
            split=properties.get("split"),
            published=None if published is None else published.name,
            strides=strides,
            levels=counts,
            made_of=properties.get("made_of"),
        ),
        largest,
    )


_AGAIN = "; make it again (python -m converters.onnx2om --layout shared)"


def _strides(path: Path, properties: Mapping[str, str]) -> tuple[int, ...]:
    try:
        found = json.loads(properties["strides"])
        if not all(type(stride) is int and stride > 0 for stride in found):
            raise ValueError(found)
        return tuple(found)
    except (LookupError, ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{path}: damaged metadata (strides: {error!r:.100}){_AGAIN}") from None


def _preprocessing(properties: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(properties["preprocessing"])  # `recipe_of` has read it
    return found


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Dimensions; 0 where the file leaves one free, or has none."""
    return tuple(max(0, d.dim_value) for d in value.type.tensor_type.shape.dim) or (0,)
