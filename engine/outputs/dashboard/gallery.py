"""The gallery: samples of a data set that were scored lately, in motion.

Comes in: predictions. Goes out: JSON types. Pure, and the clock is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.base.records import Prediction
from engine.outputs.html_report import in_motion
from engine.skeletons.samples import Sample

_SHOWN = 6
_EVERY_S = 1.0  # a new one in the long run, so that one can look


class Gallery:
    """`samples`: of the data set, by index. `classes` and `recipe`: of the model. `changes`: counts
    what is new."""

    def __init__(
        self, samples: Sequence[Sample], classes: Sequence[str], recipe: Recipe = HMDB51_RECIPE
    ) -> None:
        self._samples, self._classes, self._recipe = samples, classes, recipe
        self._chosen: deque[dict[str, Any]] = deque(maxlen=_SHOWN)
        self._due = float("-inf")  # when so many had their second
        self.changes = 0

    def add(self, prediction: Prediction, now: float) -> None:
        """A sample has been scored."""
        self._due = max(self._due, now - _SHOWN * _EVERY_S)  # records come a batch at a time
        if now - self._due >= _EVERY_S:
            self._due += _EVERY_S
            poses = self._samples[prediction.index].poses(len(self._classes), self._recipe)
            self._chosen.append(in_motion(prediction, poses, self._classes))
            self.changes += 1

    def shown(self) -> list[dict[str, Any]]:
        """The latest samples, the newest first: as `engine.outputs.html_report.in_motion` gives
        them."""
        return list(reversed(self._chosen))
