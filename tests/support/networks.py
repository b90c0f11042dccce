"""Small networks with made-up weights, and the files of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from converters.c3d import C3D
from converters.graph import DYNAMIC, build_clips, select_weights
from converters.network import Architecture, convolutions
from converters.quantize import quantise
from converters.slowonly import SlowOnly
from converters.x3d import X3D
from engine.base.constants import HMDB51
from engine.base.recipe import HMDB51_RECIPE, Recipe, exchanged
from engine.skeletons.clips import decode
from engine.skeletons.poses import PoseSequence
from tests.support.samples import annotation

TINY = SlowOnly(base_channels=4, stage_blocks=(1, 1, 1))
"""A network of the same form, 40 times cheaper."""
STRIDED = replace(TINY, conv1_stride_s=2)
"""A quarter of that, where whole clips go through it and nothing is shared."""
TINY_C3D = C3D(base_channels=2, num_stages=4, temporal_downsample=True)
TINY_X3D = X3D(base_channels=8, stage_blocks=(1, 2), spatial_strides=(1, 2))

LIMBS = Recipe(
    length=32,
    clips=2,
    size=64,
    limbs=((5, 7), (6, 8), (11, 12), (5, 6), (0, 5)),
    flip="mirror",
    twins=exchanged(5, (0,), (1,)),
    precision="float32",
)
"""A recipe of which no number is HMDB51's: there are fewer channels than joints, too."""

TINY_LIMBS = replace(TINY, in_channels=LIMBS.channels)


def random_state_dict(arch: Architecture, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Weights under mmaction2's names, scaled so that activations neither die nor explode."""
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray[Any, Any]] = {}
    for conv in convolutions(arch):
        bound = np.sqrt(6 / np.prod(conv.shape[1:]))
        state[f"backbone.{conv.name}.conv.weight"] = rng.uniform(-bound, bound, conv.shape)
        if not conv.normalised:
            continue
        low, high = (0.2, 0.6) if conv.name.endswith("conv3") else (0.5, 1.5)
        state[f"backbone.{conv.name}.bn.weight"] = rng.uniform(low, high, conv.outputs)
        state[f"backbone.{conv.name}.bn.bias"] = rng.uniform(-0.3, 0.3, conv.outputs)
        state[f"backbone.{conv.name}.bn.running_mean"] = rng.uniform(-0.1, 0.1, conv.outputs)
        state[f"backbone.{conv.name}.bn.running_var"] = rng.uniform(0.5, 1.5, conv.outputs)
    state["cls_head.fc_cls.weight"] = rng.uniform(-3, 3, (arch.num_classes, arch.features))
    state["cls_head.fc_cls.bias"] = rng.uniform(-1, 1, arch.num_classes)
    return {name: array.astype(np.float32) for name, array in state.items()}


def write_model(
    path: Path,
    state: Mapping[str, np.ndarray[Any, Any]],
    arch: Architecture,
    batch: int = DYNAMIC,
    classes: Sequence[str] = HMDB51,
    recipe: Recipe = HMDB51_RECIPE,
) -> Path:
    """An ONNX file of layout ``clips``."""
    weights = select_weights(arch, state)
    model = build_clips(
        arch, weights, recipe=recipe, batch=batch, classes=classes, source_sha256="0" * 64
    )
    path.write_bytes(model.SerializeToString())
    return path


def write_decided(path: Path, mean: np.ndarray[Any, Any]) -> Path:
    """`TINY` that tells samples apart: its classifier weighs how logits differ from the `mean`
    [classes] of what it says with a bias of zero, in which all are alike."""
    weight, bias = "cls_head.fc_cls.weight", "cls_head.fc_cls.bias"
    state, scale = random_state_dict(TINY), np.float32(1000)
    return write_model(path, {**state, weight: scale * state[weight], bias: -scale * mean}, TINY)


def write_quantised(path: Path, model: Path) -> Path:
    """The network of `model` in int8. NNCF has to be installed."""
    clips = [
        (decode(PoseSequence.from_annotation(annotation(40, seed=seed)), HMDB51_RECIPE), seed)
        for seed in range(4)
    ]
    path.write_bytes(quantise(onnx.load(str(model)), clips).SerializeToString())
    return path
