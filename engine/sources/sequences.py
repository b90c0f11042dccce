"""Sequences of samples: ids that are unique, and samples that are made when they are asked for.

Comes in: what samples are made of: annotations, files, rows of columns. Goes out: the `samples` of
a `engine.sources.dataset.Dataset`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import PIXELS, Coordinates
from engine.base.errors import printable
from engine.skeletons.samples import Sample
from engine.sources.contents import Contents
from engine.sources.formats.poses import Poses, RecordedAnnotation

if TYPE_CHECKING:
    from engine.sources.columns import Columns


def unique_ids(names: Iterable[str | None]) -> Iterator[str]:
    """Give repeated identifiers the suffixes #2, #3, … so that ids are unique."""
    taken: set[str] = set()
    repeats: dict[str, int] = {}
    for index, identifier in enumerate(names):
        name = unique = identifier if identifier is not None else f"annotation-{index}"
        while unique in taken:
            repeats[name] = repeats.get(name, 1) + 1
            unique = f"{name}#{repeats[name]}"
        taken.add(unique)
        yield unique


class LazySamples(Sequence[Sample]):
    """Samples made when they are asked for, so that what one has read goes with it."""

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        chosen = range(len(self))[index]
        return self._sample(chosen) if isinstance(chosen, int) else [*map(self._sample, chosen)]

    @abstractmethod
    def _sample(self, index: int) -> Sample:
        """One of them."""


class GivenSamples(LazySamples):
    """Samples whose coordinates somebody has said."""

    def __init__(self, samples: Sequence[Sample], coordinates: Coordinates) -> None:
        self._samples, self._coordinates = samples, coordinates

    def __len__(self) -> int:
        return len(self._samples)

    def _sample(self, index: int) -> Sample:
        return replace(self._samples[index], coordinates=self._coordinates)


class IteratedSamples(Sequence[Sample]):
    """Samples of an iterator. Whoever goes through them once gets each as it comes, and none is
    kept; whoever asks how many there are, or for one of them, has all read."""

    def __init__(self, samples: Iterator[Sample]) -> None:
        self._rest = samples
        self._all: list[Sample] | None = None

    def __iter__(self) -> Iterator[Sample]:
        yield from self._rest if self._all is None else self._all

    def __len__(self) -> int:
        return len(self._read())

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        return self._read()[index]

    def _read(self) -> list[Sample]:
        if self._all is None:
            self._all = list(self._rest)
        return self._all


class ListedSamples(LazySamples):
    """Samples of a table of contents."""

    def __init__(self, contents: Contents, entries: list[Sample]) -> None:
        self._contents, self._entries = contents, entries

    def __len__(self) -> int:
        return len(self._entries)

    def _sample(self, index: int) -> Sample:
        entry = self._entries[index]
        return Sample(index, entry.id, self._contents.listed(entry.annotation))


class RecordedSamples(LazySamples):
    """Samples of pose files, read when they are asked for."""

    def __init__(self, poses: Sequence[Poses], coordinates: Coordinates) -> None:
        self._poses, self._coordinates = poses, coordinates
        self._ids = list(unique_ids(printable(one.recording.name) for one in poses))

    def __len__(self) -> int:
        return len(self._poses)

    def _sample(self, index: int) -> Sample:
        poses = self._poses[index]
        given = PIXELS if poses.recording.shares else self._coordinates  # its reader has scaled it
        return Sample(index, self._ids[index], RecordedAnnotation(poses), given)


class StoredSamples(LazySamples):
    """Samples of columns; arrays are read by `Sample.poses`."""

    def __init__(self, columns: Columns, rows: NDArray[np.int64]) -> None:
        self._columns, self._rows = columns, rows
        self._ids = None if columns.distinct else list(unique_ids(columns.identifiers(rows)))

    def __len__(self) -> int:
        return len(self._rows)

    def _sample(self, index: int) -> Sample:
        row = int(self._rows[index])
        ids = self._ids
        name = self._columns.value("identifier", row) if ids is None else ids[index]
        return Sample(index, name, self._columns.annotation(row))
