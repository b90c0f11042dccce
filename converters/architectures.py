"""Architectures: what a config's model means.

Comes in: a config file (`converters.config`), or a name that ships. Goes out: the `Architecture`,
and the `Recipe` of its input. A key that is not known here is refused by name: what it would change
is not built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from converters.c3d import C3D
from converters.config import read_config, section, unknown_keys
from converters.dialects import recipe_of
from converters.network import Architecture
from converters.slowonly import BLOCKS_BY_DEPTH, SlowOnly
from converters.x3d import EXPANSION, X3D
from engine.base.errors import ModelError
from engine.base.published import BENCHMARKS, CHECKPOINTS, Network
from engine.base.recipe import Recipe

# Keys that change nothing at test time.
_OF_TRAINING: Final = {
    "pretrained",
    "pretrained2d",
    "frozen_stages",
    "norm_eval",
    "zero_init_residual",
    "with_cp",
    "init_cfg",
    "dropout_ratio",
    "dropout",
    "init_std",
    "loss_cls",
    "loss_weight",
    "label_smooth_eps",
    "topk",
    "multi_class",
    "average_clips",  # is checked
}
_OF_MODEL: Final = {"type", "backbone", "cls_head", "train_cfg", "test_cfg", "data_preprocessor"}
_OF_HEAD: Final = {"type", "in_channels", "num_classes", "spatial_type"} | _OF_TRAINING
_OF_SLOWONLY: Final = {
    "type",
    "depth",
    "in_channels",
    "base_channels",
    "num_stages",
    "stage_blocks",
    "inflate",
    "spatial_strides",
    "temporal_strides",
    "conv1_stride_s",
    "pool1_stride_s",
    "conv1_stride",
    "pool1_stride",
    "conv_cfg",
    "norm_cfg",
    "act_cfg",
} | _OF_TRAINING
_OF_C3D: Final = {
    "type",
    "in_channels",
    "base_channels",
    "num_stages",
    "temporal_downsample",
} | _OF_TRAINING
_OF_X3D: Final = {
    "type",
    "in_channels",
    "base_channels",
    "num_stages",
    "stage_blocks",
    "spatial_strides",
    "se_style",  # of what is absent
    "conv_cfg",
    "norm_cfg",
    "act_cfg",
} | _OF_TRAINING


_NETWORKS: Final[dict[Network, Architecture]] = {
    "slowonly-346": SlowOnly(),
    "slowonly-463": SlowOnly(stage_blocks=(4, 6, 3)),
    "slowonly-463-long": SlowOnly(stage_blocks=(4, 6, 3), temporal_strides=(1, 1, 1)),
    "c3d-light": C3D(),
    "x3d-shallow": X3D(),
}
SHIPPED: Final = {
    name: (
        replace(_NETWORKS[one.network], num_classes=BENCHMARKS[one.benchmark].count),
        one.recipe,
    )
    for name, one in CHECKPOINTS.items()
}
"""Configurations known by name, those of the published checkpoints: no file is needed for them."""


def read_network(config: str) -> tuple[Architecture, Recipe]:
    """What a shipped name or a config file describes. Raises `ModelError` that names what this
    converter does not build."""
    if config in SHIPPED:
        return SHIPPED[config]
    path = Path(config)
    if not path.is_file():
        raise ModelError(
            f"config {config}: no such file, and not a name that python -m engine.run --list shows"
        )
    values = read_config(path)
    recipe = recipe_of(values, path)
    return architecture_of(values, path, recipe.channels), recipe


def architecture_of(values: Mapping[str, Any], path: Path, channels: int) -> Architecture:
    """The architecture of a config's ``model``, for an input of so many channels. Raises
    `ModelError`."""
    try:
        return _architecture(values, channels)
    except ModelError as error:
        raise ModelError(f"config {path}: {error}") from None


def _architecture(values: Mapping[str, Any], channels: int) -> Architecture:
    model = section(values, "model")
    backbone = section(model, "backbone")
    head = section(model, "cls_head")
    for found, name, kinds in (
        (model, "model", ["Recognizer3D"]),
        (backbone, "backbone", list(_BACKBONES)),
        (head, "cls_head", ["I3DHead"]),
    ):
        if found.get("type") not in kinds:
            raise ModelError(
                f"{name} is {found.get('type')!r}; this converter builds {', '.join(kinds)} only"
            )
    _check_model(values, model, head)
    arch = _BACKBONES[backbone["type"]](backbone, _number(head, "num_classes", None))
    if arch.in_channels != channels:
        raise ModelError(
            f"backbone in_channels={arch.in_channels}, but the test pipeline draws {channels}"
        )
    if head.get("in_channels") != arch.features:
        raise ModelError(
            f"cls_head in_channels={head.get('in_channels')!r}, "
            f"but the backbone ends in {arch.features} channels"
        )
    return arch


def _check_model(
    values: Mapping[str, Any], model: Mapping[str, Any], head: Mapping[str, Any]
) -> None:
    """Raise `ModelError` for what would change the numbers around backbone and head."""
    _known(model, _OF_MODEL, "model")
    _known(head, _OF_HEAD, "cls_head")
    if head.get("spatial_type", "avg") != "avg":
        raise ModelError("cls_head spatial_type must be 'avg'")
    preprocessor = model.get("data_preprocessor") or {}
    for key in ("mean", "std"):
        if isinstance(preprocessor, Mapping) and preprocessor.get(key) is not None:
            raise ModelError(f"data_preprocessor has {key}; the engine normalises nothing")
    for found in (values["model"].get("test_cfg"), head):  # 0.24.1's place and that of 1.x
        got = found.get("average_clips", "prob") if isinstance(found, Mapping) else "prob"
        if got != "prob":
            raise ModelError(f"average_clips={got!r}; the engine computes 'prob'")


def _slowonly(backbone: Mapping[str, Any], classes: int) -> SlowOnly:
    stages = _stages(backbone)
    depth = backbone.get("depth", 50)  # pyskl's only one, which it does not say
    if not isinstance(depth, int) or depth not in BLOCKS_BY_DEPTH:
        raise ModelError(f"backbone depth {depth!r}; known are {sorted(BLOCKS_BY_DEPTH)}")
    fixed: dict[str, Any] = {
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
        "advanced": False,
    }
    defaults = {"out_indices": (3,), "dilations": (1, 1, 1, 1)[:stages]}
    _fixed(backbone, _OF_SLOWONLY, fixed, defaults)
    _check_layers(backbone)
    return SlowOnly(
        in_channels=_number(backbone, "in_channels", 3),
        base_channels=_number(backbone, "base_channels", 64),
        num_classes=classes,
        stage_blocks=_per_stage(backbone, "stage_blocks", BLOCKS_BY_DEPTH[depth], stages),
        inflate=_per_stage(backbone, "inflate", (0, 0, 1, 1), stages),
        spatial_strides=_per_stage(backbone, "spatial_strides", (1, 2, 2, 2), stages),
        temporal_strides=_per_stage(backbone, "temporal_strides", (1, 1, 1, 1), stages),
        conv1_stride_s=_stride(backbone, "conv1_stride"),
        pool1_stride_s=_stride(backbone, "pool1_stride"),
    )


def _c3d(backbone: Mapping[str, Any], classes: int) -> C3D:
    """Defaults are pyskl's."""
    _fixed(backbone, _OF_C3D, {}, {})
    stages, halves = backbone.get("num_stages", 4), backbone.get("temporal_downsample", True)
    for key, value, known in (
        ("num_stages", stages, (3, 4)),
        ("temporal_downsample", halves, (True, False)),
    ):
        if type(value) is not type(known[0]) or value not in known:
            raise ModelError(f"backbone {key}={value!r:.40} is not supported {known}")
    return C3D(
        in_channels=_number(backbone, "in_channels", 3),
        base_channels=_number(backbone, "base_channels", 64),
        num_classes=classes,
        num_stages=stages,
        temporal_downsample=halves,
    )


def _x3d(backbone: Mapping[str, Any], classes: int) -> X3D:
    """Defaults are pyskl's."""
    stages = _stages(backbone)
    fixed = {"gamma_w": 1, "gamma_b": EXPANSION, "gamma_d": 1, "se_ratio": None, "use_swish": False}
    defaults = {"gamma_d": 2.2, "se_ratio": 1 / 16, "use_swish": True}
    _fixed(backbone, _OF_X3D, fixed, defaults)
    _check_layers(backbone)
    width = _number(backbone, "base_channels", 24)
    if width % 8:
        raise ModelError(f"backbone base_channels={width} is not supported (a multiple of 8)")
    return X3D(
        in_channels=_number(backbone, "in_channels", 3),
        base_channels=width,
        num_classes=classes,
        stage_blocks=_per_stage(backbone, "stage_blocks", (1, 2, 5, 3), stages),
        spatial_strides=_per_stage(backbone, "spatial_strides", (2, 2, 2, 2), stages),
    )


_BACKBONES: Final[dict[str, Callable[[Mapping[str, Any], int], Architecture]]] = {
    "ResNet3dSlowOnly": _slowonly,
    "C3D": _c3d,
    "X3D": _x3d,
}


def _fixed(
    backbone: Mapping[str, Any],
    free: set[str],
    fixed: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> None:
    """Raise `ModelError` for what the graph is not built for: a key that is not known, or another
    value than the one of a `fixed` key. `defaults`: where the backbone's own is another."""
    _known(backbone, free | fixed.keys(), "backbone")
    for key, wanted in fixed.items():
        got = backbone.get(key, defaults.get(key, wanted))
        if (tuple(got) if isinstance(got, list) else got) != wanted:
            raise ModelError(f"backbone {key}={got!r:.80} is not supported ({wanted!r})")


def _check_layers(backbone: Mapping[str, Any]) -> None:
    """Raise `ModelError` for other convolutions, normalisation or activation than the usual."""
    for key, kind, others in (
        ("conv_cfg", "Conv3d", ""),
        ("norm_cfg", "BN3d", "requires_grad"),
        ("act_cfg", "ReLU", "inplace"),
    ):
        got = backbone.get(key, {"type": kind})
        plain = isinstance(got, Mapping) and not got.keys() - {"type", others}
        if not plain or got.get("type") != kind:
            raise ModelError(f"backbone {key}={got!r:.80} is not supported ({kind} as it is)")


def _known(found: Mapping[str, Any], keys: set[str], name: str) -> None:
    if unknown := found.keys() - keys:
        raise ModelError(unknown_keys(name, unknown, keys))


def _number(found: Mapping[str, Any], key: str, default: int | None) -> int:
    got = found.get(key, default)
    if type(got) is not int or not 1 <= got <= 65536:
        raise ModelError(f"{key}={got!r:.40} is not a usable number")
    return got


def _stages(backbone: Mapping[str, Any]) -> int:
    stages = _number(backbone, "num_stages", 4)
    if stages > 4:
        raise ModelError(f"num_stages={stages}; at most 4")
    return stages


def _per_stage(
    backbone: Mapping[str, Any], key: str, default: tuple[int, ...], stages: int
) -> tuple[int, ...]:
    got = backbone.get(key, default)
    if not isinstance(got, (list, tuple)) or len(got) < stages:
        raise ModelError(f"backbone {key}={got!r} for {stages} stages")
    return tuple(
        int(one == 1) if key == "inflate" else _number({key: one}, key, None)
        for one in got[:stages]
    )


def _stride(backbone: Mapping[str, Any], key: str) -> int:
    """In space: mmaction2's key is that of space, pyskl's of time and space."""
    if key not in backbone:
        return _number(backbone, f"{key}_s", 2)
    got = backbone[key]
    if f"{key}_s" in backbone or not isinstance(got, (list, tuple)) or len(got) != 2 or got[0] != 1:
        raise ModelError(f"backbone {key}={got!r:.40} is not supported (one frame, and a stride)")
    return _number({key: got[1]}, key, None)
