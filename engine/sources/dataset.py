"""Datasets: a named or given annotation file, one split of it, as samples with ids.

Comes in: what ``--dataset``, ``--ann-file``, ``--split`` and ``--limit`` say. Goes out: a
`Dataset`. Selection and order follow ``PoseDataset`` of mmaction2 0.24.1. Annotations of a file are
all read at once, those of a folder of `engine.sources.columns` as they are needed, and so are the
skeletons beside a table of contents (`engine.sources.contents`) and those in pose files of other
programs (`engine.sources.formats`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.base import assets
from engine.base.assets import DEMO
from engine.base.choices import AUTO, Coordinates
from engine.base.constants import DEFAULT_SPLIT
from engine.base.errors import DatasetError, printable
from engine.base.published import DATASETS
from engine.base.suggestions import meant
from engine.base.version import __version__
from engine.skeletons.samples import MAX_ID, Sample, in_utf8
from engine.sources.annotations import AnnotationFile, identifier_key, read_annotations
from engine.sources.contents import FOLDER, MARKS, Contents
from engine.sources.demo import generation as generator
from engine.sources.formats.poses import Reading
from engine.sources.formats.recordings import Recordings, read_recordings
from engine.sources.sequences import (
    GivenSamples,
    ListedSamples,
    RecordedSamples,
    StoredSamples,
    unique_ids,
)

if TYPE_CHECKING:
    from engine.sources.columns import Columns

ALL = "all"  # a --split that takes every annotation


@dataclass(frozen=True, eq=False)
class Dataset:
    """`samples` in the reference's order; `source`: where they come from, in words; `digest`: of
    what was read, None where they are generated; `absent`: names of the split that the file has no
    annotation of."""

    name: str
    source: str
    split: str
    samples: Sequence[Sample]
    digest: str | None = None
    absent: Sequence[str] = ()

    @property
    def lacks(self) -> str:
        """As `missing`, of its split."""
        return missing(self.absent)

    def identity(self) -> str:
        """What tells its annotations from others: a SHA-256, hex, or the generator's version."""
        return f"{self.name} of {__version__}" if self.digest is None else self.digest


def missing(absent: Sequence[str]) -> str:
    """In one line, that a split names what the file does not have; empty where it does not."""
    verb = "name is" if len(absent) == 1 else "names are"
    said = f"{len(absent)} {verb} not in the file: {printable(_first(absent))}"
    return said if absent else ""


def open_dataset(
    name: str,
    ann_file: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    reading: Reading | None = None,
) -> Dataset:
    """As `find_dataset`, and a split of it where no model has a say."""
    return find_dataset(name, ann_file, reading)(split, limit, None)


Selection = Callable[[str | None, int | None, str | None], Dataset]
"""A data set that has been found: (split, limit, usual) to what is selected of it.

`split` None means `usual`, which a model is tested on, where the file has that, else ``test1``, or
everything where it has no splits; ``all`` takes every annotation. Raises `DatasetError`."""


def find_dataset(
    name: str, ann_file: str | None = None, reading: Reading | None = None
) -> Selection:
    """Open ``demo``, a published data set by name, a path or an address. `reading`: what the user
    says of its poses. Raises `DatasetError` with what to do."""
    reading = reading or Reading()
    if name not in (DEMO, *DATASETS) and ann_file is None and "://" not in name:
        recordings = read_recordings(Path(name), reading)
        if recordings is not None:
            return partial(select_recordings, name, recordings, reading.coordinates)
    select = _found(name, ann_file)
    reading.leave_out(name)
    if reading.coordinates == AUTO:
        return select
    return partial(_select_given, select, reading.coordinates)


def _found(name: str, ann_file: str | None) -> Selection:
    """A data set that has the form of annotations."""
    if name == DEMO and ann_file is None:
        return _select_demo
    if name in DATASETS:
        address = ann_file or str(assets.locate(DATASETS[name]))
    elif ann_file is not None:
        raise DatasetError(
            f"dataset {name!r} is not a named file (--list shows them), so --ann-file cannot "
            "replace it"
        )
    else:
        address = name
    path = Path(address)
    if "://" in address or path.is_dir():
        return partial(_select_columns, name, address, _columns(address))
    if address == name and not path.suffix and not path.exists():
        raise DatasetError(
            f"dataset {name!r}: neither a path nor a known name ({DEMO}, hmdb51, …; --list shows "
            f"them all){meant(name, (DEMO, *DATASETS))}"
        )
    content = read_annotations(path)
    if not content.annotations:
        raise DatasetError(f"{path} holds no annotations")
    return partial(_select_annotations, name, path, content)


def _select_given(
    select: Selection,
    coordinates: Coordinates,
    split: str | None,
    limit: int | None,
    usual: str | None,
) -> Dataset:
    """Of a data set whose coordinates are known."""
    data = select(split, limit, usual)
    return replace(data, samples=GivenSamples(data.samples, coordinates))


def _select_annotations(
    name: str,
    path: Path,
    content: AnnotationFile,
    split: str | None,
    limit: int | None,
    usual: str | None,
) -> Dataset:
    """Of an annotation file."""
    split = _split(content.splits, split, usual, str(path))
    selected, absent = _select(content, split)
    if not selected:
        raise DatasetError(
            f"{path}: split {split!r} selects none of its annotations; it names "
            f"{_first(absent) or 'nothing'}"
        )
    contents = _contents(path, [annotation for _, annotation in selected])
    samples = _number(selected[:limit])
    chosen = samples if contents is None else ListedSamples(contents, samples)
    return Dataset(name, str(path), split, chosen, content.sha256, absent)


def _contents(path: Path, annotations: list[Any]) -> Contents | None:
    """The files of a table of contents; None for a file that has its skeletons itself. Raises
    `DatasetError` where a table stands alone."""
    entries = [one for one in annotations if isinstance(one, Mapping)]
    lacking = [entry for entry in entries if "keypoint" not in entry]
    if not lacking:
        return None
    contents = Contents(path)
    table = len(lacking) == len(entries) and any(MARKS & entry.keys() for entry in entries)
    if table and not any(map(contents.has, lacking)):
        raise DatasetError(
            f"{path} is a table of contents, and no file of skeletons is beside it. Put "
            f"Kinetics-400's {FOLDER} there (docs/data.md says where they come from)"
        )
    return contents


def _columns(address: str) -> Columns:
    try:
        from engine.sources.columns import Columns
    except ImportError as error:
        raise DatasetError(f"{address}: {error}; pip install '.[arrow]'") from None
    return Columns(address)


def _select_columns(
    name: str,
    address: str,
    columns: Columns,
    split: str | None,
    limit: int | None,
    usual: str | None,
) -> Dataset:
    """Of a folder of columns."""
    split = _split(columns.splits, split, usual, address)
    rows = columns.rows(None if split == ALL else split)
    if not len(rows):
        raise DatasetError(f"{address}: split {split!r} selects none of its annotations")
    samples = StoredSamples(columns, rows[:limit])
    absent = () if split == ALL else columns.absent(split)
    return Dataset(name, address, split, samples, columns.digest, absent)


def select_recordings(
    name: str,
    found: Recordings,
    coordinates: Coordinates,
    split: str | None,
    limit: int | None,
    usual: str | None,
) -> Dataset:
    """Of pose files of other programs, which have neither splits nor labels."""
    split = _split(None, split, usual, name)
    samples = RecordedSamples(found.poses[:limit], coordinates)
    return Dataset(name, f"{name} ({found.description})", split, samples, found.digest)


def _select_demo(split: str | None, limit: int | None, usual: str | None) -> Dataset:
    """Of the demo: any number of samples of its train split, all of its test split."""
    split = split or DEFAULT_SPLIT
    if split not in generator.SPLITS:
        known = ", ".join(generator.SPLITS)
        raise DatasetError(f"the demo has no split {split!r}; it has {known} (--split NAME)")
    count = generator.TEST_SAMPLES if limit is None else limit
    if split == DEFAULT_SPLIT:
        count = min(count, generator.TEST_SAMPLES)
    annotations = (generator.sample(split, number) for number in range(count))
    samples = [Sample(i, a["frame_dir"], a) for i, a in enumerate(annotations)]
    return Dataset(DEMO, "generated motion", split, samples)


def identifier(annotation: Any, key: str) -> str | None:
    """The name of a video, fit to be written anywhere; None where there is none, or one that is too
    long, of which the sample says so."""
    value = annotation.get(key) if isinstance(annotation, Mapping) else None
    if isinstance(value, (int, np.integer)) and -(2**63) <= value < 2**63:
        return str(value)
    if not isinstance(value, str):
        return None
    name = in_utf8(value)
    return name.decode() if len(name) <= MAX_ID else None


def _split(known: Iterable[str] | None, split: str | None, usual: str | None, where: str) -> str:
    """The name of the split that is meant."""
    if split == ALL or (split is None and known is None):
        return ALL
    if known is None:
        raise DatasetError(
            f"{where} is a bare list without splits; leave --split out, or say --split {ALL}"
        )
    names = sorted(known)
    if split is None:
        split = usual if usual in names and usual is not None else DEFAULT_SPLIT
    if split not in names:
        listed = ", ".join(names) or "none"
        raise DatasetError(
            f"{where} has no split {split!r}; it has {listed}. --split NAME takes one of them, "
            f"--split {ALL} everything"
        )
    return split


def _select(content: AnnotationFile, split: str) -> tuple[list[tuple[str | None, Any]], list[str]]:
    """(identifier, annotation) in file order, and the names of the split that the file has not."""
    key = identifier_key(content.annotations)
    named = [(identifier(a, key), a) for a in content.annotations]
    if split == ALL or content.splits is None:
        return named, []
    members = dict.fromkeys(content.splits[split])
    # An entry without identifier belongs to no split and would vanish: it is kept
    # and fails on its own.
    selected = [(i, a) for i, a in named if i is None or i in members]
    there = {i for i, _ in selected}
    return selected, [name for name in members if name not in there]


def _first(names: Sequence[str]) -> str:
    """The first few, for a message."""
    return ", ".join(name[:80] for name in names[:3]) + ", …" * (len(names) > 3)


def _number(selected: list[tuple[str | None, Any]]) -> list[Sample]:
    ids = unique_ids(name for name, _ in selected)
    return [Sample(i, name, a) for i, (name, (_, a)) in enumerate(zip(ids, selected, strict=True))]
