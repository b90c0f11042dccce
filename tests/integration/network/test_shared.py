"""Layout `shared` against layout `clips`, on the real runtimes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from converters.graph import build_clips, select_weights
from converters.slowonly import SlowOnly
from engine.backends.ascend.npus import cpu_features
from engine.backends.registry import load
from engine.base.choices import CLIPS, SHARED, Precision
from engine.base.constants import CLIP_SHAPE, HMDB51
from engine.base.errors import ModelError
from engine.base.recipe import HMDB51_RECIPE, Recipe, exchanged
from engine.network.cuts import FEATURES, FRAMES, HANDED, PLAN, Cuts
from engine.network.models import open_model
from engine.network.recogniser import infer
from engine.network.runners.base import Runner
from engine.network.runners.opening import open_runner
from engine.network.runners.shared import SharedRunner
from engine.skeletons.clips import HeatmapClips, decode
from engine.skeletons.poses import PoseSequence
from tests.support.networks import TINY, random_state_dict, write_model
from tests.support.processor import needs_bf16
from tests.support.samples import annotation

LENGTHS = (1, 7, 30, 48, 60, 96, 300)


LIMBS = ((0, 5), (0, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 6), (11, 12))
LIMBS_MIRRORED = exchanged(len(LIMBS), (0, 2, 3), (1, 4, 5))
OTHERS = {
    "64 pixels": Recipe(size=64),
    "limbs": Recipe(size=64, limbs=LIMBS),
    "limbs, mirrored": Recipe(
        size=64, fit="stretch", limbs=LIMBS, flip="mirror", twins=LIMBS_MIRRORED
    ),
    "one clip of 32 frames": Recipe(length=32, clips=1, flip=None),
}


def runner(path: Path, name: str, layout: Any, precision: Precision = "f32") -> Runner:
    model = replace(open_model(str(path)), layout=layout)
    backend = load(name, model, device=None, precision=precision, threads=2)
    return open_runner(backend, model, model.recipe)


@pytest.fixture(scope="module")
def samples() -> list[HeatmapClips]:
    return [
        decode(
            PoseSequence.from_annotation(annotation(n, persons=1 + n % 2, seed=n)), HMDB51_RECIPE
        )
        for n in LENGTHS
    ]


@pytest.fixture(scope="module")
def exact(tiny_model: Path, samples: list[HeatmapClips]) -> list[Any]:
    whole = runner(tiny_model, "openvino", CLIPS)
    logits = list(infer(whole, samples))
    whole.close()
    return logits


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_equal_to_whole_clips(
    tiny_model: Path, samples: list[HeatmapClips], exact: list[Any], name: str
) -> None:
    shared = runner(tiny_model, name, SHARED)
    for logits, whole in zip(infer(shared, samples), exact, strict=True):
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, whole, rtol=0, atol=1e-5 * np.abs(whole).max())
    shared.close()


@pytest.mark.parametrize("name", ["openvino", pytest.param("onnxruntime", marks=pytest.mark.slow)])
def test_bits_do_not_depend_on_neighbours(
    tiny_model: Path, samples: list[HeatmapClips], name: str
) -> None:
    shared = runner(tiny_model, name, SHARED)
    together = list(infer(shared, samples))
    order = np.random.default_rng(0).permutation(len(samples))
    mixed = list(infer(shared, [samples[i] for i in order]))
    for place, i in enumerate(order):
        np.testing.assert_array_equal(mixed[place], together[i])
        [alone] = infer(shared, [samples[i]])
        np.testing.assert_array_equal(alone, together[i])
    assert shared.clips_run == 3 * 20 * len(samples)
    shared.close()


@needs_bf16
def test_bf16(tiny_model: Path, samples: list[HeatmapClips], exact: list[Any]) -> None:
    shared = runner(tiny_model, "openvino", SHARED, "bf16")
    assert shared.facts.precision == "bf16"
    for logits, whole in zip(infer(shared, samples), exact, strict=True):
        error = np.abs(logits - whole).max() / np.abs(whole).max()
        assert 0 < error < 0.02
    shared.close()


@pytest.mark.parametrize("name", ["openvino", pytest.param("onnxruntime", marks=pytest.mark.slow)])
def test_int8(
    quantised_model: Path, samples: list[HeatmapClips], exact: list[Any], name: str
) -> None:
    """The parts compute what the whole network does; that is near to float."""
    found = {}
    for layout in (CLIPS, SHARED):
        quantised = runner(quantised_model, name, layout, "int8")
        assert quantised.facts.precision == "int8"
        found[layout] = list(infer(quantised, samples))
        quantised.close()
        for logits, whole in zip(found[layout], exact, strict=True):
            assert 0 < np.abs(logits - whole).max() < 0.1 * np.abs(whole).max()
    # Processors without VNNI add pairs of products in 16 bits, which saturate: up to 0.09.
    exactly = any("VNNI" in feature or "AMX" in feature for feature in cpu_features())
    for shared, whole in zip(found[SHARED], found[CLIPS], strict=True):
        bound = (1e-5 if exactly else 0.15) * np.abs(whole).max()
        np.testing.assert_allclose(shared, whole, rtol=0, atol=bound)


def test_int8_bits_do_not_depend_on_neighbours(
    quantised_model: Path, samples: list[HeatmapClips]
) -> None:
    shared = runner(quantised_model, "openvino", SHARED, "int8")
    together = list(infer(shared, samples))
    for clips, expected in reversed(list(zip(samples, together, strict=True))):
        [alone] = infer(shared, [clips])
        np.testing.assert_array_equal(alone, expected)
    shared.close()


def test_int8_is_a_byte_a_value(quantised_model: Path) -> None:
    """Buffers from part to part, all but the features."""
    shared = runner(quantised_model, "openvino", SHARED, "int8")
    assert isinstance(shared, SharedRunner)
    *between, features = shared._levels._memory.of([8] * len(shared._levels.parts))
    assert {a.dtype.name for level in between for a in level.values()} == {"uint8"}
    assert [*features] == [FEATURES]
    shared.close()


def test_what_is_under_way_is_known(tiny_model: Path, samples: list[HeatmapClips]) -> None:
    shared = runner(tiny_model, "openvino", SHARED)
    fed = list(enumerate(samples))
    keys = list(range(len(samples)))
    assert list(shared.feed(fed[:1])) == []  # too little for a full wave
    assert (shared.idle, shared.pending) == (False, [0])
    seen: list[list[int]] = []
    done = []
    for key, _ in shared.feed(fed[1:], lambda: seen.append(shared.pending)):
        assert key not in shared.pending
        done.append(key)
    assert seen[0] == keys
    while not shared.idle:
        for key, _ in shared.collect():
            assert key not in shared.pending
            done.append(key)
    assert done == keys
    assert shared.pending == []
    shared.close()


def test_waves_are_filled_across_batches(
    tiny_model: Path, samples: list[HeatmapClips], exact: list[Any]
) -> None:
    """Fed one by one, the bits are those of one batch, and so is the number of waves."""
    waves = []
    found = []
    for step in (1, len(samples)):
        shared = runner(tiny_model, "openvino", SHARED)
        count = 0
        plain = shared._levels.run

        def counted(*arguments: Any, plain: Any = plain) -> Any:
            nonlocal count
            count += 1
            return plain(*arguments)

        shared._levels.run = counted  # type: ignore[method-assign]
        batch = list(enumerate(samples))
        logits = []
        for first in range(0, len(batch), step):
            logits += [row for _, row in shared.feed(batch[first : first + step])]
        while not shared.idle:
            logits += [row for _, row in shared.collect()]
        waves.append(count)
        found.append(np.stack(logits))
        shared.close()
    assert waves[0] == waves[1] < 2 * len(samples)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", ["openvino", pytest.param("onnxruntime", marks=pytest.mark.slow)])
@pytest.mark.parametrize("recipe", OTHERS.values(), ids=OTHERS)
def test_other_recipes(tmp_path: Path, recipe: Recipe, name: str) -> None:
    """As HMDB51's: equal to whole clips, and the same bits beside any other sample."""
    arch = replace(TINY, in_channels=recipe.channels)
    path = write_model(tmp_path / "a.onnx", random_state_dict(arch), arch, recipe=recipe)
    poses = [PoseSequence.from_annotation(annotation(n, 1 + n % 2, n)) for n in (7, 48, 96)]
    clips = [decode(one, recipe) for one in poses]
    whole, shared = (runner(path, name, layout) for layout in (CLIPS, SHARED))
    together = list(infer(shared, clips))
    for logits, expected, one in zip(together, infer(whole, clips), clips, strict=True):
        assert logits.shape == (recipe.views, 51)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        [alone] = infer(shared, [one])
        np.testing.assert_array_equal(alone, logits)
    whole.close()
    shared.close()


def test_parts_of_the_published_network() -> None:
    arch = SlowOnly()
    model = build_clips(
        arch,
        select_weights(arch, random_state_dict(arch)),
        recipe=HMDB51_RECIPE,
        batch=1,
        classes=HMDB51,
        source_sha256="0" * 64,
    )
    cuts = Cuts(model)
    assert cuts.strides == (1, 1, 1, 1, 2, 1, 1, 1, 1, 1)
    trunk = cuts.trunk(3)
    assert trunk.inputs == {FRAMES: (3, *CLIP_SHAPE[:1], *CLIP_SHAPE[2:])}
    assert trunk.outputs == {
        "shortcut": (3, 14, 14, 256),
        **dict.fromkeys(HANDED[:3], (3, 28, 28, 64)),
    }
    assert list(cuts.block(3, 2, ("this", "shortcut")).outputs) == ["this", "shortcut"]
    assert cuts.block(9, 5).outputs == {FEATURES: (5, 512)}
    assert (cuts.head.weight.shape, cuts.head.bias.shape) == ((51, 512), (51,))


def test_other_graphs_are_refused(tiny_model: Path) -> None:
    model = onnx.load(str(tiny_model))
    [pool] = [node for node in model.graph.node if node.op_type == "GlobalAveragePool"]
    pool.op_type = "Relu"
    with pytest.raises(ModelError, match="cannot be cut"):
        Cuts(model)


@pytest.mark.parametrize(
    ("inflate", "strides", "shares"),
    [
        ((0, 1, 1), (2, 1, 1), False),  # frames are left out before any temporal convolution
        ((0, 1, 0), (1, 1, 2), False),
        ((0, 1, 0), (1, 2, 1), True),
        ((0, 0, 0), (1, 1, 1), True),
    ],
)
def test_strides_in_time(
    tmp_path: Path, inflate: tuple[int, ...], strides: tuple[int, ...], shares: bool
) -> None:
    """Shared where that computes what the network does; whole clips where it would not."""
    recipe = Recipe(size=16, length=8, clips=2)
    arch = replace(TINY, inflate=inflate, temporal_strides=strides)
    path = write_model(tmp_path / "a.onnx", random_state_dict(arch), arch, recipe=recipe)
    layout = open_model(str(path)).with_layout("auto", whole_clips=False).layout
    assert layout == (SHARED if shares else CLIPS)
    if not shares:
        return
    clips = decode(PoseSequence.from_annotation(annotation(30)), recipe)
    whole = runner(path, "onnxruntime", CLIPS)
    shared = runner(path, "onnxruntime", SHARED)
    [expected], [found] = infer(whole, [clips]), infer(shared, [clips])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    planned = ort.InferenceSession(Cuts.of(path.read_bytes()).planned().SerializeToString())
    plan = np.concatenate([clips.plan, clips.plan + clips.unique])
    [found] = planned.run(None, {FRAMES: clips.frames.dense(), PLAN: plan})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    whole.close()
    shared.close()


@pytest.mark.parametrize("layout", [SHARED, CLIPS])
def test_a_batch_of_nothing(tiny_model: Path, layout: Any) -> None:
    """Of samples that an executor cannot draw none may be left."""
    empty = runner(tiny_model, "openvino", layout)
    assert list(empty.feed([])) == []
    assert empty.idle
    empty.close()
