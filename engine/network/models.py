"""Model files: what a file says of itself, and whether this engine can honour it.

Comes in: what ``--model`` says. Goes out: a `ModelFile`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import onnx

from engine.base import assets
from engine.base.assets import DEMO, Content
from engine.base.errors import ModelError, UsageError, printable
from engine.base.published import CHECKPOINTS, checkpoint_of, config_of, read_class_names
from engine.network import graphs, om
from engine.network.conversions import converted
from engine.network.cuts import Cuts
from engine.network.listed import read_compiled, read_static
from engine.network.metadata import classes_of, described, gate_passed, recipe_of
from engine.network.model_file import SLOWONLY as SLOWONLY
from engine.network.model_file import ModelFile as ModelFile
from engine.network.static import is_static

MAX_CLASSES: Final = 65536
MAX_BATCH: Final = 4096  # samples: what a device takes at most
_CHECKPOINT_SUFFIXES = (".pth", ".pt")
_NO_RECIPE: Final = (
    ", as HMDB51's: the file carries no recipe, and only python -m converters.pytorch2onnx makes "
    "files that do"
)


def open_model(
    spec: str, gears: str | None = None, config: str | None = None, classes: str | None = None
) -> ModelFile:
    """Find, convert if need be, and check the model that `spec` names.

    `spec` is an ``.onnx`` path, an ``.om`` path, several of either separated by commas (``.onnx``
    of layout ``contexts`` only), a checkpoint (``.pth``), ``demo``, or the name of a published
    checkpoint. `gears`, `config` and `classes` as of ``--gears``, ``--config`` and ``--classes``.
    Raises `ModelError` (or `UsageError` where a published file is not at hand) that says what to
    do.
    """
    if gears is not None and not spec.endswith(om.SUFFIX):
        raise UsageError(f"--gears is for an .om file, which {spec} is not")
    path = Path(spec)
    if config is not None and _is_known(spec):
        raise UsageError(
            f"--config is for a checkpoint (.pth), and {spec} has its own; name --model FILE.pth"
        )
    if config is not None and path.suffix not in _CHECKPOINT_SUFFIXES:
        raise UsageError(f"--config is for a checkpoint (.pth), which {spec} is not")
    config = None if config is None else config_of(config)
    if config is not None and config not in CHECKPOINTS and not Path(config).is_file():
        raise UsageError(
            f"--config {config}: no such file, and not the name of a published checkpoint (--list "
            "shows them)"
        )
    listed = [Path(part) for part in spec.split(",")]
    if len(listed) > 1 and not path.exists():
        _check_list(spec, listed)
    if spec.endswith(om.SUFFIX):
        model = read_compiled(listed, gears)
    elif len(listed) > 1 and spec.endswith(".onnx") and not path.is_file():
        model = read_static([_found(str(one), None) for one in listed])
    else:
        model = _read_onnx(_found(spec, config))
    if spec in CHECKPOINTS:
        model = replace(model, published=CHECKPOINTS[spec])
    if classes is not None:
        names = read_class_names(Path(classes), len(model.classes))
        model = replace(model, classes=names, renamed=names != model.classes)
    return model


def _check_list(spec: str, listed: Sequence[Path]) -> None:
    """Raise `ModelError` unless all are OM files or all are ONNX files."""
    if {one.suffix for one in listed} in ({om.SUFFIX}, {".onnx"}):
        return
    raise ModelError(
        f"model {spec}: a list, separated by commas, holds .om files alone or .onnx files of "
        "converters.onnx2om --layout shared alone; name one model, or files of one kind"
    )


def _is_known(spec: str) -> bool:
    return spec == DEMO or spec in CHECKPOINTS


def _found(spec: str, config: str | None) -> Content:
    """The ONNX file that `spec` names."""
    if spec == DEMO:
        return converted(assets.demo_checkpoint(), digest=assets.DEMO_SHA256)
    if spec in CHECKPOINTS:
        return converted(assets.locate(CHECKPOINTS[spec]), spec)
    path = Path(spec)
    if path.is_dir():
        raise ModelError(f"model {spec} is a folder; a .onnx, .om or .pth file is needed")
    if not path.is_file():
        raise ModelError(
            f"model {spec}: no such file, and neither {DEMO} nor the name of a published "
            "checkpoint (--list shows them)"
        )
    if path.suffix in _CHECKPOINT_SUFFIXES:
        return converted(path, config)
    if path.suffix != ".onnx":
        raise ModelError(f"{path}: models end in .onnx, .om or .pth")
    try:
        return Content.of(path)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None


def _read_onnx(content: Content) -> ModelFile:
    path = content.path
    model = graphs.parsed(content)
    graph = model.graph
    output = graph.output[0].name if graph.output else ""
    if any(node.op_type == "Softmax" and output in node.output for node in graph.node):
        raise ModelError(f"{path} ends in a Softmax; export it without: the engine needs logits")
    properties = {p.key: p.value for p in model.metadata_props}
    if is_static(properties):
        return read_static([content])
    weights = {t.name for t in graph.initializer}
    inputs = [i for i in graph.input if i.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ModelError(
            f"{path} has {len(inputs)} inputs and {len(graph.output)} outputs; "
            "a PoseC3D of layout `clips` has one of each"
        )
    recipe = recipe_of(path, properties)
    shape, wanted = _shape(inputs[0]), (recipe.views, *recipe.clip_shape)
    if len(shape) != 6 or shape[1:] != wanted:
        raise ModelError(
            f"{path}: input {inputs[0].name!r} has shape {_spell(shape)}; expected "
            f"{_spell((None, *wanted))}"
            + ("; convert it again" if described(path, properties) else _NO_RECIPE)
        )
    if shape[0] is not None and shape[0] > MAX_BATCH:
        raise ModelError(
            f"{path}: input {inputs[0].name!r} takes {shape[0]} samples at once; at most "
            f"{MAX_BATCH}, or leave the batch free"
        )
    if inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise ModelError(f"{path}: input {inputs[0].name!r} is not float32")
    columns = _shape(graph.output[0])
    if len(columns) != 2 or columns[1] is None:
        raise ModelError(f"{path}: output has shape {_spell(columns)}; expected [clips, classes]")
    if columns[1] > MAX_CLASSES:
        raise ModelError(f"{path} declares {columns[1]} classes; at most {MAX_CLASSES}")
    largest = graphs.check(content, model)
    return ModelFile(
        path=path,
        sha256=content.sha256,
        input_name=inputs[0].name,
        batch=shape[0],
        classes=classes_of(path, properties, columns[1]),
        precision=_precision(graph),
        recipe=recipe,
        network=printable(properties.get("network", SLOWONLY)),
        split=properties.get("split"),
        published=checkpoint_of(properties.get("source_sha256", "")),
        divisible=_divisible(model),
        largest=largest,
        gated=gate_passed(properties),
    )


def _divisible(model: onnx.ModelProto) -> bool:
    try:
        Cuts(model)
    except ModelError:
        return False
    return True


def _precision(graph: onnx.GraphProto) -> str:
    """What a runtime that computes in the types of the file computes in."""
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8"  # by `converters.quantize`, or as it does
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}  # int64: shapes
    return "f32" if {t.data_type for t in graph.initializer} <= floats else "mixed"


def _shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """Dimensions; None where the file leaves one free."""
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in dims)


def _spell(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("batch" if n is None else str(n) for n in shape) + "]"
