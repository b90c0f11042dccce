"""What a config tests on: a split of an annotation file, which may be a published one.

Comes in: a config file, or a name that ships. Goes out: `Evaluation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from converters.config import read_config
from engine.base.published import BENCHMARKS, CHECKPOINTS, DATASETS, Benchmark


@dataclass(frozen=True)
class Evaluation:
    """`split`: of the annotation file, None where the config names none. `benchmark`: that of a
    published annotation file, None for another's."""

    split: str | None
    benchmark: Benchmark | None


def evaluation_of(config: str) -> Evaluation:
    """Of a config that `converters.architectures.read_network` has read. What is no literal in
    it counts as not there."""
    if (known := CHECKPOINTS.get(config)) is not None:
        return Evaluation(known.split, BENCHMARKS[known.benchmark])
    dataset = _dataset(read_config(Path(config)))
    split, file = dataset.get("split"), dataset.get("ann_file")
    stem = PurePosixPath(file).stem if isinstance(file, str) else ""
    published = DATASETS.get(stem)
    return Evaluation(
        split if isinstance(split, str) else None,
        BENCHMARKS[published.benchmark] if published is not None else None,
    )


def _dataset(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """``test_dataloader.dataset`` of mmaction2 1.x, ``data.test`` of 0.x and pyskl."""
    for outer, inner in (("test_dataloader", "dataset"), ("data", "test")):
        found = values.get(outer)
        found = found.get(inner) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping):
            return found
    return {}
