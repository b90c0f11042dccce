"""One sequence, one answer: ``engine.classify(keypoints, scores, img_shape)``.

Comes in: arrays. Goes out: an `Answer`. The network is loaded once a process, in this process, and
kept as long as the files that are named stay as they are::

    answer = engine.classify(keypoints, scores, (480, 640), model="demo")
    print(answer.name, answer.score)
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.base.errors import SampleError, UsageError, printable
from engine.base.notes import EMPTY, Note
from engine.base.options import Options
from engine.base.records import Cause
from engine.network.recogniser import scored
from engine.runtime.setup import Setup
from engine.skeletons.joints import take_layout
from engine.skeletons.poses import unmasked
from engine.skeletons.samples import ANY_CLASSES, Sample


@dataclass(frozen=True, eq=False)
class Answer:
    """`label` and `name` of the best class, its `score`, and `scores` of all, float32 [classes].
    `notes`: ``normalised`` where the coordinates were taken as shares of the picture, ``percent``
    where the scores were divided by 100, …; and what makes the answer doubtful
    (`engine.skeletons.oddities`). `clips`: how many were averaged."""

    label: int
    name: str
    score: float
    scores: NDArray[np.float32]
    notes: tuple[Note, ...] = ()
    clips: int = 1


def classify(
    keypoints: ArrayLike,
    scores: ArrayLike | None,
    img_shape: tuple[int, int],
    **options: Any,
) -> Answer:
    """What happens in one sequence of skeletons, of any length.

    `keypoints`: [frames, 17, 2] of one person or [persons, frames, 17, 2], x and y in pixels,
    COCO's joints (or those that the model was made for), or with x and y of all joints in a row,
    [frames, 34]; zeros where somebody is absent. `scores`: one a joint, [frames, 17], or None where
    there are none. `img_shape`: (height, width).
    `options`: fields of `Options` about model and device, ``coordinates``, and ``layout``, which
    names another numbering of the joints than COCO's, such as ``body25``
    (`engine.skeletons.joints`): keypoints are [.., joints, 2] then. Raises `SampleError` that says
    what is wrong with the arrays, and `UsageError`.
    """
    layout = take_layout(options)
    found = _array(keypoints, "keypoints")
    given = None if scores is None else _array(scores, "scores")
    if layout is not None:
        try:
            found, given = layout.of_arrays(found, given)
        except (ValueError, TypeError) as error:
            raise SampleError(str(error), stage="read") from None
    in_a_row = found.ndim > 1 and found.shape[-1] > 3
    annotation = {
        "keypoint": _persons(found, 3 if in_a_row else 4),
        "img_shape": img_shape,
        "keypoint_score": None if given is None else _persons(given, 3),
    }
    return _network(tuple(sorted(options.items())), _state(options), os.getpid()).answer(annotation)


def _error(cause: Cause) -> SampleError:
    """What is wrong with the sequence, in the names of `classify`'s arguments."""
    said = str(cause).replace(
        "scores go into keypoint_score", "scores are an argument of their own"
    )
    said = said.replace("--coordinates ", "coordinates=").replace("keypoint_score", "scores")
    said = re.sub(r"\bkeypoint\b", "keypoints", said)
    return SampleError(said, stage=cause.stage)


def _array(value: ArrayLike, name: str) -> NDArray[Any]:
    """Raises `SampleError` for what is none: ragged lists, a tensor on a device."""
    try:
        return unmasked(value)
    except Exception as error:
        raise SampleError(f"{name} are no array of numbers: {printable(error)}") from None


def _persons(found: NDArray[Any], axes: int) -> NDArray[Any]:
    """With the axis of persons, where one person was given without."""
    return found[None] if found.ndim == axes - 1 else found


class _Network:
    """A model on a device, for one caller at a time."""

    def __init__(self, setup: Setup) -> None:
        self._recogniser, self._classes = setup.recogniser(), setup.model.classes
        self._recipe, self._coordinates = setup.recipe, setup.options.coordinates
        self._lock = threading.Lock()

    def answer(self, annotation: dict[str, Any]) -> Answer:
        sample = Sample(0, "", annotation, self._coordinates)
        poses = sample.read(ANY_CLASSES, self._recipe)
        if isinstance(poses, Cause):
            raise _error(poses)
        if EMPTY in poses.notes:
            raise SampleError(
                "nobody is in keypoints: all coordinates are zero or NaN, or their scores are 0"
            )
        with self._lock:
            clips = self._recogniser.prepare(poses)
            if isinstance(clips, Cause):
                raise _error(clips)
            [logits] = self._recogniser.logits([clips])
        scores = scored(logits)
        if isinstance(scores, Cause):
            raise _error(scores)
        label = int(scores.argmax())
        about = label, self._classes[label], float(scores[label]), scores
        return Answer(*about, poses.notes, len(logits))


def _state(options: dict[str, Any]) -> tuple[tuple[str, int, int, int, int], ...]:
    """What is another one where the files that options name are others: the folder that we are in
    was left, or somebody has written to them."""
    found = []
    for name in (os.fspath(v) for v in options.values() if isinstance(v, (str, os.PathLike))):
        with contextlib.suppress(OSError, ValueError):  # no file, but a choice
            about = os.stat(name)
            place = about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns
            found.append((os.path.abspath(name), *place))
    return tuple(found)


@lru_cache(maxsize=4)
def _network(options: tuple[tuple[str, Any], ...], state: object, pid: int) -> _Network:
    """`state`, `pid`: a network is another one where these are. What a runtime has loaded cannot
    be used in a process that was forked."""
    chosen = Options(**dict(options))
    if chosen.whom == "person":
        raise UsageError("per: one answer is for all together; give each person's arrays alone")
    return _Network(Setup.of(chosen))
