"""Model files: what a file says of itself, and whether this engine can honour it.

Comes in: what ``--model`` says. Goes out: a `ModelFile`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import onnx

from engine.base import assets
from engine.base.assets import DEMO, Content
from engine.base.choices import CLIPS, LAYOUTS, SHARED, Layout
from engine.base.constants import HMDB51
from engine.base.errors import ModelError, UsageError, printable
from engine.base.published import (
    CHECKPOINTS,
    Checkpoint,
    checkpoint_of,
    config_of,
    read_class_names,
)
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.network import graphs, om
from engine.network.conversions import converted
from engine.network.cuts import Cuts
from engine.network.metadata import classes_of, described, gate_passed, read_recipe, recipe_of
from engine.network.om import CompiledFile

log = logging.getLogger("engine")

SLOWONLY: Final = "SlowOnly"  # the network of a file that names none
MAX_CLASSES: Final = 65536
MAX_BATCH: Final = 4096  # samples: what a device takes at most
_CHECKPOINT_SUFFIXES = (".pth", ".pt")
_NO_RECIPE: Final = (
    ", as HMDB51's: the file carries no recipe, and only python -m converters.pytorch2onnx makes "
    "files that do"
)


@dataclass(frozen=True)
class ModelFile:
    """A network on disk.

    `path`: an ``.onnx`` or ``.om`` file. `sha256`: of that file, hex. `input_name`: of
    its one input, float32 [batch, 20, 17, 48, 56, 56]. `batch`: samples a run, None where
    the file leaves it free. `classes`: names, one an output. `precision`: ``f32``, ``int8``
    for a quantised file (`converters.quantize`), what an ``.om`` was compiled for, else
    ``mixed``. `compiled`: the ``.om`` files, one for each number of samples, or one for all.
    Then `path` is the first of them, `input_name` is empty, and `batch` is None. `recipe`: of its
    input. `network`: the kind of it, as messages call it. `split`: which a data set is tested on,
    where the file says so. `published`: the checkpoint that it was made from, where that is a known
    one. `divisible`: whether it can be cut between frames, for layout ``shared``.
    `renamed`: whether `classes` are others than the file says. `largest`: the magnitude of its
    numbers at most, where that is known. `gated`: whether the file says that its accuracy was
    measured when it was quantised, and was within what was allowed.
    """

    path: Path
    sha256: str
    input_name: str
    batch: int | None
    classes: tuple[str, ...]
    precision: str
    layout: Layout = CLIPS
    recipe: Recipe = HMDB51_RECIPE
    compiled: tuple[CompiledFile, ...] = ()
    network: str = SLOWONLY
    split: str | None = None
    published: Checkpoint | None = None
    divisible: bool = False
    renamed: bool = False
    largest: float = 0.0
    gated: bool = False

    @property
    def intact(self) -> bool:
        """Whether what is on disk still is what was opened."""
        try:
            _ = [file.content() for file in self.compiled or [self]]
        except ModelError:
            return False
        return True

    def content(self) -> bytes:
        """The bytes of the ``.onnx`` file, the same for whoever asks, in whichever process and
        however late. Raises `ModelError` where they are no longer to be had."""
        return om.read_unchanged(self.path, self.sha256)

    def require_slowonly(self, by: str) -> None:
        """Raise `UsageError` for another network, for what computes no other."""
        if self.network != SLOWONLY:
            raise UsageError(
                f"{self.path} holds the network {self.network:.40}, which {by} does not compute; "
                "--backend openvino and onnxruntime do"
            )

    def with_layout(self, wanted: str, *, whole_clips: bool) -> ModelFile:
        """The same file, to be run in a layout, or ``auto``; `whole_clips` says that samples
        come as such. Raises `UsageError` where that cannot be."""
        if self.compiled:
            return self._as_compiled(wanted, whole_clips)
        if wanted == SHARED and whole_clips:
            raise UsageError("--layout shared needs distinct frames, which --wire clips has not")
        if wanted == SHARED and not self.divisible:
            raise UsageError(
                f"--layout shared: {self.path} ({self.network:.40}) cannot be cut between frames; "
                "--layout clips runs it"
            )
        if wanted == "auto":
            shares = not whole_clips and self.batch is None and self.divisible
            return replace(self, layout=SHARED if shares else CLIPS)
        return replace(self, layout=SHARED if wanted == SHARED else CLIPS)

    def _as_compiled(self, wanted: str, whole_clips: bool) -> ModelFile:
        if wanted not in ("auto", self.layout):
            raise UsageError(f"--layout {wanted}: {self.path} was compiled as {self.layout}")
        if self.layout == SHARED and whole_clips:
            raise UsageError(
                f"{self.path} takes distinct frames (layout shared), which --wire clips has not"
            )
        return self


def open_model(
    spec: str, gears: str | None = None, config: str | None = None, classes: str | None = None
) -> ModelFile:
    """Find, convert if need be, and check the model that `spec` names.

    `spec` is an ``.onnx`` path, one ``.om`` path or several separated by commas, a checkpoint
    (``.pth``), ``demo``, or the name of a published checkpoint. `gears`, `config` and `classes` as
    of ``--gears``, ``--config`` and ``--classes``. Raises `ModelError` (or `UsageError` where a
    published file is not at hand) that says what to do.
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
    if spec.endswith(om.SUFFIX):
        model = _read_compiled([Path(part) for part in spec.split(",")], gears)
    else:
        model = _read_onnx(_found(spec, config))
    if spec in CHECKPOINTS:
        model = replace(model, published=CHECKPOINTS[spec])
    if classes is not None:
        names = read_class_names(Path(classes), len(model.classes))
        model = replace(model, classes=names, renamed=names != model.classes)
    return model


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


def _read_compiled(paths: list[Path], gears: str | None) -> ModelFile:
    """OM files as one model. Their shapes are checked where they are loaded."""
    for path in paths:
        if path.suffix != om.SUFFIX:
            raise ModelError(f"{path}: only .om files may be listed, separated by commas")
        if not path.is_file():
            raise ModelError(f"model {path}: no such file")
    if len({path.resolve() for path in paths}) < len(paths):
        raise ModelError(f"{', '.join(map(str, paths))}: the same file twice")
    found = [om.describe(path) for path in paths]
    described = [about for about in found if about is not None]
    if gears is not None and (described or len(paths) > 1):
        raise UsageError("--gears is for one .om file without a .om.json, which would tell them")
    if described and len(described) < len(paths):
        bare = next(p for p, about in zip(paths, found, strict=True) if about is None)
        raise ModelError(f"{bare} has no {bare.name}.json, the others have theirs")
    files = tuple(
        CompiledFile(
            om.check_path(path), assets.file_sha256(path), om.parse_gears(gears) if gears else ()
        )
        if about is None
        else CompiledFile(
            om.check_path(path), about.sha256, about.gears, about.geared, about.soc_version
        )
        for path, about in zip(paths, found, strict=True)
    )
    if not described:
        log.warning(
            "%s: no %s.json, taken as layout `clips` of HMDB51 with mmaction2's constants",
            paths[0],
            paths[0].name,
        )
    else:
        _check_alike(paths, described)
    digests = [file.sha256 for file in files]
    model = ModelFile(
        path=paths[0],
        sha256=digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest(),
        input_name="",
        batch=None,
        classes=HMDB51,
        precision="f16",  # what atc compiles for
        compiled=files,
    )
    if not described:
        return model
    first = described[0]
    return replace(
        model,
        classes=first.classes,
        precision=first.precision,
        layout=SHARED if first.layout == SHARED else CLIPS,
        recipe=read_recipe(paths[0], first.preprocessing),
        network=first.network or SLOWONLY,
        split=first.split,
        published=CHECKPOINTS.get(first.published or ""),
    )


def _check_alike(paths: Sequence[Path], found: Sequence[om.Description]) -> None:
    """Raise `ModelError` unless the files are one network, each for other sizes."""
    first = found[0]
    for path, about in zip(paths, found, strict=True):
        if about.layout not in LAYOUTS:
            raise ModelError(f"{path}: layout {about.layout!r}; known: {' and '.join(LAYOUTS)}")
        read_recipe(path, about.preprocessing)
        for name in ("layout", "dtype", "precision", "classes", "preprocessing"):
            if getattr(about, name) != getattr(first, name):
                raise ModelError(f"{paths[0]} and {path} differ in {name}: not one network")
        if about.geared and len(found) > 1:
            raise ModelError(f"{path} has several gears; it runs alone, not in a list of files")
    gears = [about.gears for about in found]
    if len(set(gears)) < len(gears):
        raise ModelError(f"{', '.join(map(str, paths))}: two files of the same size")


def _read_onnx(content: Content) -> ModelFile:
    path = content.path
    model = graphs.parsed(content)
    graph = model.graph
    output = graph.output[0].name if graph.output else ""
    if any(node.op_type == "Softmax" and output in node.output for node in graph.node):
        raise ModelError(f"{path} ends in a Softmax; export it without: the engine needs logits")
    weights = {t.name for t in graph.initializer}
    inputs = [i for i in graph.input if i.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ModelError(
            f"{path} has {len(inputs)} inputs and {len(graph.output)} outputs; "
            "a PoseC3D of layout `clips` has one of each"
        )
    properties = {p.key: p.value for p in model.metadata_props}
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
