"""Roofline: what each part of the network achieves, by its operations for each byte.

A part that moves few bytes for its operations is bound by the processor, one that moves many by
memory.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from engine.backends import registry
from engine.base import host
from engine.base.choices import AUTO, SHARED, Precision
from engine.network.backend import PartsBackend
from engine.network.cuts import Cuts
from engine.network.models import open_model
from engine.network.operations import arrays_of, of_graph, seconds_of

_COPIED = 1 << 28  # bytes, many times the largest cache


def parts(model: str, precision: Precision) -> dict[str, dict[str, float]]:
    """Operations, bytes and best seconds of a run of each part on the default backend."""
    file = replace(open_model(model), layout=SHARED)
    name, _ = registry.choose(AUTO)
    backend = registry.load(name, file, device=None, precision=precision, threads=host.cores())
    assert isinstance(backend, PartsBackend)
    cuts = Cuts.of(file.content())
    numbered = [cuts.block(number, backend.rows) for number in range(len(cuts.strides))]
    found: dict[str, dict[str, float]] = {}
    for title, part in zip(
        ["trunk", *(f"block {n + 1}" for n in range(len(numbered)))],
        [cuts.trunk(backend.rows), *numbered],
        strict=True,
    ):
        weights = sum(len(t.raw_data) for t in part.model.graph.initializer)
        handed = [a.nbytes for arrays in arrays_of(part, backend.values) for a in arrays.values()]
        moved = sum(handed) + weights
        found[title] = {
            "operations": of_graph(part.model),
            "bytes": moved,
            "seconds": seconds_of(backend.part(part), part, backend.values),
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
