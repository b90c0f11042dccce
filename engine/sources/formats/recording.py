"""Recordings: the poses of a video as a file has them, whatever program wrote it.

The common form between readers and the rest of the engine: frames in order, of each the people with
all joints of the program's own layout, in pixels or in shares of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import SourceError
from engine.skeletons.joints import JointLayout

Size = tuple[int, int]
"""Width and height in pixels."""
_SPARSEST: Final = 10  # moments for each frame that is there
_SHORT: Final = 1000  # moments, of which any number may be empty
_TELLING: Final = 7  # steps that are nearly the same


@dataclass(frozen=True, eq=False)
class Detection:
    """Somebody in a frame. `kpts`: float32 [joints, 3], x, y and score; zeros where a joint was not
    found. `id`: whom a tracker took it for, None where there was none."""

    kpts: NDArray[np.float32]
    id: int | str | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """`number` is its moment in the video (`timeline`), perhaps with gaps. `size`: where the file
    says it of each frame."""

    number: int
    people: list[Detection]
    size: Size | None = None


@dataclass(frozen=True, eq=False)
class Recording:
    """One video.

    `name`: unique in its file. `frames`: may be called again; in place of a frame that cannot be
    read it yields a `SourceError` that names the file. `size`: of the picture, None where the
    format does not carry it. `rate`: frames/s. `layout`: None where only the number of joints
    tells. `shares`: coordinates are shares of width and height, by the format's definition. `rows`:
    an id is a row of the file's own array, which may be a person's or not. `error`: why nothing of
    it can be read. `label`: the number of its class, where the file says it.
    """

    name: str
    frames: Callable[[], Iterator[Frame | SourceError]]
    size: Size | None = None
    rate: float | None = None
    layout: JointLayout | None = None
    shares: bool = False
    rows: bool = False
    error: str | None = None
    label: int | None = None


def sides(width: Any, height: Any) -> Size | None:
    """A picture's size as a file says it, in whole pixels; None where it says none."""
    if not all(type(side) is int and 0 < side < 2**16 for side in (width, height)):
        return None
    return width, height


def timeline(numbers: Sequence[int]) -> list[int]:
    """Numbers of frames, ascending, as moments of a video.

    Where every n-th frame was kept, or numbers are times, these are one apart. Gaps are moments in
    which nobody was found; but numbers that have little to do with time (COCO's of pictures) are
    replaced by 0, 1, 2, ….
    """
    if not count_time(numbers):
        return list(range(len(numbers)))
    first, step = numbers[0], _step(numbers)
    if isinstance(step, int):
        return [first // step + (number - first) // step for number in numbers]
    return [round((number - first) / step) for number in numbers]


def count_time(numbers: Sequence[int]) -> bool:
    """Whether numbers, ascending, may be those of the frames of a video."""
    if len(set(numbers)) < len(numbers) or not numbers:
        return False
    moments = (numbers[-1] - numbers[0]) / _step(numbers)
    return moments < max(_SPARSEST * len(numbers), _SHORT)


def _step(numbers: Sequence[int]) -> int | float:
    """From a moment to the next: what all numbers are apart by, or nearly, as milliseconds are."""
    common = math.gcd(*(number - numbers[0] for number in numbers)) or 1
    steps = [later - number for number, later in pairwise(numbers)]
    if len(steps) >= _TELLING and common < min(steps) and max(steps) < 2 * min(steps):
        return float(median(steps))
    return common
