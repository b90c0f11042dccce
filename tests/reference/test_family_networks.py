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
    backbone={backbone},
    cls_head=dict(type='I3DHead', in_channels={features}, num_classes={classes}),
    test_cfg=dict(average_clips='prob'))
test_pipeline = {steps!r}
"""
SLOWONLY = """dict(
        type='ResNet3dSlowOnly', depth=50, pretrained=None, in_channels=17, base_channels=32,
        num_stages=3, out_indices=(2, ), stage_blocks={blocks}, conv1_stride_s=1,
        pool1_stride_s=1, inflate=(0, 1, 1), spatial_strides=(2, 2, 2),
        temporal_strides=(1, 1, 2), dilations=(1, 1, 1))"""
C3D = """dict(
        type='C3D', in_channels=17, base_channels=32, num_stages=3, temporal_downsample=False)"""
X3D = """dict(
        type='X3D', gamma_d=1, in_channels=17, base_channels=24, num_stages=3, se_ratio=None,
        use_swish=False, stage_blocks=(2, 5, 3), spatial_strides=(2, 2, 2))"""
OTHERS = {"c3d_light_ntu60": (C3D, 256), "x3d_shallow_ntu60": (X3D, 216)}

# Whose logits are recorded, and the reference and configuration that drew their input.
NETWORKS = {
    **{
        name: ("0.24.1", name)
        for name in ("ntu60_xsub_keypoint", "ntu60_xsub_limb", "gym_keypoint", "gym_limb", "ucf101")
    },
    "k400_keypoint": ("1.2.0", "k400_keypoint"),
    **dict.fromkeys(OTHERS, ("pyskl", "pyskl_ntu60_joint")),
}
LAYOUTS = {name: ("clips",) if name in OTHERS else ("shared", "clips") for name in NETWORKS}
CASES = [  # one in every run
    ("x3d_shallow_ntu60", "openvino", "clips", 1),
    *(
        pytest.param(name, backend, LAYOUTS[name][0], 1, marks=pytest.mark.slow)
        for name in NETWORKS
        for backend in ("openvino", "onnxruntime")
        if (name, backend) != ("x3d_shallow_ntu60", "openvino")
    ),
    *(
        pytest.param(name, backend, layout, 2, marks=pytest.mark.full)
        for name in NETWORKS
        for backend in ("openvino", "onnxruntime", *(["torch"] * (name not in OTHERS)))
        for layout in LAYOUTS[name]
    ),
]


@pytest.mark.parametrize(("reference", "config"), RECIPES)
def test_pipelines_are_translated(family: Path, reference: str, config: str) -> None:
    """What the configs say is what their inputs were drawn by."""
    steps = configurations(family, reference)[config]["steps"]
    packed = [{"type": "PackActionInputs"}] if reference == "1.2.0" else []
    found = recipe_of({"test_pipeline": [*steps, *packed]}, family)
    assert found == RECIPES[reference, config]


@pytest.fixture(scope="module")
def network(
    request: pytest.FixtureRequest,
    family: Path,
    family_script: Any,
    shared: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, Path]:
    """The name of a network, its file, and its annotations with recorded logits."""
    name, folder = request.param, tmp_path_factory.mktemp("family")
    blocks, classes = family_script.STAGES[name]
    reference, drawn = NETWORKS[name]
    steps = [*configurations(family, reference)[drawn]["steps"]]
    if reference == "1.2.0":
        steps.append({"type": "PackActionInputs"})
    backbone, features = OTHERS.get(name, (SLOWONLY.format(blocks=blocks), 512))
    config = folder / "config.py"
    config.write_text(
        CONFIG.format(backbone=backbone, features=features, classes=classes, steps=steps)
    )
    family_script.write_checkpoint(folder / "a.pth", family_script.state_dict(name, family))
    model = folder / "a.onnx"
    arguments = [str(config), str(folder / "a.pth"), "--output-file", str(model)]
    assert pytorch2onnx.main(arguments) == 0
    known = {
        **family_script.annotations(family, shared / "data"),
        **family_script.k400_annotations(family, shared / "data"),
    }
    with np.load(family / "logits.npz") as recorded:
        ids = sorted({key.split("/")[1] for key in recorded if key.startswith(f"{name}/")})
    data = folder / "a.pkl"
    data.write_bytes(pickle.dumps([known[one] for one in ids if one in known]))
    return name, model, data


@pytest.mark.parametrize(("network", "backend", "layout", "samples"), CASES, indirect=["network"])
def test_recorded_logits(
    family: Path, network: tuple[str, Path, Path], backend: str, layout: Any, samples: int
) -> None:
    """Against what the reference computes in float32, and of some clips in double precision."""
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    name, model, data = network
    chosen = Options(
        dataset=str(data),
        model=str(model),
        backend=backend,
        layout=layout,
        precision="f32",
        limit=samples,
    )
    with Pipeline(chosen) as pipeline, np.load(family / "logits.npz") as recorded:
        records = list(pipeline)
        assert len(records) == samples
        for record in records:
            assert isinstance(record, Prediction)
            assert record.logits is not None
            known = f"{name}/{record.id}"
            exact = record.logits[recorded[f"{known}/clips_float64"]]
            np.testing.assert_allclose(exact, recorded[f"{known}/logits_float64"], 0, 2e-4)
            np.testing.assert_allclose(record.logits, recorded[f"{known}/logits"], 0, 2e-4)
            np.testing.assert_allclose(record.scores, recorded[f"{known}/scores"], 0, 1e-5)
