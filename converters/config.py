"""mmaction2 configuration files, read with `ast`: nothing in them is executed.

Comes in: the path of a config (``_base_`` files are followed), or a name that ships. Goes out: the
`Architecture` it describes.

A value that is no plain literal (a function call, a comprehension) is remembered as
unreadable and is an error only if the model needs it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.network import BLOCKS_BY_DEPTH, Architecture
from engine.base import constants
from engine.base.errors import ModelError

SHIPPED = {
    "slowonly_kinetics400_pretrained_r50_u48_120e_hmdb51_split1_keypoint": Architecture(),
}
"""Configurations known by name: no file is needed for them."""


@dataclass(frozen=True)
class Unreadable:
    """A value that only executing the file would give."""

    where: str


def read_architecture(config: str) -> Architecture:
    """The architecture of a shipped name or a config file.

    Raises `ModelError` that names what this converter does not build.
    """
    if config in SHIPPED:
        return SHIPPED[config]
    path = Path(config)
    if not path.is_file():
        known = "\n  ".join(SHIPPED)
        raise ModelError(f"config {config}: no such file, and not a name that ships:\n  {known}")
    values = read_config(path)
    _check_pipeline(values, path)
    return _architecture(values, path)


def read_config(path: Path, _parents: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The variables of a config file, those of its ``_base_`` files merged below them."""
    path = path.resolve()
    if path in _parents:
        raise ModelError(f"config {path}: _base_ leads back to itself")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise ModelError(f"config {path}: {error}") from None
    own: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name):
                try:
                    own[target.id] = _evaluate(node.value, own, path)
                except RecursionError:
                    raise ModelError(f"config {path}: line {node.lineno} nests too deep") from None
    bases = own.pop("_base_", [])
    merged: dict[str, Any] = {}
    for base in bases if isinstance(bases, (list, tuple)) else [bases]:
        if not isinstance(base, str):
            raise ModelError(f"config {path}: _base_ holds {base!r:.60}, not a path")
        merged.update(read_config(path.parent / base, (*_parents, path)))
    return _merge(merged, own)


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Div: operator.truediv,
}


def _evaluate(node: ast.expr, names: Mapping[str, Any], path: Path) -> Any:
    def value(child: ast.expr) -> Any:
        return _evaluate(child, names, path)

    match node:
        case ast.Constant():
            return node.value
        case ast.List():
            return [value(e) for e in node.elts]
        case ast.Tuple():
            return tuple(value(e) for e in node.elts)
        case ast.Dict(keys=keys) if all(isinstance(k, ast.Constant) for k in keys):
            return {
                k.value: value(v)
                for k, v in zip(keys, node.values, strict=True)
                if isinstance(k, ast.Constant)
            }
        case ast.Call(func=ast.Name(id="dict"), args=[]) if all(k.arg for k in node.keywords):
            return {str(k.arg): value(k.value) for k in node.keywords}
        case ast.Name() if node.id in names:
            return names[node.id]
        case ast.UnaryOp(op=ast.USub()):
            inner = value(node.operand)
            if isinstance(inner, (int, float)):
                return -inner
        case ast.BinOp() if type(node.op) in _OPERATORS:
            left, right = value(node.left), value(node.right)
            try:
                return _OPERATORS[type(node.op)](left, right)
            except (TypeError, ArithmeticError):
                pass
    return Unreadable(f"{path.name} line {node.lineno}")


def _merge(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Dicts are merged key by key (unless ``_delete_``), everything else replaced."""
    merged = dict(base)
    for key, value in own.items():
        below = merged.get(key)
        if isinstance(value, Mapping):
            value = dict(value)
            if not value.pop("_delete_", False) and isinstance(below, dict):
                value = _merge(below, value)
        merged[key] = value
    return merged


def _architecture(values: Mapping[str, Any], path: Path) -> Architecture:
    model = _section(values, "model", path)
    backbone = _section(model, "backbone", path)
    head = _section(model, "cls_head", path)
    types: tuple[tuple[Mapping[str, Any], str, str], ...] = (
        (model, "model", "Recognizer3D"),
        (backbone, "backbone", "ResNet3dSlowOnly"),
        (head, "cls_head", "I3DHead"),
    )
    for section, name, kind in types:
        if section.get("type") != kind:
            raise ModelError(
                f"config {path}: {name} is {section.get('type')!r}; "
                f"this converter builds {kind} only"
            )
    depth = backbone.get("depth")
    if not isinstance(depth, int) or depth not in BLOCKS_BY_DEPTH:
        raise ModelError(
            f"config {path}: backbone depth {depth!r}; known are {sorted(BLOCKS_BY_DEPTH)}"
        )
    _check_average(values, head, path)

    def number(section: Mapping[str, Any], key: str, default: int | None) -> int:
        got = section.get(key, default)
        if type(got) is not int or not 1 <= got <= 65536:
            raise ModelError(f"config {path}: {key}={got!r:.40} is not a usable number")
        return got

    stages = number(backbone, "num_stages", 4)
    if stages > 4:
        raise ModelError(f"config {path}: num_stages={stages}; at most 4")
    fixed = {  # what the graph is built for; the defaults of ResNet3dSlowOnly otherwise
        "conv1_kernel": (1, 7, 7),
        "conv1_stride_t": 1,
        "pool1_stride_t": 1,
        "with_pool1": True,
        "with_pool2": False,
        "style": "pytorch",
        "inflate_style": "3x1x1",
        "out_indices": (stages - 1,),
        "dilations": (1,) * stages,
        "lateral": False,
        "non_local": (0,) * stages,
    }
    defaults = {"out_indices": (3,), "dilations": (1, 1, 1, 1)[:stages]}
    for key, wanted in fixed.items():
        got = backbone.get(key, defaults.get(key, wanted))
        if (tuple(got) if isinstance(got, list) else got) != wanted:
            raise ModelError(f"config {path}: backbone {key}={got!r} is not supported ({wanted!r})")
    if head.get("spatial_type", "avg") != "avg":
        raise ModelError(f"config {path}: cls_head spatial_type must be 'avg'")

    def per_stage(key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        got = backbone.get(key, default)
        if not isinstance(got, (list, tuple)) or len(got) < stages:
            raise ModelError(f"config {path}: backbone {key}={got!r} for {stages} stages")
        return tuple(
            number({key: v}, key, None) if key != "inflate" else int(v == 1) for v in got[:stages]
        )

    arch = Architecture(
        in_channels=number(backbone, "in_channels", 3),
        base_channels=number(backbone, "base_channels", 64),
        stage_blocks=per_stage("stage_blocks", BLOCKS_BY_DEPTH[depth]),
        inflate=per_stage("inflate", (0, 0, 1, 1)),
        spatial_strides=per_stage("spatial_strides", (1, 2, 2, 2)),
        temporal_strides=per_stage("temporal_strides", (1, 1, 1, 1)),
        conv1_stride_s=number(backbone, "conv1_stride_s", 2),
        pool1_stride_s=number(backbone, "pool1_stride_s", 2),
        num_classes=number(head, "num_classes", None),
    )
    if head.get("in_channels") != arch.features:
        raise ModelError(
            f"config {path}: cls_head in_channels={head.get('in_channels')!r}, "
            f"but the backbone ends in {arch.features} channels"
        )
    return arch


def _check_average(values: Mapping[str, Any], head: Mapping[str, Any], path: Path) -> None:
    """Refuse another average over the clips than the engine computes."""
    test_cfg = values["model"].get("test_cfg")
    for section in (test_cfg, head):  # 0.24.1's place and that of 1.x
        got = section.get("average_clips", "prob") if isinstance(section, Mapping) else "prob"
        if got != "prob":
            raise ModelError(f"config {path}: average_clips={got!r}; the engine computes 'prob'")


# The test pipeline that the engine computes: every step in order with its parameters.
_STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("UniformSampleFrames", {"clip_len": 48, "num_clips": 10, "test_mode": True, "seed": 255}),
    ("PoseDecode", {}),
    (
        "PoseCompact",
        {"padding": 0.25, "threshold": 10, "hw_ratio": 1.0, "allow_imgpad": True},
    ),
    ("Resize", {"scale": (-1, 56), "keep_ratio": True}),
    ("CenterCrop", {"crop_size": 56}),
    (
        "GeneratePoseTarget",
        {
            "sigma": 0.6,
            "use_score": True,
            "with_kp": True,
            "with_limb": False,
            "double": True,
            "left_kp": constants.LEFT_JOINTS,
            "right_kp": constants.RIGHT_JOINTS,
        },
    ),
)
# mmaction2's defaults of those parameters, where a config may leave them out.
_DEFAULTS: dict[str, Any] = {
    "num_clips": 1,
    "test_mode": False,
    "seed": 255,
    "padding": 0.25,
    "threshold": 10,
    "hw_ratio": None,
    "allow_imgpad": True,
    "keep_ratio": True,
    "sigma": 0.6,
    "use_score": True,
    "with_kp": True,
    "with_limb": False,
    "double": False,
    "left_kp": constants.LEFT_JOINTS,
    "right_kp": constants.RIGHT_JOINTS,
}
_PACKING = {"FormatShape", "Collect", "ToTensor", "PackActionInputs"}  # change no number


def _check_pipeline(values: Mapping[str, Any], path: Path) -> None:
    """Refuse a test pipeline that the engine does not compute."""
    if "test_pipeline" not in values:
        return
    steps = values["test_pipeline"]
    if not isinstance(steps, list) or not all(isinstance(s, Mapping) for s in steps):
        raise ModelError(f"config {path}: test_pipeline is not a plain list of dicts")
    numeric = [s for s in steps if s.get("type") not in _PACKING]
    if [s.get("type") for s in numeric] != [name for name, _ in _STEPS]:
        names = " ".join(str(s.get("type")) for s in numeric)
        expected = " ".join(name for name, _ in _STEPS)
        raise ModelError(f"config {path}: test pipeline {names}; the engine computes {expected}")
    for step, (kind, wanted) in zip(numeric, _STEPS, strict=True):
        unknown = set(step) - set(wanted) - {"type"}
        for key, value in wanted.items():
            got = step.get(key, _DEFAULTS.get(key))
            if (tuple(got) if isinstance(got, list) else got) != value:
                raise ModelError(
                    f"config {path}: test pipeline {kind} has {key}={got!r}; "
                    f"the engine computes {key}={value!r} only"
                )
        if unknown:
            raise ModelError(f"config {path}: {kind} has unknown {', '.join(sorted(unknown))}")


def _section(values: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    section = values.get(key)
    if isinstance(section, Unreadable):
        raise ModelError(f"config {path}: {key} ({section.where}) is not a plain literal")
    if not isinstance(section, Mapping):
        raise ModelError(f"config {path}: no {key}")
    for name, value in section.items():
        if isinstance(value, Unreadable):
            raise ModelError(f"config {path}: {key}.{name} ({value.where}) is not a plain literal")
    return section
