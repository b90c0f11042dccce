"""Static graphs of every context against layout `clips`, on the real runtimes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from converters.onnx2om import main
from engine.backends import registry
from engine.base.errors import ModelError, SampleError, UsageError
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.base.records import Prediction
from engine.network.models import ModelFile, open_model
from engine.network.recogniser import infer
from engine.network.runners.base import Runner
from engine.network.runners.opening import open_runner
from engine.pipeline import Pipeline
from engine.skeletons.clips import HeatmapClips, decode
from engine.skeletons.poses import PoseSequence
from tests.support.networks import STRIDED, TINY, random_state_dict, write_model
from tests.support.runs import options
from tests.support.samples import annotation

RUNTIMES = ["onnxruntime", "openvino"]
SMALL = Recipe(size=16, length=8, clips=2)


def made(model: Path, folder: Path, *uniques: int) -> str:
    """The static files of a model, as ``--model`` takes them."""
    sizes = ",".join(map(str, uniques))
    about = ["--layout", "shared", "--onnx", "--unique", sizes, "--output", str(folder / "net")]
    assert main([str(model), *about]) == 0
    return ",".join(str(folder / f"net_shared_u{unique}.onnx") for unique in uniques)


def opened(model: ModelFile, name: str) -> Runner:
    return open_runner(
        registry.load(name, model, device=None, precision="f32", threads=2), model, model.recipe
    )


def logits(model: ModelFile, name: str, samples: Sequence[HeatmapClips]) -> list[Any]:
    runner = opened(model, name)
    try:
        return list(infer(runner, samples))
    finally:
        runner.close()


def drawn(frames: int, recipe: Recipe = HMDB51_RECIPE) -> HeatmapClips:
    poses = PoseSequence.from_annotation(annotation(frames, 1 + frames % 2, frames))
    return decode(poses, recipe)


def check(found: Sequence[Any], expected: Sequence[Any]) -> None:
    for one, whole in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


@pytest.fixture(scope="module")
def files(strided_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(strided_model, tmp_path_factory.mktemp("static"), 32, 96, 480)


def test_as_whole_clips(strided_model: Path, files: str) -> None:
    samples = [drawn(frames) for frames in (1, 31, 60, 130)]
    expected = logits(open_model(str(strided_model)), "openvino", samples)
    for name in RUNTIMES:
        check(logits(open_model(files), name, samples), expected)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", RUNTIMES)
def test_300_lengths(strided_model: Path, tmp_path: Path, name: str) -> None:
    """From 1 to 650 frames, in the sizes that are made by default."""
    model = open_model(made(strided_model, tmp_path, 32, 48, 64, 80, 96, 128, 160, 240, 480))
    whole, static = opened(open_model(str(strided_model)), name), opened(model, name)
    for frames in np.linspace(1, 650, 300).round().astype(int).tolist():
        sample = [drawn(frames)]
        check(list(infer(static, sample)), list(infer(whole, sample)))
    whole.close()
    static.close()


@pytest.mark.parametrize(
    ("inflate", "strides"),
    [
        ((0, 1, 1), (1, 1, 2)),
        ((0, 1, 0), (1, 2, 1)),
        ((1, 1, 1), (2, 1, 2)),
        ((0, 0, 0), (1, 1, 1)),  # nothing looks along time: clips are means of frames
    ],
)
def test_strides_in_time(
    tmp_path: Path, inflate: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    arch = replace(TINY, inflate=inflate, temporal_strides=strides)
    path = write_model(tmp_path / "a.onnx", random_state_dict(arch), arch, recipe=SMALL)
    samples = [drawn(frames, SMALL) for frames in (1, 5, 12, 40)]
    expected = logits(open_model(str(path)), "onnxruntime", samples)
    for name in RUNTIMES:
        check(logits(open_model(made(path, tmp_path, 6, 16)), name, samples), expected)


@pytest.mark.parametrize(
    ("name", "in_process"), [("onnxruntime", True), ("openvino", False), ("auto", True)]
)
def test_streaming(
    data: Path, strided_model: Path, files: str, name: str, in_process: bool
) -> None:
    """``--layout shared`` takes it, and whoever chooses a backend takes one that runs it."""
    chosen = options(data, Path(files), limit=9, layout="shared", in_process=in_process)
    with Pipeline(replace(chosen, backend=name)) as pipeline:
        assert (pipeline.model.layout, pipeline.model.form) == ("shared", "contexts")
        found = [record for record in pipeline if isinstance(record, Prediction)]
    assert len(found) == 7
    with Pipeline(options(data, strided_model, limit=9, in_process=True)) as pipeline:
        wanted = {r.index: r for r in pipeline if isinstance(r, Prediction)}
    for record in found:
        np.testing.assert_allclose(record.scores, wanted[record.index].scores, rtol=0, atol=1e-5)


def test_one_view(strided_model: Path, files: str) -> None:
    """Without averaging at test time: one clip of the twenty that there is room for."""
    recipe, sample = HMDB51_RECIPE.one_view, drawn(60, HMDB51_RECIPE.one_view)
    found = []
    for model in (open_model(str(strided_model)), open_model(files)):
        backend = registry.load("onnxruntime", model, device=None, precision="f32", threads=2)
        runner = open_runner(backend, model, recipe)
        found.append(list(infer(runner, [sample])))
        runner.close()
    assert found[1][0].shape == (1, 51)
    check(found[1], found[0])


def test_more_frames_than_there_is_room_for(strided_model: Path, tmp_path: Path) -> None:
    runner = opened(open_model(made(strided_model, tmp_path, 32)), "onnxruntime")
    with pytest.raises(SampleError, match="41 distinct frames, and the largest file takes 32"):
        runner.check(drawn(41))
    clips = drawn(60)
    wild = np.random.default_rng(0).integers(0, 32, clips.plan.shape).astype(np.int32)
    few = replace(clips, plan=wild, frames=clips.frames[:64])
    with pytest.raises(SampleError, match="32 distinct frames in more contexts than the largest"):
        runner.check(few)
    runner.close()


def changed(path: Path, change: Callable[[onnx.ModelProto, dict[str, str]], None]) -> str:
    model = onnx.load(str(path))
    about = {p.key: p.value for p in model.metadata_props}
    change(model, about)
    onnx.helper.set_model_props(model, about)
    target = path.with_name("changed.onnx")
    onnx.save(model, str(target))
    return str(target)


def shapeless(model: onnx.ModelProto, about: dict[str, str]) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


def test_what_a_file_says(files: str) -> None:
    first = Path(files.split(",")[0])
    model = open_model(str(first))
    assert model.classes == open_model(files).classes
    assert (model.strides, list(model.levels)) == ((1, 2), [64])
    for change, message in (
        (lambda m, about: about.pop("strides"), "damaged metadata .strides"),
        (lambda m, about: about.update(strides='["1"]'), "damaged metadata .strides"),
        (lambda m, about: about.update(strides="[1, 2, 1]"), "expected frames, level1, level2, le"),
        (lambda m, about: about.update(classes=json.dumps(["one"])), "1 class names for 51 out"),
        (shapeless, "which are not its recipe's; make it again"),
        (
            lambda m, about: about.update(preprocessing=json.dumps(SMALL.to_json())),
            "which are not its recipe's; make it again",
        ),
    ):
        with pytest.raises(ModelError, match=message):
            open_model(changed(first, change))


def test_what_does_not_go_together(
    data: Path, strided_model: Path, files: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = open_model(files)
    with pytest.raises(UsageError, match="takes distinct frames .layout shared., which --wire"):
        model.with_layout("shared", whole_clips=True)
    with pytest.raises(UsageError, match="--layout clips: .* was compiled as shared"):
        model.with_layout("clips", whole_clips=False)
    with pytest.raises(UsageError, match="one graph of layout shared, which --backend torch does"):
        model.require_slowonly("--backend torch")
    with pytest.raises(UsageError, match="--clips certain: a compiled file of layout shared runs"):
        Pipeline(options(data, Path(files), clips="certain"))
    first = files.split(",")[0]
    with pytest.raises(ModelError, match="only files of converters.onnx2om --layout shared may be"):
        open_model(f"{first},{strided_model}")
    for listed in (f"{first},demo", f"{first},b.om", f"b.om,{first}"):
        with pytest.raises(ModelError, match="holds .om files alone or .onnx files of conv"):
            open_model(listed)
    with pytest.raises(ModelError, match="two files of the same size"):
        open_model(f"{first},{first}")
    with pytest.raises(ModelError, match="no such file"):
        open_model(f"{first},none.onnx")
    other = write_model(tmp_path / "other.onnx", random_state_dict(STRIDED, seed=1), STRIDED)
    with pytest.raises(ModelError, match="made of different model files"):
        open_model(f"{first},{made(other, tmp_path, 96)}")
    assert main([first, "--layout", "shared", "--onnx"]) == 2
    assert "is compiled already, or a graph of one size" in capsys.readouterr().err
