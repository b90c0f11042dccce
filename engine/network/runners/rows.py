"""Rows: where the frames and contexts of a wave are, and what outlives it.

Buffers hold a row for each frame or context (`engine.network.runners.shared`); this is how samples
share them, and how the rows of one level are taken for the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.network.backend import Array
from engine.network.contexts import PADDING
from engine.network.cuts import (
    ACTIVATION,
    FRAMES,
    HANDED,
    NEXT,
    PREVIOUS,
    SHORTCUT,
    STEM,
    THIS,
    Part,
)
from engine.network.increments import slot_id
from engine.network.stem import Stem
from engine.skeletons.sparse import Frames

Rows = NDArray[np.int64]
ArrayShapes = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]  # shapes and dtypes of arrays

USES: Final = 3  # of rows: each begins with a run of its own
_TAPS = ((PREVIOUS, 0), (THIS, 1), (NEXT, 2), (SHORTCUT, 1))  # and whose row each is taken from


class Placed:
    """Where in a buffer the ids of each half are, given how many there are by use.

    `regions`: the rows of each use; each begins with a run of its own. `rows`: for each half
    the row of each of its ids.
    """

    def __init__(self, counts: Sequence[tuple[int, ...]], run: int) -> None:
        self.regions: list[range] = []
        parts: list[list[Rows]] = [[] for _ in counts]
        self._counts = np.cumsum([(0, *count) for count in counts], axis=1)
        first = 0
        for use in range(len(counts[0])):
            row = first
            for half, count in enumerate(counts):
                parts[half].append(np.arange(row, row + count[use]))
                row += count[use]
            self.regions.append(range(first, row))
            first = -(-row // run) * run
        self.rows = [np.concatenate(part) for part in parts]

    def located(self, sources: Sequence[NDArray[Any]]) -> list[Rows]:
        """Rows instead of ids; `PADDING` is -1, the last row, of zeros, and stays, as do the ids
        below it of what is kept."""
        return [
            np.where(ids > PADDING, rows[np.maximum(ids, 0)], ids) if len(rows) else ids
            for ids, rows in zip(sources, self.rows, strict=True)
        ]

    def gathered(self, tables: Sequence[Rows], use: int) -> Rows:
        """The entries of one use out of a table of each half, in the order of its region."""
        borders = self._counts[:, use : use + 2]
        return np.concatenate([table[a:b] for table, (a, b) in zip(tables, borders, strict=True)])


class Drawn:
    """Writes frames out, over those that were there before: only their cells are cleared."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._left: dict[int, NDArray[np.int64]] = {}  # by buffer: places that are not zero

    def read(self, first: int, last: int, out: dict[str, Array]) -> dict[str, Array]:
        canvas = out[FRAMES].reshape(-1)
        left = self._left.get(id(out))
        canvas[slice(None) if left is None else left] = 0
        places, values = self._frames[first:last].entries()
        canvas[places] = values
        self._left[id(out)] = places
        return out


class Convolved:
    """Writes what a network's stem makes of frames, `run` of them at a time."""

    def __init__(self, frames: Frames, stem: Stem, run: int) -> None:
        self._stem, self._run = stem, run
        self._windows = stem.windows(frames, run)

    def read(self, first: int, last: int, out: dict[str, Array]) -> dict[str, Array]:
        self._stem.write(self._windows, first // self._run, out[STEM])
        return out


class Taken:
    """Rows of a level's buffer, taken for the contexts of the next one; below `PADDING`, as
    `engine.network.increments.slot_id` has it, rows of what is `kept` of that level."""

    def __init__(self, below: dict[str, Array], table: Rows, kept: dict[str, Array]) -> None:
        self._below, self._kept = below, kept
        # One contiguous list for each tap; numpy then copies whole rows.
        self._rows = np.ascontiguousarray(table.T)
        # How many places have, up to each, a row that does not follow the one before it.
        self._breaks = np.cumsum(np.diff(self._rows, axis=1, prepend=0) != 1, axis=1).tolist()
        self._any_kept = bool((self._rows < PADDING).any())

    def read(self, first: int, last: int, out: dict[str, Array]) -> dict[str, Array]:
        """Rows that follow each other are read where they are, all others copied into `out`."""
        inputs = dict(out)
        for name, tap in _TAPS:
            if name not in out:
                continue
            source = name if name in self._below else ACTIVATION
            rows, below, into = self._rows[tap, first:last], self._below[source], out[name]
            start, breaks = int(rows[0]), self._breaks[tap]
            if 0 <= start <= len(below) - len(into) and breaks[first] == breaks[last - 1]:
                inputs[name] = below[start : start + len(into)]
                continue
            into = into[: last - first]
            below.take(rows, axis=0, out=into, mode="wrap")
            if self._any_kept:
                for place in np.flatnonzero(rows < PADDING):
                    into[place] = self._kept[source][slot_id(rows[place])]
        return inputs


class Buffers:
    """What each level hands on: arrays of as many rows as a wave has there, `capacity` at most, and
    a last one for padding.

    The next level reads it and no other does, so every second level has the same memory. No more
    of it is touched than a wave needs: what is written for the first time, the system has to find.
    """

    def __init__(self, parts: Sequence[Part], values: np.dtype[Any], capacity: int) -> None:
        self._layouts = [layout(part, values) for part in parts]
        self._more = USES * next(iter(parts[0].outputs.values()))[0] + 1
        needed = [nbytes(self._of(one, capacity)) for one in self._layouts]
        self._memory = [np.empty(max(needed[parity::2], default=0), np.uint8) for parity in (0, 1)]

    def of(self, rows: Sequence[int]) -> list[dict[str, Array]]:
        """The arrays of each level, for so many rows."""
        return [
            laid_out(self._of(one, count), self._memory[level % 2])
            for level, (one, count) in enumerate(zip(self._layouts, rows, strict=True))
        ]

    def _of(self, arrays: ArrayShapes, rows: int) -> ArrayShapes:
        count = rows + self._more
        return {name: ((count, *shape[1:]), dtype) for name, (shape, dtype) in arrays.items()}


def nbytes(arrays: ArrayShapes) -> int:
    return sum(prod(shape) * dtype.itemsize for shape, dtype in arrays.values())


def laid_out(wanted: ArrayShapes, memory: Array) -> dict[str, Array]:
    """Arrays in a piece of memory, one behind the other."""
    arrays, start = {}, 0
    for name, (shape, dtype) in wanted.items():
        end = start + prod(shape) * dtype.itemsize
        arrays[name] = memory[start:end].view(dtype).reshape(shape)
        start = end
    return arrays


def layout(part: Part, values: np.dtype[Any]) -> ArrayShapes:
    """What a part hands on."""
    return {
        name: (shape, stored(name, part.output_types[name], values))
        for name, shape in part.outputs.items()
    }


def stored(name: str, dtype: np.dtype[Any], values: np.dtype[Any]) -> np.dtype[Any]:
    """Of an array that a part takes or hands on: floats between parts are a backend's `values`."""
    return values if name in HANDED and dtype == np.float32 else dtype
