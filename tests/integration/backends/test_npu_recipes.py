"""Other recipes than HMDB51's on the stand-ins of an NPU, from the ONNX file to the logits."""

from __future__ import annotations

import json
import pickle
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from converters.c3d import C3D
from converters.network import Architecture
from converters.onnx2om import main
from converters.x3d import X3D
from engine.backends.registry import load
from engine.base.choices import Precision
from engine.base.errors import ModelError
from engine.base.recipe import HMDB51_RECIPE, Recipe, exchanged
from engine.base.records import Prediction
from engine.network.models import ModelFile, open_model
from engine.network.recogniser import infer
from engine.network.runners.base import Runner
from engine.network.runners.opening import open_runner
from engine.pipeline import Pipeline
from engine.skeletons.clips import HeatmapClips, decode
from engine.skeletons.poses import PoseSequence
from tests.support.networks import TINY, random_state_dict, write_model
from tests.support.runs import options
from tests.support.samples import annotation

LIMBS = ((0, 5), (0, 6), (5, 7), (6, 8), (11, 12))
RECIPES = {
    "joints of 64 pixels": Recipe(size=64, length=12, clips=2),
    "limbs, mirrored": Recipe(
        length=16, clips=1, limbs=LIMBS, flip="mirror", twins=exchanged(5, (0, 2), (1, 3))
    ),
    "one clip": Recipe(size=64, fit="stretch", length=32, clips=1, flip=None),
}
UNEQUAL = replace(TINY, stage_blocks=(1, 2, 1), temporal_strides=(1, 1, 1))
LENGTHS = (9, 40, 25)


class Network:
    """A small network of a recipe, here: by default one whose stages differ in their number of
    blocks, with all temporal strides 1."""

    def __init__(self, recipe: Recipe, arch: Architecture = UNEQUAL) -> None:
        self.recipe = recipe
        arch = replace(arch, in_channels=recipe.channels)
        state, path = random_state_dict(arch), Path("net.onnx")
        self.path = write_model(path, state, arch, recipe=recipe).resolve()

    def compile(self, *arguments: str) -> str:
        """The OM files of these options, as ``--model`` takes them."""
        assert main(["net.onnx", *arguments]) == 0
        return ",".join(map(str, sorted(Path.cwd().glob("*.om"))))

    def samples(self) -> list[HeatmapClips]:
        poses = (PoseSequence.from_annotation(annotation(n, 1 + n % 2, n)) for n in LENGTHS)
        return [decode(one, self.recipe) for one in poses]

    def logits(self, clips: HeatmapClips) -> Any:
        """Of whole clips, by ONNX Runtime in this process."""
        session = ort.InferenceSession(str(self.path))
        return session.run(None, {session.get_inputs()[0].name: clips.tensor()[None]})[0]


@pytest.fixture(params=RECIPES.values(), ids=list(RECIPES))
def network(
    request: pytest.FixtureRequest, stand_in: Callable[[str], None], chdir_tmp: Path
) -> Network:
    stand_in("310p3")
    return Network(request.param)


def runner(name: str, model: ModelFile, precision: Precision) -> Runner:
    backend = load(name, model, device=None, precision=precision, threads=0)
    return open_runner(backend, model, model.recipe)


def scored(files: str, name: str, network: Network) -> list[Any]:
    """The logits of the network's samples by OM files."""
    model = open_model(files)
    assert model.recipe == network.recipe
    opened = runner(name, model, "f16")
    try:
        return list(infer(opened, network.samples()))
    finally:
        opened.close()


def test_whole_clips(name: str, network: Network) -> None:
    """The bits of the ONNX file, in runs of two samples and of one."""
    files = network.compile("--gears", "1,2")
    about = json.loads(Path(f"{files}.json").read_text())
    assert about["preprocessing"] == network.recipe.to_json()
    for clips, found in zip(network.samples(), scored(files, name, network), strict=True):
        assert found.shape == (network.recipe.views, 51)
        np.testing.assert_array_equal(found, network.logits(clips))


@pytest.mark.parametrize("option", ["--unique", pytest.param("--gears", marks=pytest.mark.slow)])
def test_frames_and_a_plan(name: str, network: Network, option: str) -> None:
    """The bits of the graph of frames and plan, which computes what the network does."""
    recipe = network.recipe
    sizes = 10, recipe.clips * recipe.length  # distinct frames
    files = network.compile("--layout", "frames", option, "{},{}".format(*sizes))
    graph = ort.InferenceSession("net_frames.onnx")
    for clips, found in zip(network.samples(), scored(files, name, network), strict=True):
        twins = 1 + clips.twins
        room = next(size for size in sizes if size >= clips.unique)
        frames = np.zeros((twins * room, *recipe.frame_shape), np.float32)
        frames[: len(clips.frames)] = clips.frames.dense()
        plan = np.concatenate([clips.plan + turn * clips.unique for turn in range(twins)])
        [expected] = graph.run(None, {"frames": frames, "plan": plan})
        np.testing.assert_array_equal(found, expected)
        whole = network.logits(clips)
        np.testing.assert_allclose(found, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


def test_every_context_once(name: str, network: Network) -> None:
    """Through the runtime what ONNX Runtime computes of the same file: the bits of the static
    graph, which computes what the network does."""
    recipe = network.recipe
    sizes = 10, recipe.clips * recipe.length
    files = network.compile("--layout", "shared", "--unique", "{},{}".format(*sizes))
    about = json.loads(Path(f"{files.split(',')[0]}.json").read_text())
    assert (about["layout"], about["strides"]) == ("contexts", [1, 1, 1])
    same = ",".join(f"net_shared_u{size}.onnx" for size in sizes)
    plain = runner("onnxruntime", open_model(same), "f32")
    expected = list(infer(plain, network.samples()))
    plain.close()
    for clips, bits, found in zip(
        network.samples(), expected, scored(files, name, network), strict=True
    ):
        np.testing.assert_array_equal(found, bits)
        whole = network.logits(clips)
        np.testing.assert_allclose(found, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("layout", ["clips", "frames", "shared"])
@pytest.mark.parametrize("network", [RECIPES["limbs, mirrored"]], indirect=True)
def test_streaming(doubles: None, network: Network, tmp_path: Path, layout: str) -> None:
    """Limbs through worker, executor and device process."""
    data = tmp_path / "data.pkl"
    samples = [annotation(n, 1 + n % 2, n) for n in LENGTHS]
    data.write_bytes(pickle.dumps(samples))
    files = network.compile("--layout", layout, *(["--batch", "2"] * (layout == "clips")))
    with Pipeline(options(data, Path(files), workers=2)) as pipeline:
        records = {record.index: record for record in pipeline}
    for index, clips in enumerate(network.samples()):
        found = records[index]
        assert isinstance(found, Prediction)
        whole = network.logits(clips)
        np.testing.assert_allclose(found.logits, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("network", [RECIPES["joints of 64 pixels"]], indirect=True)
def test_a_file_that_does_not_say_its_recipe(name: str, network: Network) -> None:
    """It is taken as HMDB51's, and its shape is not that."""
    files = network.compile("--batch", "1")
    Path(f"{files}.json").unlink()
    model = open_model(files)
    assert model.recipe == HMDB51_RECIPE
    with pytest.raises(ModelError, match=r"\[N, 20, 17, 48, 56, 56\], layout clips; .* --describe"):
        load(name, model, device=None, precision="f16", threads=0)


@pytest.mark.parametrize("network", [RECIPES["one clip"]], indirect=True)
def test_default_sizes(network: Network, capsys: pytest.CaptureFixture[str]) -> None:
    """No video has more distinct frames than all of its clips."""
    assert main(["net.onnx", "--layout", "frames", "--dry-run"]) == 0
    [command] = map(shlex.split, capsys.readouterr().out.splitlines())
    assert "--output=net_frames_u32" in command
    assert "--input_shape=frames:32,17,64,64;plan:1,32" in command
    assert main(["net.onnx", "--layout", "shared", "--dry-run"]) == 0
    [command] = map(shlex.split, capsys.readouterr().out.splitlines())
    assert {"--output=net_shared_u32", "--model=net_shared_u32.onnx"} < set(command)
    # one clip: as many contexts as it has positions
    shape = "--input_shape=frames:32,17,64,64;level1:3,32;level2:3,32;level3:3,32;clips:1,32"
    assert shape in command
    assert main(["net.onnx", "--layout", "shared", "--unique", "33", "--dry-run"]) == 2
    assert "--unique 33: numbers from 1 to 32" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arch", [C3D(base_channels=4), X3D(base_channels=8, stage_blocks=(1, 1, 1))], ids=["C3D", "X3D"]
)
def test_a_network_that_cannot_be_cut(
    name: str,
    arch: Architecture,
    stand_in: Callable[[str], None],
    chdir_tmp: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It runs on whole clips; layout ``shared`` is refused by name."""
    stand_in("310p3")
    network = Network(Recipe(size=32, length=8, clips=1), arch)
    assert main(["net.onnx", "--layout", "shared"]) == 2
    found = capsys.readouterr().err
    assert "net.onnx: this network cannot be cut into parts" in found
    assert "--layout clips takes any" in found
    assert not list(chdir_tmp.glob("*_shared.onnx"))
    files = network.compile("--batch", "1")
    assert open_model(files).network == arch.network
    for clips, logits in zip(network.samples(), scored(files, name, network), strict=True):
        np.testing.assert_array_equal(logits, network.logits(clips))
