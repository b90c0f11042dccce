"""Backends: what a runtime can do with a network, on one device.

Every backend is a `Backend`, and at least one of

- `ClipsBackend`: whole clips. All that a backend needs to be of use.
- `PlanBackend`: distinct frames, and a plan of the clips, through one compiled graph.
- `TablesBackend`: distinct frames, and tables of contexts, through one static graph.
- `PartsBackend`: parts of the network, in which nothing is computed twice.
- `WavesBackend`: everything from joints to logits, on the device.

What is to be run is what `ModelFile.layout` says: ``clips`` the first, ``shared`` one of the
others (`engine.network.runners.opening`). These are protocols: a backend has the members, and
inherits from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import Precision
from engine.base.records import Facts
from engine.network.cuts import Part
from engine.network.models import ModelFile
from engine.skeletons.clips import Clips, JointClips

Array = NDArray[Any]


class Backend(Protocol):
    """One network on one device, in one thread; it may hold the GIL during a run."""

    facts: Facts

    def close(self) -> None:
        """Give the device back. No call follows."""


class _Lanes(Backend, Protocol):
    """Runs that are started and waited for. `lanes`: how many may be under way at once, each in a
    lane of its own, counted from 0. A runtime that only runs synchronously has one lane and does
    the work in `start`."""

    lanes: int

    def finish(self, lane: int) -> NDArray[np.float32]:
        """Wait for the lane's run: its logits [clips, classes], which are the caller's.

        Raises `BackendError` when the runtime failed.
        """


class _Sizes(_Lanes, Protocol):
    """Runs of fixed sizes."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of clips or frames that one run takes, ascending; the caller splits and
        pads."""

    def start(self, lane: int, size: int) -> None:
        """Begin a run in a free lane, of what was written for it.

        Raises `BackendError` when the runtime fails.
        """


@runtime_checkable
class ClipsBackend(_Sizes, Protocol):
    """Runs whole clips; `sizes` are numbers of clips."""

    def clips(self, lane: int, size: int) -> Array:
        """Where the clips of a run of `size` in a lane are to be written: [size, channels, length,
        height, width], float32, or float16 where the network takes that. The same memory each
        time; the caller leaves it alone from `start` to `finish`."""


@runtime_checkable
class PlanBackend(_Sizes, Protocol):
    """Runs samples through one graph that draws clips from distinct frames; `sizes` are numbers
    of frames."""

    def planned(self, lane: int, size: int) -> tuple[Array, Array]:
        """Where a sample of at most `size` frames in a lane is to be written, as of
        `ClipsBackend.clips`: frames [size, channels, height, width], and the plan, int32
        [views, length], of positions among them."""


@runtime_checkable
class TablesBackend(_Sizes, Protocol):
    """Runs samples through static graphs of every context (`engine.network.chain`); `sizes` are
    numbers of frames, by which `engine.network.om.Interface` knows the rows of each level."""

    def tabled(self, lane: int, size: int) -> tuple[Array, ...]:
        """Where a sample for a run of this size in a lane is to be written, as of
        `ClipsBackend.clips`: frames, a table of each level, and what rows count in clips. Those of
        all sizes begin at the same places."""


class PartNetwork(Protocol):
    """A compiled part; `lanes` as of other backends."""

    lanes: int

    def start(self, lane: int, inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
        """Begin a run in a free lane: arrays by the names of the part's inputs and outputs,
        C-contiguous, of its shapes. `outputs` are written until `finish`."""

    def finish(self, lane: int) -> None:
        """Wait for the lane's run. Raises `BackendError` when the runtime failed."""


@runtime_checkable
class PartsBackend(Backend, Protocol):
    """Runs parts of the network, each of as many rows as `rows` says."""

    rows: int

    @property
    def values(self) -> np.dtype[Any]:
        """Of the floats between parts: float32, or uint16 that holds bfloat16. What is handed on
        quantised is of the part's own types."""

    def part(self, part: Part) -> PartNetwork:
        """Compile a part. Raises `ModelError`, and `UsageError` for another precision."""


@dataclass(frozen=True, eq=False)
class Wave:
    """Samples that run together in layout ``shared``: what they are drawn from, and where things
    are in rows that all of them share.

    `firsts`: of each sample the row of its first frame; its twins follow its frames. `frames`: how
    many there are. `levels`: int32 [rows, 3], as `engine.network.contexts.Level.sources`. `clips`:
    int32 [clips, positions], rows of the last level.
    """

    samples: Sequence[Clips | JointClips]
    firsts: Sequence[int]
    frames: int
    levels: Sequence[NDArray[np.int32]]
    clips: NDArray[np.int32]

    @property
    def counts(self) -> list[int]:
        """Frames, rows of each level, clips."""
        return [self.frames, *map(len, self.levels), len(self.clips)]


@runtime_checkable
class WavesBackend(_Lanes, Protocol):
    """A device that draws, gathers and runs by itself: nothing but joints goes there and nothing
    but logits comes back.

    `capacity`: the `Wave.counts` that one run takes at most; a single sample always fits.
    `strides`: of the network's temporal convolutions.
    """

    capacity: list[int]
    strides: tuple[int, ...]

    def start_wave(self, lane: int, wave: Wave) -> None:
        """Begin a run in a free lane; `finish` has the logits, one row for each of `Wave.clips`.

        Raises `BackendError` when the runtime fails.
        """


@runtime_checkable
class TimedBackend(Backend, Protocol):
    """A backend whose runtime measures. `executed_s`: seconds of execution alone of the last run
    finished, None before the first."""

    executed_s: float | None


class Loader(Protocol):
    """What an entry point of the group ``engine.backends`` names, a class or a function: loads a
    model onto a device, to be run in the model's layout.

    `device` is the runtime's own name, None for its default. Raises `ModelError` or
    `UsageError` for what it cannot load or honour.
    """

    def __call__(
        self, model: ModelFile, *, device: str | None, precision: Precision, threads: int
    ) -> Backend: ...


def split_rows(rows: int, sizes: Sequence[int]) -> list[int]:
    """Sizes of the runs that hold `rows` clips, descending; their sum may exceed `rows`.

    `sizes` are ascending, and nothing else may run. As little padding as can be, since a device
    computes filler like anything else; then as few runs as can be.
    """
    return list(_split(rows, tuple(sizes)))


@lru_cache(maxsize=4096)
def _split(rows: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    unit = gcd(*sizes)
    # the best split of each number of units: (units run, number of runs, the last run)
    best: list[tuple[int, int, int]] = [(0, 0, 0)]
    for units in range(1, -(-rows // unit) + 1):
        rests = ((best[max(0, units - size // unit)], size // unit) for size in sizes)
        best.append(min((total + size, runs + 1, size) for (total, runs, _), size in rests))
    runs, left = [], len(best) - 1
    while left > 0:
        runs.append(best[left][2] * unit)
        left -= best[left][2]
    return tuple(sorted(runs, reverse=True))
