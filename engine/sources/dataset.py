"""Datasets: a named or given annotation file, one split of it, as samples with ids.

Comes in: what ``--dataset``, ``--ann-file``, ``--split`` and ``--limit`` say. Goes out: a
`Dataset`. Called by `engine.pipeline`. Selection and order follow ``PoseDataset``
of mmaction2 0.24.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import __version__, assets, demo
from engine.demo import dataset as generator
from engine.errors import DatasetError, SampleError
from engine.poses import PoseSequence, whole_number
from engine.sources.annotations import AnnotationFile, Unreadable, identifier_key, read_annotations

DEFAULT_SPLIT = "test1"
ALL = "all"  # a --split that takes every annotation
ANY_CLASSES = 2**31  # where no model says how many there are


@dataclass(frozen=True, eq=False)
class Sample:
    """One entry of a dataset, unchecked. `id` is unique within the dataset."""

    index: int
    id: str
    annotation: Any

    @property
    def label(self) -> int | None:
        """The class, or None where the annotation has none."""
        value = self.annotation.get("label") if isinstance(self.annotation, dict) else None
        number = whole_number(value)
        return number if number is not None and abs(number) < 2**63 else None

    def poses(self, num_classes: int) -> PoseSequence:
        """Check the annotation. Raises `SampleError`."""
        if isinstance(self.annotation, Unreadable):
            raise SampleError(self.annotation.message, stage="read")
        if not isinstance(self.annotation, dict):
            kind = type(self.annotation).__name__
            raise SampleError(f"the annotation is a {kind}, not a dict", stage="read")
        label = self.annotation.get("label")
        if label is not None and (self.label is None or not 0 <= self.label < num_classes):
            raise SampleError(
                f"label is {label!s:.60}; this model has classes 0 to {num_classes - 1}, "
                "given as whole numbers"
            )
        return PoseSequence.from_annotation(self.annotation)


@dataclass(frozen=True, eq=False)
class Dataset:
    """`samples` in the reference's order; `source`: where they come from, in words; `path`:
    that file, None where they are generated."""

    name: str
    source: str
    path: Path | None
    split: str
    samples: list[Sample]

    def identity(self) -> str:
        """What tells its annotations from others: the file's SHA-256, hex, or the generator's
        version."""
        if self.path is None:
            return f"{self.name} of {__version__}"
        return assets.file_sha256(self.path)


def open_dataset(
    name: str, ann_file: str | None = None, split: str | None = None, limit: int | None = None
) -> Dataset:
    """Open ``demo``, ``hmdb51`` or a path. Raises `DatasetError` with what to do.

    `split` None means ``test1`` where the file has splits and everything where it has
    none; ``all`` takes every annotation.
    """
    known = ", ".join((demo.NAME, *assets.DATASETS))
    if name == demo.NAME and ann_file is None:
        return _generated(split or DEFAULT_SPLIT, limit)
    if name in assets.DATASETS:
        path = Path(ann_file) if ann_file else assets.locate(assets.DATASETS[name])
    elif ann_file is not None:
        raise DatasetError(
            f"dataset {name!r} is not a named file ({', '.join(assets.DATASETS)}), so --ann-file "
            "cannot replace it"
        )
    else:
        path = Path(name)
        if not path.suffix and not path.exists():
            raise DatasetError(f"dataset {name!r}: neither a path nor a known name ({known})")
    content = read_annotations(path)
    if not content.annotations:
        raise DatasetError(f"{path} holds no annotations")
    selected, split = _select(content, split, path)
    if not selected:
        raise DatasetError(f"{path}: split {split!r} selects none of its annotations")
    return Dataset(name, str(path), path, split, _number(selected, limit))


def _generated(split: str, limit: int | None) -> Dataset:
    """The demo: any number of samples of its train split, all of its test split."""
    if split not in generator.SPLITS:
        known = ", ".join(generator.SPLITS)
        raise DatasetError(f"the demo has no split {split!r}; it has {known}")
    count = generator.TEST_SAMPLES if limit is None else limit
    if split == DEFAULT_SPLIT:
        count = min(count, generator.TEST_SAMPLES)
    annotations = (generator.sample(split, number) for number in range(count))
    samples = [Sample(i, a["frame_dir"], a) for i, a in enumerate(annotations)]
    return Dataset(demo.NAME, "generated motion", None, split, samples)


def _identifier(annotation: Any, key: str) -> str | None:
    """The name of a video, fit to be written anywhere; None where there is none."""
    value = annotation.get(key) if isinstance(annotation, dict) else None
    if isinstance(value, (int, np.integer)) and -(2**63) <= value < 2**63:
        return str(value)
    if not isinstance(value, str):
        return None
    return value.encode("utf-8", "backslashreplace").decode()


def _select(
    content: AnnotationFile, split: str | None, path: Path
) -> tuple[list[tuple[str | None, Any]], str]:
    """(identifier, annotation) in file order, and the split's name."""
    key = identifier_key(content.annotations)
    named = [(_identifier(a, key), a) for a in content.annotations]
    if split == ALL or (split is None and content.splits is None):
        return named, ALL
    split = split or DEFAULT_SPLIT
    if content.splits is None:
        raise DatasetError(
            f"{path} is a bare list without splits; leave --split out, or say --split {ALL}"
        )
    if split not in content.splits:
        known = ", ".join(sorted(content.splits)) or "none"
        raise DatasetError(f"{path} has no split {split!r}; it has {known}, and `{ALL}` takes all")
    members = set(content.splits[split])
    # An entry without identifier belongs to no split and would vanish: it is kept
    # and fails on its own.
    return [(i, a) for i, a in named if i is None or i in members], split


def _number(selected: list[tuple[str | None, Any]], limit: int | None) -> list[Sample]:
    """Give repeated identifiers the suffixes #2, #3, … so that ids are unique."""
    samples: list[Sample] = []
    taken: set[str] = set()
    repeats: dict[str, int] = {}
    for index, (identifier, annotation) in enumerate(selected[:limit]):
        name = unique = identifier if identifier is not None else f"annotation-{index}"
        while unique in taken:
            repeats[name] = repeats.get(name, 1) + 1
            unique = f"{name}#{repeats[name]}"
        taken.add(unique)
        samples.append(Sample(index, unique, annotation))
    return samples
