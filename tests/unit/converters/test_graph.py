"""The exported file: what an old ATC takes, and what metadata the engine reads."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from converters.graph import build_clips, fold, select_weights
from converters.network import Conv, convolutions
from converters.slowonly import SlowOnly
from engine.base.constants import HMDB51, preprocessing
from engine.base.errors import ModelError
from engine.base.recipe import HMDB51_RECIPE
from tests.support.networks import TINY, random_state_dict

ALLOWED = {"Conv", "Relu", "Add", "MaxPool", "GlobalAveragePool", "Reshape", "Gemm"}


def build(batch: int = 8, **options: Any) -> onnx.ModelProto:
    arch = SlowOnly()
    weights = select_weights(arch, random_state_dict(arch))
    return build_clips(
        arch,
        weights,
        recipe=HMDB51_RECIPE,
        batch=batch,
        classes=HMDB51,
        source_sha256="ab" * 32,
        **options,
    )


def test_what_an_old_atc_takes() -> None:
    model = build()
    assert model.ir_version <= 6
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 11)]
    counts: dict[str, int] = {}
    for node in model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    assert set(counts) <= ALLOWED
    # as mmaction2's own export, BatchNorm folded
    assert counts == {
        "Conv": 43,
        "Relu": 40,
        "Add": 13,
        "MaxPool": 1,
        "GlobalAveragePool": 1,
        "Reshape": 2,
        "Gemm": 1,
    }
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Reshape":
            assert shapes[node.input[1]][0] == -1  # the batch is nowhere a constant


def test_interface() -> None:
    graph = build(batch=8).graph
    assert [i.name for i in graph.input] == ["onnx::Reshape_0"]
    dims = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    assert dims == [8, 20, 17, 48, 56, 56]
    assert [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim] == [160, 51]
    free = build(batch=-1, input_name="input").graph
    assert free.input[0].name == "input"
    assert free.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_names_mean_something() -> None:
    names = {node.name for node in build().graph.node}
    assert {"conv1", "maxpool", "layer1.0.conv1", "layer3.5.conv3", "layer2.0.downsample"} <= names
    assert all(node.name == node.output[0] for node in build().graph.node)


def test_metadata() -> None:
    properties = {p.key: p.value for p in build().metadata_props}
    assert properties["layout"] == "clips"
    assert json.loads(properties["classes"]) == list(HMDB51)
    assert json.loads(properties["preprocessing"]) == preprocessing()
    assert properties["source_sha256"] == "ab" * 32


def test_parameters() -> None:
    state = random_state_dict(SlowOnly())
    assert sum(a.size for n, a in state.items() if "running" not in n) == 3_029_523
    assert len(list(convolutions(SlowOnly()))) == 43


def test_folding() -> None:
    conv = Conv("c", 2, 3, (1, 1, 1))
    rng = np.random.default_rng(0)
    parts = {p: rng.uniform(0.5, 2, 3) for p in ("weight", "bias", "running_mean", "running_var")}
    weights = {f"c.bn.{p}": a.astype(np.float32) for p, a in parts.items()}
    weights["c.conv.weight"] = rng.normal(size=(3, 2, 1, 1, 1)).astype(np.float32)
    kernel, bias = fold(conv, weights)
    x = rng.normal(size=2)
    y = weights["c.conv.weight"].reshape(3, 2) @ x
    expected = (y - parts["running_mean"]) / np.sqrt(parts["running_var"] + 1e-5)
    expected = expected * parts["weight"] + parts["bias"]
    np.testing.assert_allclose(kernel.reshape(3, 2) @ x + bias, expected, rtol=1e-5)


def test_folding_that_exceeds_float32() -> None:
    conv = Conv("c", 1, 1, (1, 1, 1))
    parts = {"weight": 1e38, "bias": 0.0, "running_mean": 0.0, "running_var": 0.0}
    weights = {f"c.bn.{part}": np.full(1, value, np.float32) for part, value in parts.items()}
    weights["c.conv.weight"] = np.ones((1, 1, 1, 1, 1), np.float32)
    with pytest.raises(ModelError, match="c with its batch norm exceeds what float32 holds"):
        fold(conv, weights)


def test_prefix_of_data_parallel() -> None:
    state = {f"module.{name}": array for name, array in random_state_dict(TINY).items()}
    assert (
        select_weights(TINY, state).keys() == select_weights(TINY, random_state_dict(TINY)).keys()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("cls_head.fc_cls.bias"), "lacks cls_head.fc_cls.bias"),
        (lambda s: s.update(extra=np.zeros(1)), "has unknown extra"),
        (lambda s: s.update({"cls_head.fc_cls.bias": np.zeros(60, "f4")}), r"shape \(60,\)"),
        (lambda s: s.update({"cls_head.fc_cls.bias": np.full(51, np.nan, "f4")}), "not finite"),
        (lambda s: s.update({"cls_head.fc_cls.bias": np.zeros(51, "i8")}), "int64"),
        (lambda s: s.update({"cls_head.fc_cls.bias": np.full(51, 1e99)}), "not finite"),
        (
            lambda s: s.update({"backbone.conv1.bn.running_var": np.full(4, -0.1, "f4")}),
            "backbone.conv1.bn.running_var holds negative numbers",
        ),
        (
            lambda s: s.update({"backbone.layer1.1.conv1.conv.weight": np.zeros(1, "f4")}),
            "the checkpoint has 2-1-1 blocks, the config 1-1-1: it belongs to another network",
        ),
    ],
)
def test_refused(change: Any, message: str) -> None:
    state = random_state_dict(TINY)
    change(state)
    with pytest.raises(ModelError, match=message):
        select_weights(TINY, state)
