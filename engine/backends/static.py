"""Static files on runtimes that take ONNX: what they share."""

from __future__ import annotations

import numpy as np

from engine.network.backend import Array
from engine.network.model_file import ModelFile
from engine.network.om import within


class Inputs:
    """The inputs of a lane's runs of a model's static files, of zeros: memory for the largest of
    them, where those of all sizes begin at the same places."""

    def __init__(self, model: ModelFile) -> None:
        self._interface = model.interface
        shapes = self._interface.room(max(self._interface.levels))
        types = self._interface.types("float32")
        self._arrays = [np.zeros(*about) for about in zip(shapes, types, strict=True)]

    def of(self, size: int) -> tuple[Array, ...]:
        """Those of a run."""
        return tuple(map(within, self._arrays, self._interface.inputs(size)))


def files_by_size(model: ModelFile) -> dict[int, bytes]:
    """The content of each file, by its number of frames, ascending. Raises `ModelError`."""
    return dict(sorted((file.gears[0], file.content()) for file in model.files))
