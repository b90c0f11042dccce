"""MediaPipe's BlazePose for several people: search the picture and its parts in turn, and look
closely at those who were found.

The landmarker shrinks what it is shown to 224 pixels, so that it misses people who are small, and
where two stand close its own tracking settles on one of them. Shown each person's surroundings
alone it places joints better, and both of two that embrace are followed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import PoseLandmarker, PoseLandmarkerOptions, RunningMode
from numpy.typing import NDArray

from engine.base.errors import ModelError
from engine.skeletons.joints import LAYOUTS
from engine.skeletons.similarity import F32, SIMILAR, matches, similarity_of

Box = tuple[int, int, int, int]  # left, top, right and bottom

_MARGIN = 1.4  # of the region around a person, against the box of the joints
_SLIMMEST = 0.5  # of a region, its shorter side against the longer
_LEAST_SIDE = 16  # pixels of a region
_TURNS = 5  # of the search: the whole picture, then a part of it in each other frame
_KEEP = 15  # frames for which somebody out of sight is looked for where they were
_TWIN = 0.6  # similarity of two poses in one frame that are of one person
_OTHER = 0.1  # similarity to those present of somebody new, at most


class Landmarker:
    """The model. `path`: a ``.task`` file."""

    def __init__(self, path: Path) -> None:
        options = PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(path)),
            running_mode=RunningMode.IMAGE,
            num_poses=4,
        )
        try:
            self._landmarker = PoseLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{path} is no pose landmarker of MediaPipe's: {error}") from None

    def __call__(self, pixels: NDArray[np.uint8]) -> list[F32]:
        """The people in a picture or a part of one, [17, 3] each."""
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        height, width = pixels.shape[:2]
        found = []
        for landmarks in self._landmarker.detect(image).pose_landmarks:
            kpts = np.array([(at.x, at.y, at.visibility) for at in landmarks], np.float32)
            found.append(LAYOUTS["mediapipe33"].to_coco(kpts, (width, height)))
        return found


@dataclass
class _Followed:
    kpts: F32
    unseen: int = 0  # frames


class BlazePose:
    """At most `people` are followed."""

    def __init__(self, landmarker: Landmarker, people: int) -> None:
        self._landmarker, self._most = landmarker, people
        self._followed: list[_Followed] = []
        self._count = 0

    def __call__(self, pixels: NDArray[np.uint8]) -> list[F32]:
        """See `engine.sources.video.estimators.Estimator`."""
        height, width = pixels.shape[:2]
        for person in self._followed:
            person.unseen += 1
        boxes = [region(person.kpts, height, width) for person in self._followed]
        near = [kpts for box in boxes for kpts in self._look_at(pixels, box)]
        present = self._recognise(near, [])
        found, turn = [], self._count % _TURNS
        if turn == 0 or len(present) < max(1, len(self._followed)):
            found += self._landmarker(pixels)
        if turn:
            parts = _parts(height, width)
            found += self._look_at(pixels, parts[self._count % len(parts)])
        self._count += 1
        present += self._recognise(found, present)
        self._followed = [person for person in self._followed if person.unseen <= _KEEP]
        return present + self._welcome(found, present)

    def _look_at(self, pixels: NDArray[np.uint8], box: Box) -> list[F32]:
        left, top, right, bottom = box
        if min(right - left, bottom - top) < _LEAST_SIDE:
            return []
        found = self._landmarker(np.ascontiguousarray(pixels[top:bottom, left:right]))
        return [kpts + np.array([left, top, 0], np.float32) for kpts in found]

    def _recognise(self, found: list[F32], present: list[F32]) -> list[F32]:
        """Those of `found` who are followed, and have not been seen in this picture yet. One
        person may have been found in several regions, and be among those `present`."""
        distinct: list[F32] = []
        for kpts in found:
            if _closest(kpts, present + distinct) < _TWIN:
                distinct.append(kpts)
        missing = [person for person in self._followed if person.unseen]
        matched = matches([person.kpts for person in missing], distinct, SIMILAR)
        for column, row in matched.items():
            missing[row].kpts, missing[row].unseen = distinct[column], 0
        return [distinct[column] for column in matched]

    def _welcome(self, found: list[F32], present: list[F32]) -> list[F32]:
        """Those of `found` who are new: unlike all who are present."""
        new: list[F32] = []
        for kpts in found:
            room = len(self._followed) < self._most
            if room and _closest(kpts, present + new) <= _OTHER:
                new.append(kpts)
                self._followed.append(_Followed(kpts))
        return new


def _closest(kpts: F32, others: list[F32]) -> float:
    """Similarity of a pose to the one that is most like it."""
    return max((similarity_of(kpts, other) for other in others), default=0.0)


def _parts(height: int, width: int) -> list[Box]:
    """Nine overlapping quarters of a picture."""
    corners = [(x * width // 4, y * height // 4) for y in range(3) for x in range(3)]
    return [(x, y, x + width // 2, y + height // 2) for x, y in corners]


def region(kpts: F32, height: int, width: int) -> Box:
    """Where to look for somebody whose joints were at `kpts`, within a picture."""
    low, high = kpts[:, :2].min(axis=0), kpts[:, :2].max(axis=0)
    sides = (high - low) * _MARGIN
    half = np.maximum(sides, sides.max() * _SLIMMEST) / 2
    middle, edge = (low + high) / 2, (width, height)
    left, top = np.clip(middle - half, 0, edge).astype(int)
    right, bottom = np.clip(middle + half, 0, edge).astype(int)
    return int(left), int(top), int(right), int(bottom)
