"""What a config tests on: a split of an annotation file, which may be a published one.

Comes in: a config file, or a name that ships. Goes out: `Evaluation`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from converters.config import read_config
from converters.variables import Unreadable
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
    datasets = [one for _, one in test_datasets(read_config(Path(config)))]
    stem = PurePosixPath(_common(datasets, "ann_file") or "").stem
    published = DATASETS.get(stem)
    return Evaluation(
        _common(datasets, "split"),
        BENCHMARKS[published.benchmark] if published is not None else None,
    )


def test_datasets(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What a config tests on, without what is wrapped around it; each with its place in the
    config: ``test_dataloader.dataset`` of mmaction2 1.x, else ``data.test`` of 0.x and pyskl. Empty
    where it has neither. What should be a dict may be anything."""
    for outer, inner in (("test_dataloader", "dataset"), ("data", "test")):
        match values.get(outer):
            case Unreadable() as unreadable:
                return [(outer, unreadable)]
            case Mapping() as holder if holder.get(inner) is not None:
                return list(_unwrapped(f"{outer}.{inner}", holder[inner]))
    return []


def _unwrapped(place: str, found: Any) -> Iterator[tuple[str, Any]]:
    """The data sets in ``RepeatDataset``, ``ConcatDataset`` and their like."""
    match found:
        case {"dataset": inner}:
            yield from _unwrapped(f"{place}.dataset", inner)
        case {"datasets": inner}:
            yield from _unwrapped(f"{place}.datasets", inner)
        case [_, *_]:
            for number, one in enumerate(found):
                yield from _unwrapped(f"{place}[{number}]", one)
        case _:
            yield place, found


def _common(datasets: Sequence[Any], key: str) -> str | None:
    """The text that all of them have there."""
    found = [one.get(key) for one in datasets if isinstance(one, Mapping)]
    same = found and all(one == found[0] for one in found) and isinstance(found[0], str)
    return str(found[0]) if same else None
