"""The other networks of pyskl's configs: what is translated, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.architectures import read_network
from converters.c3d import C3D
from converters.graph import build_clips, select_weights
from converters.network import Architecture, AveragePool, Conv, Residual, convolutions
from converters.slowonly import SlowOnly
from converters.x3d import X3D
from engine.base.errors import ModelError
from engine.base.recipe import Recipe
from tests.support.networks import TINY_C3D, TINY_X3D, random_state_dict

C3D_LIGHT = """type='C3D', in_channels=17, base_channels=32, num_stages=3,
        temporal_downsample=False"""
X3D_SHALLOW = """type='X3D', gamma_d=1, in_channels=17, base_channels=24, num_stages=3,
        se_ratio=None, use_swish=False, stage_blocks=(2, 5, 3), spatial_strides=(2, 2, 2)"""
MODEL = """
model = dict(
    type='Recognizer3D',
    backbone=dict({backbone}),
    cls_head=dict(type='I3DHead', in_channels={features}, num_classes=60, dropout=0.5),
    test_cfg=dict(average_clips='prob'))
test_pipeline = [
    dict(type='UniformSampleFrames', clip_len=48, num_clips=10),
    dict(type='PoseDecode'),
    dict(type='PoseCompact', hw_ratio=1., allow_imgpad=True),
    dict(type='Resize', scale=(64, 64), keep_ratio=False),
    dict(type='GeneratePoseTarget', with_kp=True, with_limb=False, double=True),
    dict(type='FormatShape', input_format='NCTHW_Heatmap'),
    dict(type='Collect', keys=['imgs', 'label'], meta_keys=[]),
]
"""


def read(folder: Path, backbone: str, features: int) -> tuple[Architecture, Recipe]:
    path = folder / "config.py"
    path.write_text(MODEL.format(backbone=backbone, features=features))
    return read_network(str(path))


def test_published(tmp_path: Path) -> None:
    arch, recipe = read(tmp_path, C3D_LIGHT, 256)
    assert arch == C3D(num_classes=60)
    assert (recipe.size, recipe.sampler) == (64, "pyskl")
    assert read(tmp_path, X3D_SHALLOW, 216)[0] == X3D(num_classes=60)
    deeper = "type='C3D', in_channels=17, base_channels=32"  # pyskl's defaults
    assert read(tmp_path, deeper, 256)[0] == C3D(
        num_classes=60, num_stages=4, temporal_downsample=True
    )


@pytest.mark.parametrize(
    ("backbone", "old", "new", "message"),
    [
        (C3D_LIGHT, "C3D", "C2D", "backbone is 'C2D'.* ResNet3dSlowOnly, C3D, X3D only"),
        (C3D_LIGHT, "num_stages=3", "num_stages=5", r"num_stages=5 is not supported \(3, 4\)"),
        (C3D_LIGHT, "num_stages=3", "num_stages=3.0", "num_stages=3.0 is not"),
        (C3D_LIGHT, "=False", "=1", "temporal_downsample=1 is not"),
        (C3D_LIGHT, "=False", "=None", "temporal_downsample=None is not"),
        (C3D_LIGHT, "=32", "=32, norm_cfg=dict(type='BN3d')", "backbone has unknown norm_cfg"),
        (C3D_LIGHT, "base_channels=32", "base_channels=16", "but the backbone ends in 128"),
        (C3D_LIGHT, "in_channels=17", "in_channels=3", "the test pipeline draws 17"),
        (X3D_SHALLOW, "gamma_d=1, ", "", r"gamma_d=2.2 is not supported \(1\)"),
        (X3D_SHALLOW, "gamma_d=1", "gamma_d=1, gamma_w=2", "gamma_w=2 is not supported"),
        (X3D_SHALLOW, "gamma_d=1", "gamma_d=1, gamma_b=2", "gamma_b=2 is not supported"),
        (X3D_SHALLOW, "se_ratio=None", "se_style='all'", r"se_ratio=0.0625 is not .*\(None\)"),
        (X3D_SHALLOW, "use_swish=False, ", "", r"use_swish=True is not supported \(False\)"),
        (X3D_SHALLOW, "base_channels=24", "base_channels=20", "a multiple of 8"),
        (X3D_SHALLOW, "(2, 2, 2)", "(2, 2)", "spatial_strides=.2, 2. for 3 stages"),
        (X3D_SHALLOW, "gamma_d=1", "gamma_d=1, act_cfg=dict(type='Swish')", "ReLU as it is"),
        (X3D_SHALLOW, "gamma_d=1", "gamma_d=1, depth=50", "backbone has unknown depth"),
    ],
)
def test_refused(tmp_path: Path, backbone: str, old: str, new: str, message: str) -> None:
    assert old in backbone
    with pytest.raises(ModelError, match=message) as caught:
        read(tmp_path, backbone.replace(old, new), 256 if backbone is C3D_LIGHT else 216)
    assert "config.py" in str(caught.value)


@pytest.mark.parametrize(
    ("arch", "tensors", "millions"),
    [  # as the references build them
        (SlowOnly(num_classes=60, stage_blocks=(4, 6, 3)), 217, 2.02),
        (C3D(num_classes=60), 32, 3.40),
        (X3D(num_classes=60), 178, 0.25),
    ],
)
def test_sizes(arch: Architecture, tensors: int, millions: float) -> None:
    state = random_state_dict(arch)
    assert len(state) == tensors
    learnt = sum(array.size for name, array in state.items() if "running" not in name)
    assert round(learnt / 1e6, 2) == millions


def test_layers() -> None:
    kinds = [type(layer).__name__ for layer in C3D().layers]
    assert kinds == ["Conv", "AveragePool"] * 2 + ["Conv", "Conv", "AveragePool", "Conv", "Conv"]
    pools = [layer for layer in C3D(temporal_downsample=True).layers if type(layer) is AveragePool]
    assert [pool.kernel for pool in pools] == [(1, 2, 2), (2, 2, 2), (2, 2, 2)]
    spatial, temporal, *blocks, last = X3D().layers
    assert isinstance(spatial, Conv)
    assert not spatial.normalised
    assert not spatial.activated
    assert isinstance(temporal, Conv)
    assert temporal.shape == (24, 1, 5, 1, 1)
    assert isinstance(last, Conv)
    assert (len(blocks), last.inputs, last.outputs) == (10, 96, 216)
    shortcuts = [b.name for b in blocks if isinstance(b, Residual) and b.shortcut is not None]
    assert shortcuts == ["layer1.0", "layer2.0", "layer3.0"]
    plain = next(iter(X3D(spatial_strides=(1, 2, 2)).layers[2:]))
    assert isinstance(plain, Residual)
    assert plain.shortcut is None  # the stage changes neither width nor size


@pytest.mark.parametrize("arch", [TINY_C3D, TINY_X3D])
def test_a_graph(arch: Architecture) -> None:
    """Its operators, and what the file says of itself."""
    model = build_clips(
        arch,
        select_weights(arch, random_state_dict(arch)),
        recipe=Recipe(),
        batch=1,
        classes=[str(n) for n in range(arch.num_classes)],
        source_sha256="0" * 64,
    )
    properties = {p.key: p.value for p in model.metadata_props}
    assert properties["network"] == arch.network
    found = [node for node in model.graph.node if node.op_type == "Conv"]
    assert [node.name for node in found if "downsample" not in node.name] == [
        conv.name for conv in convolutions(arch) if "downsample" not in conv.name
    ]
    others = {node.op_type for node in model.graph.node} - {"Conv"}
    pools: set[Any] = {"AveragePool"} if arch is TINY_C3D else {"Add"}
    assert others == {"Relu", "GlobalAveragePool", "Reshape", "Gemm"} | pools


def test_a_checkpoint_of_another_network() -> None:
    state = random_state_dict(TINY_C3D)
    with pytest.raises(ModelError, match="another network than the config describes"):
        select_weights(TINY_X3D, state)
    state["backbone.conv1a.conv.weight"] = np.zeros((8, 17, 1, 3, 3), np.float32)
    with pytest.raises(ModelError, match="backbone.conv1a.conv.weight has shape"):
        select_weights(TINY_C3D, state)
