"""mmaction2 configs, read as data."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.config import SHIPPED, read_architecture, read_config
from converters.network import Architecture
from engine.base.errors import ModelError

MODEL = """
stages = 3
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ResNet3dSlowOnly', depth=50, pretrained=None, in_channels=17, base_channels=32,
        num_stages=stages, out_indices=(2, ), stage_blocks=(3, 4, 6), conv1_stride_s=1,
        pool1_stride_s=1, inflate=(0, 1, 1), spatial_strides=(2, 2, 2),
        temporal_strides=(1, 1, 2), dilations=(1, 1, 1)),
    cls_head=dict(type='I3DHead', in_channels=512, num_classes=51, spatial_type='avg'))
test_pipeline = [
    dict(type='UniformSampleFrames', clip_len=48, num_clips=10, test_mode=True),
    dict(type='PoseDecode'),
    dict(type='PoseCompact', hw_ratio=1., allow_imgpad=True),
    dict(type='Resize', scale=(-1, 56)),
    dict(type='CenterCrop', crop_size=56),
    dict(type='GeneratePoseTarget', sigma=0.6, double=True),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='Collect', keys=['imgs', 'label'], meta_keys=[]),
]
"""


def write(folder: Path, text: str, name: str = "config.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_file_equals_shipped_name(tmp_path: Path) -> None:
    [shipped] = SHIPPED
    assert read_architecture(write(tmp_path, MODEL)) == read_architecture(shipped) == Architecture()


def test_base_files(tmp_path: Path) -> None:
    write(tmp_path, MODEL, "base.py")
    write(tmp_path, "optimizer = dict(lr=0.1)\n", "schedule.py")
    child = write(
        tmp_path,
        "_base_ = ['./base.py', 'schedule.py']\n"
        "model = dict(cls_head=dict(num_classes=12))\n"
        "optimizer = dict(_delete_=True, type='SGD')\n",
    )
    assert read_architecture(child).num_classes == 12
    assert read_config(Path(child))["optimizer"] == {"type": "SGD"}


def test_nothing_is_executed(chdir_tmp: Path) -> None:
    text = MODEL + "import os\nos.system('touch pwned')\nload_from = open('pwned', 'w')\n"
    assert read_architecture(write(chdir_tmp, text)) == Architecture()
    assert not (chdir_tmp / "pwned").exists()


def test_literals(tmp_path: Path) -> None:
    path = write(tmp_path, "a = -1\nb = [a, (2, 'x')]\nc = {'k': a}\nd = 'x' + 'y'\ne = 3 / 2\n")
    values = read_config(Path(path))
    assert values == {"a": -1, "b": [-1, (2, "x")], "c": {"k": -1}, "d": "xy", "e": 1.5}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ResNet3dSlowOnly", "ResNet3dSlowFast", "backbone is 'ResNet3dSlowFast'"),
        ("I3DHead", "SlowFastHead", "cls_head is 'SlowFastHead'"),
        ("Recognizer3D", "Recognizer2D", "model is 'Recognizer2D'"),
        ("depth=50", "depth=18", "depth 18"),
        ("dilations=(1, 1, 1)", "dilations=(1, 1, 2)", "dilations=.1, 1, 2."),
        ("in_channels=512", "in_channels=2048", "in_channels=2048"),
        ("inflate=(0, 1, 1)", "inflate=(0, 1)", "inflate=.0, 1. for 3 stages"),
        ("pretrained=None", "pretrained=find()", "line 6.* not a plain literal"),
        ("clip_len=48", "clip_len=32", "clip_len=32"),
        ("sigma=0.6", "sigma=0.4", "sigma=0.4"),
        ("scale=(-1, 56)", "scale=(-1, 64)", "scale="),
        (", double=True", "", "double=False"),
        ("num_clips=10, ", "", "num_clips=1"),
        ("    dict(type='PoseDecode'),\n", "", "the engine computes UniformSampleFrames Pose"),
        ("dict(type='PoseDecode')", "dict(type='PoseDecode', x=1)", "unknown x"),
        ("test_pipeline = [", "test_pipeline = list([", "invalid syntax|never closed"),
        ("crop_size=56)", "crop_size=size())", "crop_size="),
        (
            "type='Recognizer3D',",
            "type='Recognizer3D', test_cfg=dict(average_clips='score'),",
            "average_clips='score'",
        ),
        ("depth=50", "depth=[50]", "depth"),
        ("num_stages=stages", "num_stages='x'", "num_stages='x'"),
        ("num_stages=stages", "num_stages=-1", "num_stages=-1"),
        ("base_channels=32", "base_channels='x'", "base_channels='x'"),
        ("stage_blocks=(3, 4, 6)", "stage_blocks=('a', 4, 6)", "stage_blocks='a'"),
        ("stages = 3", "_base_ = f()", "_base_ holds"),
        ("stages = 3", "_base_ = 5", "_base_ holds 5"),
        ("model = dict", "net = dict", "no model"),
        ("model = dict", "model = ", "invalid syntax"),
    ],
)
def test_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MODEL
    with pytest.raises(ModelError, match=message) as caught:
        read_architecture(write(tmp_path, MODEL.replace(old, new)))
    assert "config.py" in str(caught.value)


def test_circle_and_absence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="leads back"):
        read_architecture(write(tmp_path, "_base_ = 'config.py'\n"))
    with pytest.raises(ModelError, match="not a name that ships"):
        read_architecture("slowfast")
