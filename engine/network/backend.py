"""Backend: what a runtime is to the network: one model on one device."""

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


class PartNetwork(Protocol):
    """A compiled part of layout ``shared``; `lanes` as in `Backend`."""

    lanes: int

    def start(self, lane: int, inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
        """Begin a run in a free lane: arrays by the names of the part's inputs and outputs,
        C-contiguous, of its shapes. `outputs` are written until `finish`."""

    def finish(self, lane: int) -> None:
        """Wait for the lane's run. Raises `BackendError` when the runtime failed."""


class Backend(Protocol):
    """One network on one device.

    A whole network: `inputs`, `start` and `finish`. `sizes`: the numbers of clips (layout
    ``shared`` compiled into one graph: of frames) that one run takes, ascending; the executor
    splits and pads. `lanes`: how many runs may be under way at once, each in a lane of its own.
    A runtime that only runs synchronously has one lane and does the work in `start`.

    `executed_s`: seconds of execution alone that the runtime measured of the last run finished,
    None where it measures none.

    A network in parts (layout ``shared``): `part`, of as many rows as `rows` says; between
    parts, arrays are of dtype `values` (float32, or uint16 that holds bfloat16).
    """

    facts: Facts
    sizes: tuple[int, ...]
    lanes: int
    rows: int
    values: np.dtype[Any]
    executed_s: float | None

    def inputs(self, lane: int, size: int) -> tuple[Array, ...]:
        """Where the inputs of a run of `size` in a lane (counted from 0) are to be written, the
        same memory each time; the caller leaves it alone from `start` to `finish`.

        Layout ``clips``: clips [size, 17, 48, 56, 56]. A compiled ``shared``: frames
        [size, 17, 56, 56], and the plan, int32 [20, 48], of positions among them. float32, or
        float16 where the network takes that.
        """

    def start(self, lane: int, size: int) -> None:
        """Begin a run in a free lane, of what is in its `inputs`.

        Raises `BackendError` when the runtime fails.
        """

    def finish(self, lane: int) -> NDArray[np.float32]:
        """Wait for the lane's run: its logits [clips, classes], which are the caller's.

        Raises `BackendError` when the runtime failed.
        """

    def part(self, part: Part) -> PartNetwork:
        """Compile a part. Raises `ModelError`, and `UsageError` for another precision."""

    def close(self) -> None:
        """Give the device back. No call follows."""


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
class ResidentBackend(Backend, Protocol):
    """A backend whose device draws, gathers and averages by itself: nothing but joints goes there
    and nothing but logits comes back.

    `capacity`: the `Wave.counts` that one run takes at most; a single sample always fits.
    `strides`: of the network's temporal convolutions.
    """

    capacity: list[int]
    strides: tuple[int, ...]

    def start_wave(self, lane: int, wave: Wave) -> None:
        """As `start`; `finish` has the logits, one row for each of `Wave.clips`."""


class Loader(Protocol):
    """What an entry point names: loads a model onto a device.

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
