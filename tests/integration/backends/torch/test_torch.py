"""The backend ``torch`` on the CPU device: the same logits as the default runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from converters.slowonly import SlowOnly
from engine.backends import registry
from engine.backends.registry import load
from engine.base.choices import CLIPS, SHARED, Precision
from engine.base.constants import REFERENCES, VIEWS, Reference
from engine.base.errors import ModelError, UsageError
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.base.records import Failure, Prediction, Record
from engine.network.backend import Wave, WavesBackend
from engine.network.contexts import contexts
from engine.network.models import open_model
from engine.network.recogniser import infer
from engine.network.runners.base import Runner
from engine.network.runners.opening import open_runner
from engine.network.runners.resident import ResidentRunner
from engine.pipeline import Pipeline
from engine.skeletons.clips import Clips, JointClips, decode, sampled
from engine.skeletons.heatmaps import Joints, render
from engine.skeletons.poses import PoseSequence
from engine.skeletons.sampling import clip_plan
from tests.support.networks import TINY, random_state_dict, write_model
from tests.support.runs import options
from tests.support.samples import annotation

LENGTHS = (1, 7, 30, 48, 60, 96, 300)
ODD = SlowOnly(in_channels=5, base_channels=4, stage_blocks=(1, 2), inflate=(1, 1))
LIMBS = ((0, 5), (0, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 6), (11, 12))
OTHERS: dict[str, tuple[Recipe, SlowOnly]] = {
    "joints, 4-6-3": (Recipe(size=64, clips=1), replace(TINY, stage_blocks=(4, 6, 3))),
    "joints, stretched, mirrored": (
        Recipe(size=64, clips=2, fit="stretch", threshold=1e-3, sampler="pyskl").drawn_as("1.x"),
        TINY,
    ),
    "limbs": (Recipe(size=64, clips=1, limbs=LIMBS), replace(TINY, in_channels=8)),
    "limbs, mirrored": (
        Recipe(size=64, clips=2, fit="stretch", limbs=LIMBS).drawn_as("1.x"),
        replace(TINY, in_channels=8),
    ),
    "one clip of 32 frames": (
        Recipe(size=64, length=32, clips=1, flip=None),
        replace(TINY, temporal_strides=(1, 1, 1)),
    ),
    "odd numbers": (Recipe(size=44, sigma=0.9, length=33, clips=1, limbs=LIMBS[:5]), ODD),
}


@pytest.fixture(params=OTHERS)
def other(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Recipe]:
    """A model of another recipe than HMDB51's."""
    recipe, arch = OTHERS[request.param]
    path = write_model(tmp_path / "other.onnx", random_state_dict(arch), arch, recipe=recipe)
    return path, recipe


def poses(frames: int) -> PoseSequence:
    return PoseSequence.from_annotation(annotation(frames, persons=1 + frames % 3, seed=frames))


def runner(
    path: Path,
    name: str,
    layout: Any = SHARED,
    precision: Precision = "f32",
    recipe: Recipe | None = None,
) -> Runner:
    model = replace(open_model(str(path)), layout=layout)
    return open_runner(
        load(
            name, model, device="cpu" if name == "torch" else None, precision=precision, threads=2
        ),
        model,
        model.recipe if recipe is None else recipe,
    )


def scored(path: Path, name: str, clips: list[Clips | JointClips], **more: Any) -> list[Any]:
    opened = runner(path, name, **more)
    found = list(infer(opened, clips))
    opened.close()
    return found


@pytest.mark.parametrize("reference", ["0.24.1", pytest.param("1.x", marks=pytest.mark.slow)])
def test_equal_to_the_default_runtime(tiny_model: Path, reference: Reference) -> None:
    recipe = HMDB51_RECIPE.drawn_as(reference)
    whole = scored(tiny_model, "openvino", [decode(poses(n), recipe) for n in LENGTHS])
    ways: list[list[Clips | JointClips]] = [
        [sampled(poses(n), recipe) for n in LENGTHS],  # drawn on the device
        [decode(poses(n), recipe) for n in LENGTHS],
    ]
    for clips in ways:
        for found, expected in zip(scored(tiny_model, "torch", clips), whole, strict=True):
            assert found.dtype == np.float32
            scale = np.abs(expected).max()
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


def test_other_recipes(other: tuple[Path, Recipe]) -> None:
    """Drawn on the device or before, or as whole clips; the same bits beside any other sample."""
    path, recipe = other
    lengths = (60, 7)
    placed: list[Clips | JointClips] = [sampled(poses(n), recipe) for n in lengths]
    drawn: list[Clips | JointClips] = [decode(poses(n), recipe) for n in lengths]
    whole = scored(path, "openvino", drawn, layout=CLIPS)
    found = scored(path, "torch", placed)
    assert all(logits.shape == (recipe.views, 51) for logits in found)
    for ways in (found, scored(path, "torch", drawn)):
        for logits, expected in zip(ways, whole, strict=True):
            scale = np.abs(expected).max()
            np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * scale)
    [clips] = scored(path, "torch", drawn[1:], layout=CLIPS)
    np.testing.assert_allclose(clips, whole[1], rtol=0, atol=1e-5 * np.abs(whole[1]).max())
    mixed = scored(path, "torch", placed[::-1])[::-1]
    for logits, same in zip(mixed, found, strict=True):
        np.testing.assert_array_equal(logits, same)


@pytest.mark.parametrize(
    "recipe",
    [HMDB51_RECIPE, Recipe(length=33, clips=31), Recipe(length=32, clips=1, flip=None)],
)
def test_a_sample_always_fits(recipe: Recipe) -> None:
    from engine.backends.torch.backend import least_capacities

    strides = (1, 1, 2, 1)
    capacities = least_capacities(recipe, strides)
    for capacity, of in zip(capacities, (recipe.one_view, recipe), strict=True):
        table = contexts(clip_plan(100_000, of).positions, strides)
        halves = of.views // of.clips
        counts = [table.frames, *map(len, table.levels), len(table.clips)]
        most = capacity.counts(strides)
        assert all(halves * count <= room for count, room in zip(counts, most, strict=True))
    if recipe == HMDB51_RECIPE:
        assert [(c.frames, c.rows, c.clips) for c in capacities] == [
            (64, 64, 8),
            (1024, 1024, 128),
        ]


@pytest.mark.slow
def test_whole_clips_and_one_view(tiny_model: Path) -> None:
    clips: list[Any] = [decode(poses(n), HMDB51_RECIPE) for n in (7, 60)]
    for found, expected in zip(
        scored(tiny_model, "torch", clips, layout="clips"),
        scored(tiny_model, "openvino", clips, layout="clips"),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    one: list[Any] = [sampled(poses(n), HMDB51_RECIPE.one_view) for n in (7, 60)]
    for found, clip in zip(
        scored(tiny_model, "torch", one, recipe=HMDB51_RECIPE.one_view), clips, strict=True
    ):
        [expected] = scored(tiny_model, "torch", [clip])
        np.testing.assert_allclose(found, expected[:1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("precision", "error"), [("f16", 0.01), ("bf16", 0.05)])
def test_lower_precisions(tiny_model: Path, precision: Precision, error: float) -> None:
    clips: list[Any] = [sampled(poses(30), HMDB51_RECIPE)]
    [exact], [found] = (scored(tiny_model, "torch", clips, precision=p) for p in ("f32", precision))
    assert 0 < np.abs(found - exact).max() < error * np.abs(exact).max()


@pytest.mark.slow
def test_samples_that_share_a_wave(tiny_model: Path) -> None:
    """Where the device takes several at once, each gets its own."""
    clips: list[Any] = [sampled(poses(n), HMDB51_RECIPE) for n in LENGTHS]
    alone = scored(tiny_model, "torch", clips)
    model = open_model(str(tiny_model)).with_layout("auto", whole_clips=False)
    backend = load("torch", model, device="cpu", precision="f32", threads=2)
    assert isinstance(backend, WavesBackend)
    backend.capacity = [1000] * len(backend.capacity)
    waves: list[Wave] = []
    start = backend.start_wave
    backend.start_wave = lambda lane, wave: (waves.append(wave), start(lane, wave))[1]  # type: ignore[method-assign]
    together = ResidentRunner(backend, 51, HMDB51_RECIPE)
    for found, expected in zip(infer(together, clips), alone, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert 1 < len(waves) < len(clips)
    assert all(max(wave.counts) <= 1000 for wave in waves)
    assert together.clips_run == VIEWS * len(clips)
    assert together.idle
    together.close()


@pytest.mark.slow
def test_a_run_with_processes(
    data: Path, tiny_model: Path, expected_of: Callable[[str], dict[str, Record]]
) -> None:
    """Keypoints go to the device, and every sample has the record that it has elsewhere."""
    chosen: dict[str, Any] = {"backend": "torch", "device": "cpu", "limit": 9}
    with Pipeline(options(data, tiny_model, **chosen)) as pipeline:
        assert pipeline.setup.wire == "keypoints"
        records = {record.id: record for record in pipeline}
    with Pipeline(options(data, tiny_model, **chosen, in_process=True)) as pipeline:
        local = {record.id: record for record in pipeline}
    expected = expected_of("auto")
    assert len(records) == 9
    for name, record in records.items():
        other, same = expected[name], local[name]
        if isinstance(record, Failure):
            assert record == other == same
            continue
        assert isinstance(other, Prediction)
        assert isinstance(same, Prediction)
        np.testing.assert_array_equal(record.logits, same.logits)
        np.testing.assert_allclose(record.scores, other.scores, rtol=0, atol=1e-5)


def test_drawing_is_the_references() -> None:
    from engine.backends.torch import rasteriser

    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    recipes = [HMDB51_RECIPE, Recipe(joints=5, twins=(1, 0, 2, 4, 3), size=40, sigma=0.9)]
    for recipe in (one.drawn_as(reference) for one in recipes for reference in REFERENCES):
        joints = odd_joints(rng, recipe, frames=3)
        clips = JointClips(joints, np.zeros((1, 48), np.int32), recipe)
        want = render(joints, recipe).dense()
        canvas = torch.zeros((len(want), recipe.size, recipe.size, recipe.joints))
        rasteriser.draw(canvas, rasteriser.Poses.of([clips], [0], len(want)))
        found = canvas.permute(0, 3, 1, 2).numpy()
        np.testing.assert_array_equal(found > 0, want > 0)
        np.testing.assert_allclose(found, want, rtol=1e-6, atol=0)


def odd_joints(rng: np.random.Generator, recipe: Recipe, frames: int) -> Joints:
    """Joints of two persons: at borders of cells, outside, absent, far off, near to another."""
    shape = (2, frames, recipe.joints)
    centres = rng.uniform(-6, recipe.size + 6, (*shape, 2)).round(1)
    centres[0, 0, 0] = 0
    centres[0, 0, 1] = 1e9, 3
    centres[1, 0, 2] = 28.2, 28.8
    centres[:, :, 3, 0] = 0
    centres[1, :, 4] = centres[1, :, 0] + 0.3
    peaks = rng.uniform(0, 1, shape).astype(np.float32)
    peaks[0, 0, :4] = 1e-5, 1e-4, 0.5, 1
    return Joints(centres, peaks)


def test_what_it_cannot_do(tiny_model: Path, quantised_model: Path) -> None:
    model = open_model(str(tiny_model))
    with pytest.raises(UsageError, match="PyTorch knows cuda"):
        load("torch", model, device="gpu", precision="f32", threads=1)
    with pytest.raises(UsageError, match="computes f32, f16, bf16, not int8"):
        load("torch", open_model(str(quantised_model)), device=None, precision="int8", threads=1)
    with pytest.raises(UsageError, match="PyTorch sees .* GPUs here"):
        load("torch", model, device="cuda:99", precision="f32", threads=1)
    with pytest.raises(UsageError, match="the network C3D, which --backend torch does not compute"):
        load("torch", replace(model, network="C3D"), device="cpu", precision="f32", threads=1)


def test_another_network(tiny_model: Path, tmp_path: Path) -> None:
    network = onnx.load(str(tiny_model))
    for node in network.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Tanh"
    path = tmp_path / "other.onnx"
    path.write_bytes(network.SerializeToString())
    with pytest.raises(ModelError, match="cannot be"):
        load("torch", open_model(str(path)), device="cpu", precision="f32", threads=1)


def test_auto_takes_it_where_a_gpu_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "NVIDIA", tmp_path / "nvidiactl")
    assert registry.choose("auto")[0] == "openvino"
    (tmp_path / "nvidiactl").touch()
    assert registry.choose("auto") == ("torch", "there is an NVIDIA GPU")
    assert registry.choose("auto", "CUDAExecutionProvider")[0] == "onnxruntime"
    assert registry.choose("openvino")[0] == "openvino"
    for device in ("cuda:1", "0"):
        assert registry.choose("auto", device)[0] == "torch"
    assert registry.choose("auto", "CPU")[0] == "openvino"
    assert registry.choose("auto", quantised=True)[0] == "openvino"
    assert registry.choose("auto", network="C3D")[0] == "openvino"
