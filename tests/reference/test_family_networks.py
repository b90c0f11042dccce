"""From a config and a checkpoint to logits, end to end, for kinds of published PoseC3D."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import pytorch2onnx
from converters.dialects import recipe_of
from engine.base.options import Options
from engine.base.records import Prediction
from engine.pipeline import Pipeline
from tests.reference.test_family import RECIPES, configurations

CONFIG = """
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ResNet3dSlowOnly', depth=50, pretrained=None, in_channels=17, base_channels=32,
        num_stages=3, out_indices=(2, ), stage_blocks={blocks}, conv1_stride_s=1,
        pool1_stride_s=1, inflate=(0, 1, 1), spatial_strides=(2, 2, 2),
        temporal_strides=(1, 1, 2), dilations=(1, 1, 1)),
    cls_head=dict(
        type='I3DHead', in_channels=512, num_classes={classes}, spatial_type='avg',
        dropout_ratio=0.5),
    train_cfg=dict(), test_cfg=dict(average_clips='prob'))
test_pipeline = {steps!r}
"""


@pytest.mark.parametrize(("reference", "config"), RECIPES)
def test_pipelines_are_translated(family: Path, reference: str, config: str) -> None:
    """What the configs say is what their inputs were drawn by."""
    steps = configurations(family, reference)[config]["steps"]
    packed = [{"type": "PackActionInputs"}] if reference == "1.2.0" else []
    found = recipe_of({"test_pipeline": [*steps, *packed]}, family)
    assert found == RECIPES[reference, config]


@pytest.fixture(scope="module", params=["ntu60_xsub_keypoint", "ntu60_xsub_limb"])
def network(
    request: pytest.FixtureRequest,
    family: Path,
    family_script: Any,
    shared: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, Path]:
    """The name of a configuration, its network, and its annotations with recorded logits."""
    name, folder = request.param, tmp_path_factory.mktemp("family")
    blocks, classes = family_script.STAGES[name]
    steps = configurations(family, "0.24.1")[name]["steps"]
    config = folder / "config.py"
    config.write_text(CONFIG.format(blocks=blocks, classes=classes, steps=steps))
    family_script.write_checkpoint(folder / "a.pth", family_script.state_dict(name, family))
    model = folder / "a.onnx"
    arguments = [str(config), str(folder / "a.pth"), "--output-file", str(model)]
    assert pytorch2onnx.main(arguments) == 0
    known = family_script.annotations(family, shared / "data")
    with np.load(family / "logits.npz") as recorded:
        ids = sorted({key.split("/")[1] for key in recorded if key.startswith(f"{name}/")})
    data = folder / "a.pkl"
    data.write_bytes(pickle.dumps([known[one] for one in ids if one in known]))
    return name, model, data


@pytest.mark.parametrize(
    ("backend", "layout"),
    [
        ("openvino", "shared"),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (("openvino", "clips"), ("onnxruntime", "shared"), ("onnxruntime", "clips"))
        ),
    ],
)
def test_recorded_logits(
    family: Path, network: tuple[str, Path, Path], backend: str, layout: Any
) -> None:
    name, model, data = network
    chosen = Options(
        dataset=str(data), model=str(model), backend=backend, layout=layout, precision="f32"
    )
    with Pipeline(chosen) as pipeline, np.load(family / "logits.npz") as recorded:
        records = list(pipeline)
        assert len(records) == 2
        for record in records:
            assert isinstance(record, Prediction)
            known = f"{name}/{record.id}"
            np.testing.assert_allclose(record.logits, recorded[f"{known}/logits"], atol=2e-4)
            np.testing.assert_allclose(record.scores, recorded[f"{known}/scores"], atol=1e-5)
