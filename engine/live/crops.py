"""Crops: the part of the picture that a track's windows are drawn in, which stays where it is.

Comes in: the poses of window after window. Goes out: a crop, the same one for as long as everybody
stays within it. One object for a person (or group) of a stream; pure.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import SampleError
from engine.base.recipe import Recipe
from engine.skeletons.heatmaps import crop_around
from engine.skeletons.poses import Crop

_EDGE = 0.02  # of the crop's side: poses that come closer to its border have left it
_SMALLEST = 0.7  # of the crop's side, of the one that the poses would have by themselves


class SteadyCrop:
    """`number`: of whom it is. Crops are numbered, too, so that what has been computed in one is
    never taken for another's."""

    def __init__(self, number: int, recipe: Recipe) -> None:
        self.number, self._recipe = number, recipe
        self.count = -1  # the number of the last crop
        self._current: Crop | None = None
        self._members: Hashable = None

    def of(self, keypoint: NDArray[Any], members: Hashable) -> Crop | None:
        """The crop of a window of poses [P, T, 17, 2] of these members. None where they span less
        than ten pixels, or nothing can be drawn around them."""
        try:
            own = crop_around(keypoint.astype(np.float32), self._recipe)
        except SampleError:
            own = None
        if own is None:
            self._current = None
        elif self._current is None or members != self._members or not self._fits(keypoint, own):
            self._current, self._members = own, members
            self.count += 1
        return self._current

    def _fits(self, keypoint: NDArray[Any], own: Crop) -> bool:
        assert self._current is not None
        left, top, right, bottom = self._current
        present = keypoint[(keypoint != 0).any(axis=-1)]
        edge = _EDGE * (right - left)
        inside = (present >= [left + edge, top + edge]) & (present <= [right - edge, bottom - edge])
        return bool(inside.all()) and own[2] - own[0] >= _SMALLEST * (right - left)
