"""Estimators: who is in a picture, and where their joints are.

Comes in: a picture, RGB uint8 [height, width, 3]. Goes out: for each person float32 [17, 3], x and
y in pixels and a score, in COCO's order.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.sources.video.settings import VideoSettings

F32 = NDArray[np.float32]


class Estimator(Protocol):
    """Finds people."""

    def __call__(self, pixels: NDArray[np.uint8]) -> list[F32]:
        """The people in the next picture."""


def mediapipe(settings: VideoSettings) -> Estimator:
    """MediaPipe's pose landmarker. `settings.model`: a ``.task`` file."""
    from engine.sources.video.blazepose import BlazePose, Landmarker

    return BlazePose(Landmarker(Path(settings.model)), settings.people)


def rtmlib(settings: VideoSettings) -> Estimator:
    """rtmlib. `settings.model`: RTMO in ONNX; or, with `settings.detector` (YOLOX), RTMPose."""
    from engine.sources.video.rtmpose import OneStage, TwoStage

    if settings.detector is None:
        return OneStage(settings.model, settings.people)
    return TwoStage(settings.detector, settings.model, settings.people)


ESTIMATORS: Final[dict[str, Callable[[VideoSettings], Estimator]]] = {
    "mediapipe": mediapipe,
    "rtmlib": rtmlib,
}
