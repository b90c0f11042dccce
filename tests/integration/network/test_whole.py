"""Packing: several samples through runs of fixed sizes, on the real runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.backends.registry import load
from engine.base.recipe import HMDB51_RECIPE
from engine.network.models import open_model
from engine.network.recogniser import infer
from engine.network.runners.whole import ClipsRunner
from engine.skeletons.clips import HeatmapClips, decode
from engine.skeletons.poses import PoseSequence
from tests.support.networks import STRIDED, random_state_dict, write_model


@pytest.fixture(scope="module")
def samples() -> list[HeatmapClips]:
    from tests.support.samples import annotation

    return [
        decode(PoseSequence.from_annotation(annotation(frames, seed=frames)), HMDB51_RECIPE)
        for frames in (5, 30, 70)
    ]


def run(path: Path, name: str, batch: list[HeatmapClips]) -> tuple[Any, ClipsRunner]:
    backend = load(name, open_model(str(path)), device=None, precision="f32", threads=2)
    runner = ClipsRunner(backend, 51, 20)
    logits = list(infer(runner, batch))
    backend.close()
    return logits, runner


@pytest.mark.slow
def test_bits_do_not_depend_on_neighbours(tiny_model: Path, samples: list[HeatmapClips]) -> None:
    together, runner = run(tiny_model, "openvino", samples)
    assert (runner.clips_run, runner.clips_padded) == (60, 0)
    for sample, logits in zip(samples, together, strict=True):
        assert logits.shape == (20, 51)
        [alone], _ = run(tiny_model, "openvino", [sample])
        np.testing.assert_array_equal(logits, alone)
    [reversed_last, *_], _ = run(tiny_model, "openvino", samples[::-1])
    np.testing.assert_array_equal(reversed_last, together[-1])


@pytest.mark.parametrize("name", ["openvino", pytest.param("onnxruntime", marks=pytest.mark.slow)])
def test_fixed_batch_is_padded(tmp_path: Path, samples: list[HeatmapClips], name: str) -> None:
    state = random_state_dict(STRIDED)
    fixed = write_model(tmp_path / "bs2.onnx", state, STRIDED, batch=2)
    padded, runner = run(fixed, name, samples)
    assert (runner.clips_run, runner.clips_padded) == (60, 20)
    plain, _ = run(write_model(tmp_path / "free.onnx", state, STRIDED), name, samples)
    for a, b in zip(padded, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
