"""Published models: their figures beside ours, their splits, and checkpoints with their configs."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import engine
from converters.architectures import read_network
from engine.base.errors import ModelError, UsageError
from engine.base.options import Options
from engine.base.published import BENCHMARKS, CHECKPOINTS
from engine.base.recipe import HMDB51_RECIPE
from engine.cli.dump import dump
from engine.cli.score import score
from engine.network import conversions
from engine.network.models import open_model
from engine.pipeline import Pipeline
from tests.support.networks import TINY, random_state_dict, write_model
from tests.support.samples import annotation

GYM = CHECKPOINTS["slowonly_r50_u48_240e_gym_keypoint"]
CONFIG = """
_base_ = 'base.py'
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ResNet3dSlowOnly', depth=50, in_channels=17, base_channels=4, num_stages=3,
        out_indices=(2, ), conv1_stride_s=1, pool1_stride_s=1,
        inflate=(0, 1, 1), spatial_strides=(2, 2, 2), temporal_strides=(1, 1, 2),
        dilations=(1, 1, 1)),
    cls_head=dict(type='I3DHead', in_channels=64, num_classes=7))
data = dict(test=dict(ann_file='mine.pkl', split='val', pipeline=[
    dict(type='UniformSampleFrames', clip_len=48, num_clips=10, test_mode=True),
    dict(type='PoseDecode'),
    dict(type='PoseCompact', hw_ratio=1., allow_imgpad=True),
    dict(type='Resize', scale=(-1, 56)),
    dict(type='CenterCrop', crop_size=56),
    dict(type='GeneratePoseTarget', double=True)]))
"""
BLOCKS = "model = dict(backbone=dict(stage_blocks=(1, 1, {})))\n"


@pytest.fixture
def gym(tmp_path: Path) -> Path:
    """A small network that says it was made from a published checkpoint."""
    arch = replace(TINY, num_classes=99)
    path = tmp_path / "gym.onnx"
    write_model(path, random_state_dict(arch), arch, classes=BENCHMARKS["gym99"].classes)
    model = onnx.load(str(path))
    props = {p.key: p.value for p in model.metadata_props}
    del model.metadata_props[:]
    digest = GYM.sha256 + "0" * 56
    helper.set_model_props(model, {**props, "source_sha256": digest, "split": "val"})
    path.write_bytes(model.SerializeToString())
    return path


def test_figures_beside_the_published_ones(
    gym: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mean class accuracy first, as FineGYM's authors report it; the split is the model's."""
    annotations = [annotation(50, seed=i, frame_dir=f"v{i}", label=i) for i in range(3)]
    splits = {"train": ["v0"], "val": ["v1", "v2"], "test1": ["v0"]}
    data = tmp_path / "data.pkl"
    data.write_bytes(pickle.dumps({"split": splits, "annotations": annotations}))
    summary = tmp_path / "summary.json"
    options = Options(
        dataset=str(data), model=str(gym), in_process=True, summary=str(summary), tta=False
    )
    assert score(options) == 0
    text = capsys.readouterr().out
    assert f"{data}, split val: 2 samples" in text
    first, second, _ = (line for line in text.split("\n") if "_acc" in line.split("\t")[0])
    assert first.startswith("mean_class_accuracy\t")
    assert first.endswith(" (published: 0.937 on all of gym_val)")
    assert second.startswith("top1_acc\t")
    assert "published" not in second
    figures = json.loads(summary.read_text())
    assert figures["metric"] == figures["published"]["metric"] == "mean_class_accuracy"
    assert figures["published"]["checkpoint"] == GYM.name


def test_no_accuracy_of_other_classes(
    gym: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Of the demo's data and a gymnast: said at once, in the summary and on the page."""
    files = {name: str(tmp_path / name) for name in ("summary", "report", "scores")}
    options = Options(dataset="demo", limit=1, model=str(gym), in_process=True, tta=False, **files)
    assert score(options) == 0
    text, differs = capsys.readouterr().out, "class 0 is 'brush_hair' in demo and "
    assert differs in caplog.text
    assert f"no accuracy: {differs}" in text
    assert "top1_acc" not in text
    assert "recipe    1 x joints 48x56x56, cropped, none flipped, drawn as mmaction2 0.24.1" in text
    figures = json.loads((tmp_path / "summary").read_text())
    assert figures["classes_differ"].startswith(differs)
    assert (figures["top1_acc"], figures["labelled"]) == (None, 0)
    assert figures["recipe"] in (tmp_path / "report").read_text()
    assert np.load(files["scores"])["label"].tolist() == [-1]


@pytest.mark.parametrize(
    ("dataset", "model", "name"),
    [("ntu60_2d", None, "ntu60"), ("hmdb51", "gym", "gym99"), ("FILE", None, "hmdb51")],
)
def test_labels_of_a_dump(
    gym: Path, tmp_path: Path, dataset: str, model: str | None, name: str
) -> None:
    """Their file is named after the benchmark whose classes they are."""
    data = tmp_path / "data.pkl"
    data.write_bytes(pickle.dumps([annotation(keypoint=np.zeros(3), label=7)]))
    named = {"dataset": str(data)} if dataset == "FILE" else {"ann_file": str(data)}
    options = Options(**{"dataset": dataset, "model": model and str(gym), **named})
    assert dump(options, tmp_path / "d") == 3
    assert (tmp_path / "d" / f"{name}_label.txt").read_text() == "00000 7\n"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Weights of a small network, and its config in two files."""
    torch = pytest.importorskip("torch")
    arch = replace(TINY, num_classes=7)
    state = {name: torch.from_numpy(a) for name, a in random_state_dict(arch).items()}
    torch.save({"state_dict": state}, tmp_path / "own.pth")
    (tmp_path / "own.py").write_text(CONFIG)
    (tmp_path / "base.py").write_text(BLOCKS.format(1))
    return tmp_path / "own.pth"


@pytest.mark.slow
def test_a_checkpoint_with_its_config(checkpoint: Path, tmp_path: Path) -> None:
    config = tmp_path / "own.py"
    model = open_model(str(checkpoint), config=str(config))
    assert (model.classes, model.split) == (tuple(f"class_{i}" for i in range(7)), "val")
    tensor = engine.preprocess(annotation(), model=checkpoint, config=config)
    assert tensor.shape == (model.recipe.views, *model.recipe.clip_shape)
    with pytest.raises(UsageError, match="is of a checkpoint; give model"):
        engine.preprocess(annotation(), config=config)
    with pytest.raises(UsageError, match="--config none.py: no such file, and not the name of a"):
        open_model(str(checkpoint), config="none.py")
    stamp = model.path.stat().st_mtime_ns
    assert open_model(str(checkpoint), config=str(config)) == model
    assert model.path.stat().st_mtime_ns == stamp
    (tmp_path / "names.txt").write_text("\n".join("abcdefg"))
    named = open_model(str(checkpoint), None, str(config), str(tmp_path / "names.txt"))
    assert named == replace(model, classes=tuple("abcdefg"), renamed=True)


def test_a_config_of_a_network_alone(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What its conversion leaves open is said."""
    config = tmp_path / "own.py"
    config.write_text(CONFIG[: CONFIG.index("data = ")])
    assert open_model(str(checkpoint), config=str(config)).recipe == HMDB51_RECIPE
    assert "own.py: neither a test data set nor a test_pipeline; taken with" in caplog.text


@pytest.mark.slow
def test_a_config_that_was_edited_is_read_again(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "own.py"
    open_model(str(checkpoint), config=str(config))
    (tmp_path / "base.py").write_text(BLOCKS.format(2))
    with pytest.raises(ModelError, match=r"has 1-1-1 blocks, the config 1-1-2"):
        open_model(str(checkpoint), config=str(config))
    assert "converting again" in caplog.text


def test_a_checkpoint_without_its_config(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"--config CONFIG .*pytorch2onnx CONFIG .*own.pth"):
        open_model(str(checkpoint))
    config = tmp_path / "own.py"
    config.write_text(CONFIG.replace("num_classes=7", "num_classes=60"))
    said = (
        r"has 7 classes, the config 60\n.*own.pth was read as .* trained with, of num_classes=7\)"
    )
    with pytest.raises(ModelError, match=said):
        open_model(str(checkpoint), config=str(config))


def test_a_published_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found beside other data; without a digest nothing but its network can be checked."""
    torch = pytest.importorskip("torch")
    name = "pyskl/x3d_shallow_ntu60_xsub/limb"
    arch, recipe = read_network(name)
    state = {name: torch.from_numpy(a) for name, a in random_state_dict(arch).items()}
    torch.save(state, tmp_path / CHECKPOINTS[name].filename)
    monkeypatch.setenv("ENGINE_DATA_DIR", str(tmp_path))
    model = open_model(name)
    assert (model.recipe, model.split, model.network) == (recipe, "xsub_val", "X3D")
    assert (model.classes, model.published) == (BENCHMARKS["ntu60"].classes, CHECKPOINTS[name])
    data = [annotation(50, label=3)]
    (tmp_path / "ntu60_hrnet.pkl").write_bytes(
        pickle.dumps({"split": {"xsub_val": ["video_0"]}, "annotations": data})
    )
    with Pipeline(Options(dataset="ntu60_hrnet", model=name, in_process=True)) as pipeline:
        assert pipeline.dataset.split == "xsub_val"
        assert pipeline.model.layout == "clips"
        assert [record.id for record in pipeline] == ["video_0"]


@pytest.mark.parametrize("model", ["demo", GYM.name, "a.onnx", "a.om"])
def test_a_config_is_for_a_checkpoint(model: str) -> None:
    with pytest.raises(UsageError, match=rf"--config is for a checkpoint \(.pth\), .* {model} "):
        open_model(model, config="config.py")


@pytest.mark.slow
def test_a_record_that_is_damaged(checkpoint: Path, tmp_path: Path) -> None:
    config = str(tmp_path / "own.py")
    model = open_model(str(checkpoint), config=config)
    model.path.with_suffix(".json").write_text('{"sha256": 3, "config": []}')
    assert open_model(str(checkpoint), config=config) == model
    assert not list(model.path.parent.glob("*.sources"))
    content = conversions.converted(checkpoint, config)
    assert (content.path, content.sha256) == (model.path, model.sha256)


def test_the_network_of_a_published_name(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a known name says, of a checkpoint whose bytes it does not know: of its own folder."""
    weights = shared / "models" / "posec3d_jhmdb_split1.pth"
    of_1x = "slowonly_kinetics400-pretrained-r50_8xb16-u48-120e_hmdb51-split1-keypoint"
    model = open_model(str(weights), config=of_1x)
    assert model.recipe == CHECKPOINTS[of_1x].recipe
    assert model.recipe.flip == "mirror"
    assert open_model(str(weights)).recipe.flip == "redraw"


def test_options(checkpoint: Path, tmp_path: Path) -> None:
    """The same as options of a run."""
    data: list[Any] = [annotation(50, label=3)]
    (tmp_path / "data.pkl").write_bytes(pickle.dumps(data))
    (tmp_path / "names.txt").write_text("\n".join("abcdefg"))
    options = Options(
        dataset=str(tmp_path / "data.pkl"),
        model=str(checkpoint),
        config=str(tmp_path / "own.py"),
        classes=str(tmp_path / "names.txt"),
        in_process=True,
        tta=False,
    )
    with Pipeline(options) as pipeline:
        assert pipeline.model.classes == tuple("abcdefg")
        assert len(list(pipeline)) == 1
