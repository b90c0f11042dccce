"""The gallery: samples of a data set that were scored lately, in motion.

Comes in: predictions. Goes out: JSON types. Pure, and the clock is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.base.errors import printable
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.base.records import Prediction
from engine.outputs.accuracy import top_classes
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import Sample

_SHOWN = 6
_EVERY_S = 1.0  # a new one in the long run, so that one can look
_MAX_FRAMES = 60
_RATE = 30.0  # frames a second that a video is taken to have


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
        """The latest samples, the newest first: as `in_motion` gives them."""
        return list(reversed(self._chosen))


def in_motion(prediction: Prediction, poses: PoseSequence, names: Sequence[str]) -> dict[str, Any]:
    """A sample's skeletons, thinned out and rounded, with its first five answers of `names`: JSON
    types. ``frames``: [x, y, hundred times the score] by frame, person and joint."""
    total = poses.total_frames
    frames = np.unique(np.linspace(0, total - 1, min(total, _MAX_FRAMES)).astype(int))
    keypoint = np.nan_to_num(poses.keypoint[:, frames].astype(np.float32))
    score = np.ones(keypoint.shape[:3], np.float32)
    if poses.keypoint_score is not None:
        score = poses.keypoint_score[:, frames].astype(np.float32)
    score = score * (keypoint != 0).any(axis=-1)
    persons = np.argsort(-score.mean(axis=(1, 2)))[:3]
    drawn = np.concatenate([keypoint.clip(-1e5, 1e5), 100 * score.clip(0, 1)[..., None]], axis=-1)
    shown = np.rint(drawn[persons]).astype(int).transpose(1, 0, 2, 3)
    best = top_classes(prediction.scores[None], 5)[0].tolist()
    return {
        "id": printable(prediction.id),
        "truth": None if prediction.label is None else names[prediction.label],
        "top": [{"name": names[c], "score": float(prediction.scores[c])} for c in best],
        "seconds": total / _RATE,
        "frames": shown.tolist(),
    }
