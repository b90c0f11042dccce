"""Roofline: what each part of the network achieves, by its operations for each byte.

A part that moves few bytes for its operations is bound by the processor, one that moves many by
memory.
"""

from __future__ import annotations

import time
from dataclasses import replace
from math import prod

import numpy as np
import onnx

from engine.backends import registry
from engine.base import host
from engine.base.choices import AUTO, SHARED, Precision
from engine.network.backend import Array, PartNetwork, PartsBackend
from engine.network.cuts import FEATURES, FRAMES, Cuts, Part
from engine.network.models import open_model

_RUNS = 40
_COPIED = 1 << 28  # bytes, many times the largest cache


def parts(model: str, precision: Precision) -> dict[str, dict[str, float]]:
    """Operations, bytes and best seconds of a run of each part on the default backend."""
    file = replace(open_model(model), layout=SHARED)
    name, _ = registry.choose(AUTO)
    backend = registry.load(name, file, device=None, precision=precision, threads=host.cores())
    assert isinstance(backend, PartsBackend)
    cuts = Cuts.of(file.path)
    numbered = [cuts.block(number, backend.rows) for number in range(len(cuts.strides))]
    found: dict[str, dict[str, float]] = {}
    for title, part in zip(
        ["trunk", *(f"block {n + 1}" for n in range(len(numbered)))],
        [cuts.trunk(backend.rows), *numbered],
        strict=True,
    ):
        inputs = {n: _array(n, shape, backend.values) for n, shape in part.inputs.items()}
        outputs = {n: _array(n, shape, backend.values) for n, shape in part.outputs.items()}
        weights = sum(len(t.raw_data) for t in part.model.graph.initializer)
        moved = sum(a.nbytes for a in (*inputs.values(), *outputs.values())) + weights
        found[title] = {
            "operations": _operations(part),
            "bytes": moved,
            "seconds": _seconds(backend.part(part), inputs, outputs),
        }
    backend.close()
    return found


def bandwidth() -> float:
    """Bytes a second that a copy in memory moves, read and written."""
    source, target = np.ones(_COPIED, np.uint8), np.zeros(_COPIED, np.uint8)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return 2 * _COPIED / float(best)


def _array(name: str, shape: tuple[int, ...], values: np.dtype[np.generic]) -> Array:
    return np.zeros(shape, np.float32 if name in (FRAMES, FEATURES) else values)


def _seconds(network: PartNetwork, inputs: dict[str, Array], outputs: dict[str, Array]) -> float:
    """Of one run when every lane is kept busy: the best of several turns."""
    lanes = [
        ({n: a.copy() for n, a in inputs.items()}, {n: a.copy() for n, a in outputs.items()})
        for _ in range(network.lanes)
    ]
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        for turn in range(_RUNS):
            lane = turn % network.lanes
            if turn >= network.lanes:
                network.finish(lane)
            network.start(lane, *lanes[lane])
        for turn in range(_RUNS - network.lanes, _RUNS):
            network.finish(turn % network.lanes)
        best = min(best, (time.perf_counter() - start) / _RUNS)
    return float(best)


def _operations(part: Part) -> float:
    """Two a multiply-add, convolutions only."""
    shapes = {t.name: tuple(t.dims) for t in part.model.graph.initializer}
    model = onnx.shape_inference.infer_shapes(part.model)
    outputs = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in (*model.graph.value_info, *model.graph.output)
    }
    made = {node.output[0]: node for node in model.graph.node}
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            kernel = node.input[1]
            stored = kernel if kernel in shapes else made[kernel].input[0]
            total += 2 * prod(outputs[node.output[0]]) * prod(shapes[stored][1:])
    return float(total)
