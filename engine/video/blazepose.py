"""MediaPipe's BlazePose for several people: search the whole picture now and then, and look
closely at those who were found.

The landmarker shrinks what it is shown to 224 pixels, and where two people stand close its own
tracking settles on one of them. Shown each person's surroundings alone it places joints better,
and both of two that embrace are followed. Called by `engine.video.estimators`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import PoseLandmarker, PoseLandmarkerOptions, RunningMode
from numpy.typing import NDArray

from engine.errors import ModelError
from engine.sources.layouts import LAYOUTS
from engine.tracking import matches, similarity_of

F32 = NDArray[np.float32]

_MARGIN = 1.4  # of the region around a person, against the box of the joints
_SLIMMEST = 0.5  # of a region, its shorter side against the longer
_LEAST_SIDE = 16  # pixels of a region
_SEARCH_EVERY = 5  # frames
_KEEP = 15  # frames for which somebody out of sight is looked for where they were
_SAME = 0.15  # similarity of one person's poses in consecutive frames, at least
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
        """See `engine.video.estimators.Estimator`."""
        found, missed = [], not self._followed
        for person in self._followed:
            near = self._look_at(pixels, region(person.kpts, pixels.shape[:2]))
            missed |= all(similarity_of(person.kpts, kpts) < _SAME for kpts in near)
            found += near
        if missed or not self._count % _SEARCH_EVERY:
            found += self._landmarker(pixels)
        self._count += 1
        return self._follow(found)

    def _look_at(self, pixels: NDArray[np.uint8], box: tuple[int, int, int, int]) -> list[F32]:
        left, top, right, bottom = box
        if min(right - left, bottom - top) < _LEAST_SIDE:
            return []
        found = self._landmarker(np.ascontiguousarray(pixels[top:bottom, left:right]))
        return [kpts + np.array([left, top, 0], np.float32) for kpts in found]

    def _follow(self, found: list[F32]) -> list[F32]:
        """Who of those found is whom; somebody new is unlike all others, since one person may
        have been found in several regions."""
        matched = matches([person.kpts for person in self._followed], found, _SAME)
        for person in self._followed:
            person.unseen += 1
        for column, row in matched.items():
            self._followed[row] = _Followed(found[column])
        present = [found[column] for column in matched]
        self._followed = [person for person in self._followed if person.unseen <= _KEEP]
        for kpts in found:
            alike = max((similarity_of(kpts, other) for other in present), default=0.0)
            if alike <= _OTHER and len(self._followed) < self._most:
                present.append(kpts)
                self._followed.append(_Followed(kpts))
        return present


def region(kpts: F32, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Where to look for somebody whose joints were at `kpts`: left, top, right and bottom, within
    a picture of (height, width)."""
    low, high = kpts[:, :2].min(axis=0), kpts[:, :2].max(axis=0)
    sides = (high - low) * _MARGIN
    half = np.maximum(sides, sides.max() * _SLIMMEST) / 2
    middle, edge = (low + high) / 2, (shape[1], shape[0])
    left, top = np.clip(middle - half, 0, edge).astype(int)
    right, bottom = np.clip(middle + half, 0, edge).astype(int)
    return int(left), int(top), int(right), int(bottom)
