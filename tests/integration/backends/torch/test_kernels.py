"""The kernels of a GPU in Triton's interpreter: the same as PyTorch's own operators."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engine.backends.torch.steps import plan
from engine.base.constants import Reference
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.network.backend import Wave
from engine.skeletons.clips import JointClips
from tests.integration.backends.torch.test_torch import odd_joints
from tests.support.networks import TINY, random_state_dict, write_model

torch = pytest.importorskip("torch")


@pytest.fixture
def kernels() -> Any:
    pytest.importorskip("triton", reason="Triton is not installed (pip install triton)")
    return importlib.import_module("engine.backends.torch.kernels")


@pytest.fixture
def plain() -> Any:
    return importlib.import_module("engine.backends.torch.plain")


# times, kernel, stride, channels, outputs, last, x gathered, residual, of the level below
CASES = [
    (1, 1, 1, 32, 64, 0, False, False, False),
    (1, 1, 2, 32, 128, 0, True, False, False),
    (3, 1, 1, 64, 32, 0, True, False, False),
    (1, 3, 1, 32, 32, 128, False, True, True),
    (1, 3, 2, 64, 64, 256, False, True, False),
    (1, 3, 1, 32, 32, 0, False, True, True),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_convolutions(kernels: Any, plain: Any, case: Any, dtype: Any) -> None:
    """Rows beyond the count are not computed, and -1 is zeros."""
    times, kernel, stride, channels, outputs, last, gathered, added, below = case
    torch.manual_seed(0)
    size, rows, real = 6, 7, 5
    width = (size - 1) // stride + 1
    sources = torch.randint(0, rows, (rows, 3), dtype=torch.int32)
    sources[0, 0] = sources[4, 2] = -1
    weight = torch.randn(times, kernel, kernel, channels, outputs) / (channels * kernel**2) ** 0.5
    then = (torch.randn(outputs, last) / outputs**0.5, torch.randn(last)) if last else None
    about = {
        "stride": stride,
        "relu": True,
        "sources": sources,
        "gathered": gathered,
        "residual": torch.randn(rows, width, width, last or outputs).to(dtype) if added else None,
        "residual_gathered": below,
        "rows": rows,
        "then": None if then is None else (then[0].to(dtype), then[1]),
        "count": torch.tensor([real], dtype=torch.int32),
    }
    x, bias = torch.randn(rows, size, size, channels).to(dtype), torch.randn(outputs)
    found = kernels.convolve(x, weight.to(dtype), bias, **about)
    want = plain.convolve(x, weight.to(dtype), bias, **about)
    assert found.dtype == want.dtype == dtype
    limit = 1e-5 if dtype == torch.float32 else 2e-2
    np.testing.assert_allclose(found[:real], want[:real], rtol=0, atol=limit)


def test_pooling_and_averaging(kernels: Any, plain: Any) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 9, 9, 32)
    count = torch.tensor([3], dtype=torch.int32)
    for stride in (1, 2):
        found = kernels.pool(x, kernel=3, stride=stride, count=count)
        want = plain.pool(x, kernel=3, stride=stride, count=count)
        assert torch.equal(found[:3], want[:3])
    clips = torch.randint(0, 4, (5, 24), dtype=torch.int32)
    found, want = (module.mean(x, clips, count) for module in (kernels, plain))
    np.testing.assert_allclose(found[:3], want[:3], rtol=0, atol=1e-6)


@pytest.fixture
def small(tmp_path: Path) -> Any:
    """Networks of a recipe: by PyTorch's operators, and by these kernels."""
    from engine.backends.torch.network import Network

    def networks(recipe: Recipe, *modules: Any) -> list[Any]:
        arch = replace(TINY, in_channels=recipe.channels)
        path = write_model(tmp_path / "a.onnx", random_state_dict(arch), arch, recipe=recipe)
        steps = plan(onnx.load(str(path)))
        return [Network(steps, recipe, torch.device("cpu"), torch.float32, m) for m in modules]

    return networks


def odd_wave(recipe: Recipe) -> Wave:
    joints = odd_joints(np.random.default_rng(1), recipe, frames=1)
    clips = JointClips(joints, np.zeros((1, recipe.length), np.int32), recipe)
    return Wave([clips], [0], 2 * clips.unique, [], np.zeros((0, 1), np.int32))


STEMS = [
    *(
        pytest.param(recipe, marks=pytest.mark.slow)
        for recipe in (HMDB51_RECIPE, HMDB51_RECIPE.drawn_as("1.x"))
    ),
    Recipe(joints=32, twins=(*range(30), 31, 30), size=16, sigma=0.9, threshold=0.4),
]


@pytest.mark.parametrize("recipe", STEMS)
def test_drawing_and_the_first_step_at_once(
    kernels: Any, plain: Any, small: Any, recipe: Recipe
) -> None:
    from engine.backends.torch.rasteriser import Poses
    from engine.backends.torch.waves import _drawn

    network, own = small(recipe, plain, kernels)
    wave = odd_wave(recipe)
    want = network.first(_drawn(network, wave))
    found = torch.full((wave.frames, *own.first_shape), float("nan"))
    own.stem(found, Poses.of(wave.samples, wave.firsts, wave.frames))
    outputs = want.shape[-1]
    np.testing.assert_allclose(found[..., :outputs], want, rtol=0, atol=1e-5 * want.abs().max())
    assert not found[..., outputs:].any()  # what the channels are filled up with


@pytest.mark.parametrize("other", [Recipe(size=20), Recipe(joints=33, flip=None)])
def test_what_the_stem_leaves_to_the_canvas(kernels: Any, small: Any, other: Recipe) -> None:
    [network] = small(other, kernels)
    assert network.stem is None
    assert network.draw is not None


@pytest.mark.parametrize("reference", ["0.24.1", pytest.param("1.x", marks=pytest.mark.slow)])
def test_drawing_limbs(kernels: Any, plain: Any, small: Any, reference: Reference) -> None:
    """Bit for bit: casts and their order are the reference's, and ``exp`` is numpy's here."""
    from engine.backends.torch.waves import _drawn

    limbs = ((0, 4), (1, 3), (2, 3))
    recipe = Recipe(joints=5, twins=(1, 0, 2, 4, 3), size=20, limbs=limbs).drawn_as(reference)
    network, own = small(recipe, plain, kernels)
    assert (own.stem, network.draw) == (None, None)
    wave = odd_wave(recipe)
    [clips] = wave.samples
    assert isinstance(clips, JointClips)
    want = clips.drawn().frames.dense()
    assert (want > 0).any(axis=(0, 2, 3)).all()
    canvas = _drawn(own, wave)
    found = canvas.permute(0, 3, 1, 2)
    np.testing.assert_array_equal(found[:, : len(limbs)], want)
    assert not found[:, len(limbs) :].any()
    np.testing.assert_array_equal(_drawn(network, wave).permute(0, 3, 1, 2), want)
    first, expected = own.first(canvas), network.first(_drawn(network, wave))
    outputs = expected.shape[-1]
    np.testing.assert_allclose(first[..., :outputs], expected, rtol=0, atol=1e-5)
