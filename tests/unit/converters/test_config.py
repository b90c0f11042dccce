"""mmaction2 configs, read as data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from converters.architectures import read_network
from converters.config import Unreadable, read_config
from converters.slowonly import SlowOnly
from engine.base.errors import ModelError
from engine.base.published import DEFAULT_CHECKPOINT
from engine.base.recipe import HMDB51_RECIPE, Recipe, exchanged

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
    shipped = DEFAULT_CHECKPOINT
    assert read_network(write(tmp_path, MODEL)) == read_network(shipped)
    assert read_network(shipped) == (SlowOnly(), HMDB51_RECIPE)


def test_base_files(tmp_path: Path) -> None:
    write(tmp_path, MODEL, "base.py")
    write(tmp_path, "optimizer = dict(lr=0.1)\n", "schedule.py")
    child = write(
        tmp_path,
        "_base_ = ['./base.py', 'schedule.py']\n"
        "model = dict(cls_head=dict(num_classes=12))\n"
        "optimizer = dict(_delete_=True, type='SGD')\n",
    )
    assert read_network(child)[0].num_classes == 12
    assert read_config(Path(child))["optimizer"] == {"type": "SGD"}


def test_nothing_is_executed(chdir_tmp: Path) -> None:
    text = MODEL + "import os\nos.system('touch pwned')\nload_from = open('pwned', 'w')\n"
    assert read_network(write(chdir_tmp, text))[0] == SlowOnly()
    assert not (chdir_tmp / "pwned").exists()


def test_literals(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "a = -1\nb = [a, (2, 'x')]\nc = {'k': a}\nd = 'x' + 'y'\ne = 3 / 2\n"
        "f = dict(k=0, **c)\ng = dict(**a)\n",
    )
    values = read_config(Path(path))
    assert values.pop("g") == Unreadable("config.py line 7")
    assert values.pop("f") == {"k": -1}
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
        ("clip_len=48", "clip_len=0", "length is 0"),
        ("clip_len=48, ", "", "no clip_len"),
        ("sigma=0.6", "sigma=-1", "sigma is -1"),
        ("scale=(-1, 56)", "scale=(-1, 64)", r"resizes to .-1, 64. .* crops 56"),
        ("scale=(-1, 56)", "scale=(56, 56), keep_ratio=False", "resizes to"),
        (", double=True", ", double=True, use_score=False", "use_score=False"),
        (", double=True", ", with_limb=True", "with_kp=True and with_limb=True"),
        (", double=True", ", with_kp=False", "one of them is needed"),
        ("test_mode=True", "test_mode=False", "test_mode=False"),
        ("hw_ratio=1., ", "", "hw_ratio=None"),
        ("in_channels=17", "in_channels=3", "in_channels=3, but the test pipeline draws 17"),
        (
            "depth=50,",
            "depth=50, conv1_stride_x=2,",
            "backbone has unknown conv1_stride_x, which could change the result; known are act_cfg",
        ),
        ("spatial_type='avg'", "spatial_type='avg', depth=2", "cls_head has unknown depth"),
        ("type='Recognizer3D',", "type='Recognizer3D', neck=dict(),", "model has unknown neck"),
        (
            "type='Recognizer3D',",
            "type='Recognizer3D', data_preprocessor=dict(mean=[1.0]),",
            "data_preprocessor has mean",
        ),
        ("PoseDecode", "MMDecode", "has MMDecode: this network needs video"),
        ("    dict(type='PoseDecode'),\n", "", "the engine computes .* PoseDecode"),
        ("dict(type='PoseDecode')", "dict(type='PoseDecode', x=1)", "unknown x, .* are none"),
        ("test_pipeline = [", "test_pipeline = list([", "invalid syntax|never closed"),
        ("crop_size=56)", "crop_size=size())", r"CenterCrop.crop_size .*line 16.* write it as one"),
        ("clip_len=48", "clip_len=n()", r"clip_len \(config.py line 12\) is not a plain literal"),
        ("dict(type='PoseDecode')", "step()", r"test_pipeline\[1\] \(config.py line 13\)"),
        ("dict(type='PoseDecode')", "3", r"test_pipeline\[1\] is 3, not a dict"),
        ("'PoseDecode'", "kind()", r"test_pipeline\[1\] \(config.py line 13\)"),
        ("test_pipeline = [", "test_pipeline = 3\nx = [", "test_pipeline is not a list"),
        ("test_pipeline = [", "val_pipeline = [", "nor test_pipeline, but val_pipeline: nothing"),
        ("double=True", "double=True, left_kp=['x'], right_kp=[2]", r"left_kp is .'x'.; a list"),
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
        read_network(write(tmp_path, MODEL.replace(old, new)))
    assert "config.py" in str(caught.value)


def test_circle_and_absence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="leads back"):
        read_network(write(tmp_path, "_base_ = 'config.py'\n"))
    with pytest.raises(ModelError, match="not a name that python -m engine.run --list"):
        read_network("slowfast")


def recipe_of(folder: Path, *changes: tuple[str, str]) -> Recipe:
    text = MODEL
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return read_network(write(folder, text))[1]


SIDES = ("scale=(-1, 56)", "scale=(-1, 64)"), ("crop_size=56", "crop_size=64")
PACKED = (
    "dict(type='Collect', keys=['imgs', 'label'], meta_keys=[])",
    "dict(type='PackActionInputs')",
)
HEATMAPS = "input_format='NCTHW'", "input_format='NCTHW_Heatmap'"
LIMBS = (
    "sigma=0.6, double=True",
    (
        "with_kp=False, with_limb=True, skeletons=((0, 5), (0, 6), (5, 6)), double=True, "
        "left_limb=(0,), right_limb=(1,)"
    ),
)


def test_what_a_pipeline_means(tmp_path: Path) -> None:
    """In each of the dialects."""
    assert recipe_of(tmp_path, *SIDES) == Recipe(size=64)
    modern = {"flip": "mirror", "precision": "float32"}
    assert recipe_of(tmp_path, PACKED, HEATMAPS) == Recipe(**modern)
    pyskl = {**modern, "sampler": "pyskl", "threshold": 1e-3}
    stretched = ("scale=(-1, 56)", "scale=(64, 64), keep_ratio=False")
    whole = ("    dict(type='CenterCrop', crop_size=56),\n", "")
    assert recipe_of(tmp_path, HEATMAPS, stretched, whole) == Recipe(
        size=64, fit="stretch", **pyskl
    )
    limbs = ((0, 5), (0, 6), (5, 6))
    channels = ("in_channels=17", "in_channels=3")
    assert recipe_of(tmp_path, LIMBS, channels) == Recipe(limbs=limbs)
    assert recipe_of(tmp_path, LIMBS, channels, PACKED, HEATMAPS) == Recipe(
        limbs=limbs, twins=exchanged(3, [0], [1]), **modern
    )
    once = (", double=True", ""), ("num_clips=10, ", ""), ("clip_len=48", "clip_len=32")
    assert recipe_of(tmp_path, *once) == Recipe(length=32, clips=1, flip=None)
    compressed = ("test_pipeline = [", "test_pipeline = [\n    dict(type='DecompressPose'),")
    assert recipe_of(tmp_path, compressed, PACKED, HEATMAPS) == Recipe(most=10, **modern)


PIPELINE = MODEL.index("test_pipeline = ")
INSIDE = MODEL[PIPELINE:].removeprefix("test_pipeline = ").strip()
TEST_SETS = [
    "test_dataloader = dict(dataset=dict(pipeline={}))",
    "data = dict(test=dict(pipeline={}))",
    "data = dict(test=dict(type='RepeatDataset', dataset=dict(pipeline={})))",
    "a = dict(pipeline={})\ntest_dataloader = dict(dataset=dict(datasets=[a, dict(dataset=a)]))",
    "own: list = {}\ntest_dataloader = dict(dataset=dict(pipeline=own))",
]


@pytest.mark.parametrize("test_set", TEST_SETS)
def test_the_data_set_says_how_it_is_read(tmp_path: Path, test_set: str) -> None:
    """Whatever ``test_pipeline`` says, as in mmaction2; what cannot be read is refused."""
    other = "test_pipeline = [dict(type='Nonsense')]\n"
    inside = INSIDE.replace("56", "64")
    for more in ("", other):
        text = MODEL[:PIPELINE] + more + test_set.format(inside)
        assert read_network(write(tmp_path, text))[1] == Recipe(size=64)
    for wrong, message in (
        (INSIDE.replace("clip_len=48", "clip_len=f()"), "clip_len .*line 2.* plain literal"),
        ("make()", r"(test_dataloader.dataset|data.test|RepeatDataset).* plain literal"),
        ("[dict(type='Nonsense')]", "test pipeline has Nonsense"),
        ("None", "pipeline is not a list"),
    ):
        with pytest.raises(ModelError, match=message):
            read_network(write(tmp_path, MODEL + test_set.format(wrong)))


@pytest.mark.parametrize(
    ("test_set", "message"),
    [
        ("data = dict(test=dict(ann_file='a.pkl'))", "data.test has no pipeline"),
        ("test_dataloader = dict(dataset=3)", "test_dataloader.dataset has no pipeline"),
        ("test_dataloader = make()", r"test_dataloader \(config.py line 21\) is not"),
        ("data = dict(test=find())", r"data.test \(config.py line 21\) is not"),
        (
            "data = dict(test=[dict(pipeline=test_pipeline), dict(pipeline=[])])",
            r"data.test\[0\].pipeline and data.test\[1\].pipeline differ",
        ),
        (
            "data = dict(test=dict(pipeline=test_pipeline))\ntest_pipeline[0]['clip_len'] = 32",
            "data may be changed by config.py line 22, which is not read; write it as one literal",
        ),
        ("if True: test_pipeline = []", "test_pipeline may be changed by config.py line 21"),
        ("model.update(type='Recognizer2D')", "model may be changed by config.py line 21"),
    ],
)
def test_a_data_set_that_does_not(tmp_path: Path, test_set: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_network(write(tmp_path, MODEL + test_set))


def test_another_test_pipeline_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = "data = dict(test=dict(pipeline=test_pipeline))\n"
    assert read_network(write(tmp_path, MODEL + data))[1] == HMDB51_RECIPE
    assert not caplog.records
    write(tmp_path, MODEL + data, "base.py")
    child = write(tmp_path, "_base_ = 'base.py'\ntest_pipeline = []\n")
    assert read_network(child)[1] == HMDB51_RECIPE
    assert "test_pipeline is not what data.test.pipeline is, which decides" in caplog.text


def test_a_network_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is taken with HMDB51's recipe, which is said."""
    assert read_network(write(tmp_path, MODEL))[1] == HMDB51_RECIPE
    assert not caplog.records
    assert read_network(write(tmp_path, MODEL[:PIPELINE]))[1] == HMDB51_RECIPE
    assert "config.py: neither a test data set nor a test_pipeline; taken with" in caplog.text


@pytest.mark.parametrize("limb", ["(5, 6, 7)", "5", "(5, 'x')", "(5, 1.0)"])
def test_limbs_that_are_no_pairs(tmp_path: Path, limb: str) -> None:
    old, new = LIMBS
    with pytest.raises(ModelError, match=r"skeletons has .*; a limb is a pair of joints"):
        recipe_of(tmp_path, (old, new.replace("(5, 6)", limb)))


def test_a_checkpoint_in_the_place_of_a_config(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"PK\x03\x04\xa3")
    with pytest.raises(ModelError, match="is not a text file; the config comes first"):
        read_network(str(tmp_path / "a.pth"))


def test_strides_as_pyskl_spells_them(tmp_path: Path) -> None:
    text = MODEL.replace("depth=50, ", "").replace("conv1_stride_s=1", "conv1_stride=(1, 1)")
    text = text.replace("pool1_stride_s=1", "pool1_stride=(1, 1)")
    assert read_network(write(tmp_path, text))[0] == SlowOnly()
    for wrong in ("(2, 1)", "1", "(1, 1, 1)"):
        with pytest.raises(ModelError, match="conv1_stride=.* is not supported"):
            read_network(
                write(tmp_path, text.replace("conv1_stride=(1, 1)", f"conv1_stride={wrong}"))
            )


def test_classes_in_place_of_names(tmp_path: Path) -> None:
    """The new style of 1.x: a config imports what it names, and the files below it."""
    folder = tmp_path / "skeleton"
    folder.mkdir()
    write(tmp_path, "runner = dict(epochs=1)\n", "runtime.py")
    names = sorted(set(re.findall(r"type='(\w+)'", MODEL)))
    text = (
        "from mmengine.config import read_base\n"
        f"from mmaction.models import {', '.join(names)}\n"
        "with read_base():\n    from ..runtime import *\n"
    )
    path = write(folder, text + re.sub(r"type='(\w+)'", r"type=\1", MODEL), "config.py")
    assert read_network(path) == (SlowOnly(), HMDB51_RECIPE)
    assert read_config(Path(path))["runner"] == {"epochs": 1}
