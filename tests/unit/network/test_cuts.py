"""What parts of a network take and hand on: floats, or what is quantised as it is."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from converters.graph import build_clips, select_weights
from engine.base.constants import HMDB51
from engine.base.recipe import Recipe
from engine.network.cuts import (
    ACTIVATION,
    FEATURES,
    FRAMES,
    HANDED,
    NEXT,
    PREVIOUS,
    THIS,
    Cuts,
    Head,
)
from tests.support.networks import TINY, random_state_dict
from tests.support.quantised import quantised

RECIPE = Recipe(size=16, length=8, clips=2)
U8, F32 = np.dtype(np.uint8), np.dtype(np.float32)


@pytest.fixture(scope="module")
def plain() -> onnx.ModelProto:
    weights = select_weights(TINY, random_state_dict(TINY))
    return build_clips(
        TINY, weights, recipe=RECIPE, batch=1, classes=HMDB51, source_sha256="0" * 64
    )


def sums(model: onnx.ModelProto) -> list[str]:
    """What blocks end with."""
    added = {node.output[0] for node in model.graph.node if node.op_type == "Add"}
    return [node.output[0] for node in model.graph.node if node.input[0] in added]


def test_floats(plain: onnx.ModelProto) -> None:
    cuts = Cuts(plain)
    parts = [cuts.trunk(2), cuts.block(0, 2), cuts.block(1, 2)]
    assert [list(part.outputs) for part in parts] == [[*HANDED], [*HANDED], [FEATURES]]
    for part in parts:
        assert {*part.input_types.values(), *part.output_types.values()} == {F32}
    assert cuts.head.scale is None


def test_quantised_networks_hand_on_bytes(plain: onnx.ModelProto) -> None:
    """One array from part to part; the same whatever is wanted of it."""
    cuts = Cuts(quantised(plain))
    trunk, block, last = cuts.trunk(2), cuts.block(0, 2), cuts.block(1, 2)
    assert (trunk.input_types, trunk.output_types) == ({FRAMES: F32}, {ACTIVATION: U8})
    assert trunk.outputs == {ACTIVATION: (2, 8, 8, 16)}
    for part, shape in ((block, (2, 8, 8, 16)), (last, (2, 4, 4, 32))):
        assert part.inputs == dict.fromkeys((PREVIOUS, THIS, NEXT), shape)
        assert set(part.input_types.values()) == {U8}
    assert (block.output_types, last.output_types) == ({ACTIVATION: U8}, {FEATURES: F32})
    assert cuts.block(0, 2, (PREVIOUS, NEXT)).outputs == block.outputs


def test_one_convolution_over_time(plain: onnx.ModelProto) -> None:
    """Of all three positions, not three of one each: its sums are what the file quantises."""
    model = Cuts(quantised(plain)).block(0, 2).model
    constants = {t.name: tuple(t.dims) for t in model.graph.initializer}
    assert constants["taps.weight.quantised"] == (8, 48, 1, 1)
    [concat] = [node for node in model.graph.node if node.op_type == "Concat"]
    assert list(concat.input) == [PREVIOUS, THIS, NEXT]


def test_padding_has_to_be_zeros(plain: onnx.ModelProto) -> None:
    """A byte of zero is what padding consists of; where that is no zero, floats are handed on."""
    part = Cuts(quantised(plain, zero=5)).block(0, 2)
    assert [*part.inputs] == [*part.outputs] == [*HANDED]
    assert {*part.input_types.values(), *part.output_types.values()} == {F32}


def test_only_where_both_sides_are_quantised(plain: onnx.ModelProto) -> None:
    """What stays a float is handed on as one, and nothing else."""
    first, second = sums(plain)[:2]
    for floats, trunk, block in ((first, HANDED, (ACTIVATION,)), (second, (ACTIVATION,), HANDED)):
        cuts = Cuts(quantised(plain, floats={floats}))
        assert tuple(cuts.trunk(2).outputs) == trunk
        assert tuple(cuts.block(0, 2).outputs) == block
        assert cuts.block(1, 2).outputs == {FEATURES: (2, 64)}


def test_the_head_reads_what_is_stored() -> None:
    weight, bias = np.eye(3, dtype=np.float32), np.array([0, 0, 1], np.float32)
    features = np.array([[0.24, 0.26, -1.0], [200.0, 0.0, 0.5]], np.float32)
    head = Head(weight, bias, np.array(0.5, np.float32), np.array(2, np.uint8))
    np.testing.assert_array_equal(head.logits(features), [[0, 0.5, 0], [126.5, 0, 1.5]])
    np.testing.assert_array_equal(Head(weight, bias).logits(features), features + bias)
