"""The static graph of every context: its operators, and how many operations it is."""

from __future__ import annotations

import statistics
from math import prod

import onnx
import pytest

from benchmarks import npu_model, operations, workloads
from converters.graph import build_clips, select_weights
from converters.network import Architecture
from converters.slowonly import SlowOnly
from engine.base.constants import HMDB51
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.network import buckets
from engine.network.chain import Chain
from engine.network.operations import of_graph
from engine.skeletons.sampling import clip_plan
from tests.support.networks import TINY, random_state_dict

# Concat appends the row of zeros that padding is; all are in ATC's list since CANN 5.0.
ALLOWED = {"Conv", "Relu", "Add", "MaxPool", "Gather", "Concat", "GlobalAveragePool", "Reshape"}


def chain(arch: Architecture, recipe: Recipe = HMDB51_RECIPE) -> Chain:
    weights = select_weights(arch, random_state_dict(arch))
    about: dict[str, object] = {"classes": HMDB51, "source_sha256": "0" * 64}
    return Chain(build_clips(arch, weights, recipe=recipe, batch=-1, **about))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def published() -> Chain:
    return chain(SlowOnly())


def shapes_of(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    constants = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    return constants | {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values
    }


@pytest.mark.parametrize("unique", [32, 480])
def test_what_an_old_atc_takes(published: Chain, unique: int) -> None:
    rows = buckets.rows(unique, HMDB51_RECIPE, published.strides)
    model = published.graph(rows)
    assert model.ir_version <= 6
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 11)]
    assert {node.op_type for node in model.graph.node} == {*ALLOWED, "Gemm"}
    shapes = shapes_of(model)
    assert all(min(shape, default=1) > 0 for shape in shapes.values())  # nothing is left free
    for node in model.graph.node:
        if node.op_type == "Conv":  # over space alone, its sizes said
            assert len(shapes[node.output[0]]) == 4
            about = {a.name: list(a.ints) for a in node.attribute}
            assert [len(about[name]) for name in ("kernel_shape", "strides", "pads")] == [2, 2, 4]
    assert shapes["frames"] == (2 * unique, 17, 56, 56)
    assert shapes["level1"] == (3, rows[1])
    assert shapes["clips"] == (20, rows[-1])
    assert shapes["logits"] == (20, 51)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("unique", [48, 96])
def test_operations_by_bucket(published: Chain, unique: int) -> None:
    """What is printed of a bucket is what its graph has."""
    rows = npu_model.static_graphs()[unique]
    model = published.graph(rows)
    assert operations.tabled(rows) == of_graph(model)
    shapes, written = shapes_of(model), 0
    for node in model.graph.node:
        shape = shapes[node.output[0]]
        sums = node.op_type == "Add" and not node.name.endswith(".add")  # of taps, not of blocks
        if len(shape) == 4 and (node.op_type in ("Gather", "Concat") or sums):
            written += prod(shape)
    zeros = [shapes[n.input[1]] for n in model.graph.node if n.op_type == "Concat"]
    assert len(zeros) == 2 * 9 + 1  # two taps of each level; of the one that strides what they read
    assert operations.gathered(rows) == written - sum(map(prod, zeros))


def test_fewer_operations_than_frames_and_a_plan() -> None:
    """On the lengths of HMDB51; the files are those that are made by default."""
    graphs, planned, shared = npu_model.static_graphs(), [], []
    for frames in workloads.lengths():
        unique = len(clip_plan(frames, HMDB51_RECIPE).unique)
        size = next(size for size in (64, 96, 160, 480) if size >= unique)
        planned.append(operations.planned(2 * size))
        shared.append(operations.tabled(npu_model.fitting(frames, graphs)))
    fewer = 1 - statistics.fmean(shared) / statistics.fmean(planned)
    assert fewer == pytest.approx(0.295, abs=0.002)


@pytest.mark.parametrize(
    ("inflate", "strides", "levels"),
    [((0, 1, 1), (1, 1, 2), 2), ((0, 1, 0), (1, 2, 1), 1), ((0, 0, 0), (1, 1, 1), 0)],
)
def test_levels(inflate: tuple[int, ...], strides: tuple[int, ...], levels: int) -> None:
    """One for each temporal convolution; without any, clips are means of frames."""
    arch = SlowOnly(**{**vars(TINY), "inflate": inflate, "temporal_strides": strides})
    recipe = Recipe(size=16, length=8, clips=2)
    found = chain(arch, recipe)
    rows = buckets.rows(16, recipe, found.strides)
    assert len(rows) == 1 + levels
    shapes = shapes_of(found.graph(rows))
    assert [name for name in shapes if name.startswith("level") and "." not in name] == [
        f"level{number + 1}" for number in range(levels)
    ]
    assert shapes["clips"] == (4, rows[-1])
