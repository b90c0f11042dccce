"""One sequence, one answer: ``engine.classify(keypoints, scores, img_shape)``.

Comes in: arrays. Goes out: an `Answer`. The network is loaded once a process, in this process, and
kept::

    answer = engine.classify(keypoints, scores, (480, 640), model="demo")
    print(answer.name, answer.score)
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.base.errors import SampleError
from engine.base.options import Options
from engine.network.recogniser import average
from engine.network.runners.base import Runner
from engine.network.runners.opening import infer, prepared
from engine.runtime.setup import Setup
from engine.skeletons.clips import sampled
from engine.skeletons.poses import PoseSequence


@dataclass(frozen=True, eq=False)
class Answer:
    """`label` and `name` of the best class, its `score`, and `scores` of all, float32 [classes]."""

    label: int
    name: str
    score: float
    scores: NDArray[np.float32]


def classify(
    keypoints: ArrayLike,
    scores: ArrayLike | None,
    img_shape: tuple[int, int],
    **options: Any,
) -> Answer:
    """What happens in one sequence of skeletons, of any length.

    `keypoints`: [frames, 17, 2] of one person or [persons, frames, 17, 2], x and y in pixels,
    COCO's joints; zeros where somebody is absent. `scores`: the same less the last axis, or None
    where there are none. `img_shape`: (height, width). `options`: fields of `Options` about model
    and device. Raises `SampleError` that says what is wrong with the arrays, and `UsageError`.
    """
    annotation = {
        "keypoint": _persons(keypoints, 4),
        "img_shape": img_shape,
        "keypoint_score": None if scores is None else _persons(scores, 3),
    }
    try:
        poses = PoseSequence.from_annotation(annotation)
    except SampleError as error:
        raise SampleError(_as_arguments(str(error))) from None
    if not np.nan_to_num(poses.keypoint.astype(np.float32)).any():
        raise SampleError("nobody is in keypoints: all coordinates are zero or NaN")
    network = _network(tuple(sorted(options.items())))
    return network.answer(poses)


def _as_arguments(said: str) -> str:
    """What is wrong with an annotation, in the names of `classify`'s arguments."""
    said = said.replace("scores go into keypoint_score", "scores are an argument of their own")
    return said.replace("keypoint_score", "scores").replace("keypoint ", "keypoints ")


def _persons(array: ArrayLike, axes: int) -> Any:
    """With the axis of persons, where one person was given without."""
    found = np.asarray(array)
    return found[None] if found.ndim == axes - 1 else found


class _Network:
    """A model on a device, for one caller at a time."""

    def __init__(self, setup: Setup) -> None:
        self._setup, self._lock = setup, threading.Lock()
        self._runner: Runner = setup.executors[0].open_runner()

    def answer(self, poses: PoseSequence) -> Answer:
        options = self._setup.options
        placed = sampled(poses, options.reference, options.views)
        with self._lock:
            [logits] = infer(self._runner, [prepared(self._runner, placed)])
        scores = average(logits)
        label = int(scores.argmax())
        return Answer(label, self._setup.model.classes[label], float(scores[label]), scores)


@lru_cache(maxsize=4)
def _network(options: tuple[tuple[str, Any], ...]) -> _Network:
    return _Network(Setup.of(Options(**dict(options))))
