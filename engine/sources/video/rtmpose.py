"""rtmlib's estimators: RTMO, which finds people and joints at once, or YOLOX and RTMPose.

Their ONNX files are run by ONNX Runtime.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import rtmlib
from numpy.typing import NDArray

from engine.base.constants import JOINTS
from engine.base.errors import ModelError
from engine.sources.video.estimators import F32, largest

_RUNTIME = {"backend": "onnxruntime", "device": "cpu"}


class OneStage:
    """RTMO. `path`: its ONNX file."""

    def __init__(self, path: str, people: int) -> None:
        self._model = rtmlib.RTMO(path, model_input_size=_input_size(path), **_RUNTIME)
        self._most = people

    def __call__(self, pixels: NDArray[np.uint8]) -> list[F32]:
        """See `engine.sources.video.estimators.Estimator`."""
        kpts, scores = self._model(_bgr(pixels))
        return _people(kpts, scores, self._most)


class TwoStage:
    """YOLOX finds people, RTMPose their joints."""

    def __init__(self, detector: str, pose: str, people: int) -> None:
        height, width = _input_size(pose)
        self._detector = rtmlib.YOLOX(detector, model_input_size=_input_size(detector), **_RUNTIME)
        self._pose = rtmlib.RTMPose(pose, model_input_size=(width, height), **_RUNTIME)
        self._most = people

    def __call__(self, pixels: NDArray[np.uint8]) -> list[F32]:
        """See `engine.sources.video.estimators.Estimator`."""
        image = _bgr(pixels)
        boxes = self._detector(image)
        if not len(boxes):  # RTMPose would take the whole picture for somebody
            return []
        kpts, scores = self._pose(image, bboxes=boxes)
        return _people(kpts, scores, self._most)


def _people(kpts: NDArray[Any], scores: NDArray[Any], most: int) -> list[F32]:
    """Of joints [n, 17, 2] and scores [n, 17]. RTMO says nobody by somebody of no score at all;
    RTMPose's scores may exceed 1."""
    if kpts.shape[1:] != (JOINTS, 2):
        raise ModelError(f"the model finds {kpts.shape[1]} joints a person, COCO has {JOINTS}")
    whole = np.concatenate([kpts, scores.clip(0, 1)[..., None]], axis=2, dtype=np.float32)
    return largest([person for person in whole if person[:, 2].any()], most)


def _bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels[..., ::-1])


def _input_size(path: str) -> tuple[int, int]:
    """Height and width of a model's input."""
    try:
        model = onnx.load(path, load_external_data=False)
        sides = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    except Exception as error:  # protobuf's own errors
        raise ModelError(f"{path}: {error}") from None
    if len(sides) != 4 or not (sides[2] and sides[3]):
        raise ModelError(f"{path}: an input [N, 3, height, width] is needed, this is {sides}")
    return sides[2], sides[3]
