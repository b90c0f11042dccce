"""What trains the demo weights, where torch is at hand: its network and its input are ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.graph import select_weights
from converters.slowonly import SlowOnly
from converters.verification import difference, run_checkpoint
from engine.base.constants import CLIP_LEN, JOINTS, SIZE
from engine.base.recipe import HMDB51_RECIPE
from engine.skeletons.drawing import draw
from engine.skeletons.heatmaps import center_crop, compact, flip, resize
from engine.sources.demo.generation import sample

torch = pytest.importorskip("torch", reason="torch is not installed (pip install -e '.[convert]')")

from converters import train_demo  # noqa: E402
from converters.torch_network import Network  # noqa: E402

SMALL = SlowOnly(base_channels=4, stage_blocks=(2, 1, 2))


def test_the_network_is_the_one_that_is_converted() -> None:
    torch.manual_seed(0)
    network = Network(SMALL, dropout=0.0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    clip = np.random.default_rng(0).random((JOINTS, CLIP_LEN, SIZE, SIZE), np.float32)
    expected, _ = run_checkpoint(SMALL, select_weights(SMALL, state), clip)
    network.eval()
    with torch.no_grad():
        found = network(torch.from_numpy(clip)[None])[0].numpy()
    assert difference(found, expected) < 1e-5


def annotation_clip(number: int) -> tuple[Any, Any]:
    return train_demo.place(sample("train", number), CLIP_LEN, None)


@pytest.mark.parametrize("number", range(4))
def test_its_input_is_drawn_as_the_engine_draws(number: int) -> None:
    centres, score = annotation_clip(number)
    found = train_demo.draw(centres, score, SIZE).permute(1, 0, 2, 3).numpy()
    exact = draw(centres.astype(np.float64), score, HMDB51_RECIPE).dense()
    # Only the feet of the bells differ: the reference cuts them off from exp(-4.5) on.
    assert np.abs(found - exact).max() < 0.0112
    bright = np.maximum(found, exact) > 0.0112
    np.testing.assert_allclose(found[bright], exact[bright], rtol=1e-4)


def test_without_augmentation_a_clip_is_placed_as_it_is_tested() -> None:
    annotation = sample("train", 3)
    total = annotation["total_frames"]
    centres, _ = train_demo.place(annotation, CLIP_LEN, None)
    keypoint = annotation["keypoint"].astype(np.float32)
    keypoint, shape = compact(keypoint, annotation["img_shape"], HMDB51_RECIPE)
    keypoint, shape = resize(keypoint, shape, HMDB51_RECIPE)
    whole = center_crop(keypoint.astype(np.float64), shape, HMDB51_RECIPE)
    assert centres.shape == (len(annotation["keypoint"]), CLIP_LEN, JOINTS, 2)
    if total <= CLIP_LEN:  # the same box, since every frame is in the clip
        assert {tuple(c) for c in centres[0, :, 0].round(3)} <= {
            tuple(c) for c in whole[0, :, 0].astype(np.float32).round(3)
        }
    assert flip(centres.astype(np.float64), HMDB51_RECIPE).shape == centres.shape


def test_the_rate_warms_up_and_ends_at_nothing() -> None:
    rates = [train_demo.schedule(share) for share in np.linspace(0, 1, 201)]
    assert rates[0] < 0.1
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    peak = int(np.argmax(rates))
    assert all(a >= b for a, b in zip(rates[peak:], rates[peak + 1 :], strict=False))


def test_training_ends_in_a_checkpoint_that_converts(tmp_path: Any) -> None:
    state = train_demo.compressed(Network(SlowOnly(), 0.0))
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    weights = select_weights(SlowOnly(), arrays)
    assert all(array.dtype == np.float32 for array in weights.values())
