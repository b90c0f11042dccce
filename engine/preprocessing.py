"""Preprocessing alone: the network's input for an annotation, without a network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import AUTO, COORDINATES, Coordinates
from engine.base.constants import REFERENCES, Reference
from engine.base.errors import UsageError
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.skeletons.clips import decode
from engine.skeletons.poses import PoseSequence


def preprocess(
    annotation: Mapping[str, Any],
    reference: Reference | None = None,
    *,
    model: str | os.PathLike[str] | None = None,
    coordinates: Coordinates = AUTO,
    config: str | os.PathLike[str] | None = None,
) -> NDArray[np.float32]:
    """The network's input for one annotation: float32 [views, channels, length, size, size].

    `annotation` is a dict as in mmaction2's pose pickles (``keypoint`` [P, T, joints, 2],
    ``keypoint_score`` [P, T, joints], ``img_shape`` (height, width), ``total_frames``), or of
    Kinetics-400's compressed form. `model`: the file, or what else ``--model`` takes, whose input
    is wanted; without one that of HMDB51, [20, 17, 48, 56, 56]. `reference`: another mmaction2
    than the model's. `coordinates`: ``pixels``, ``normalised`` (shares of the picture), or
    ``auto``, where their values tell. `config`: of a checkpoint, as ``--config``. The values equal
    those of the reference's test pipeline bit for bit. Raises `SampleError` for an annotation that
    cannot be used, `UsageError` for an unknown choice or a config that is none, and `ModelError`
    for a model file that is none.
    """
    if reference is not None and reference not in REFERENCES:
        raise UsageError(f"reference {reference!r}: choose from {', '.join(REFERENCES)}")
    if coordinates not in COORDINATES:
        raise UsageError(f"coordinates {coordinates!r}: choose from {', '.join(COORDINATES)}")
    recipe = HMDB51_RECIPE
    if model is not None:
        names = os.fspath(model), None if config is None else os.fspath(config)
        recipe = _recipe_of(*names, tuple(map(_changed, names)))
    elif config is not None:
        raise UsageError(f"config {config} is of a checkpoint; give model as well")
    if reference is not None:
        recipe = recipe.drawn_as(reference)
    poses = PoseSequence.from_annotation(annotation, recipe, coordinates)
    return decode(poses, recipe).tensor()


def _changed(name: str | None) -> int:
    """When a file was; 0 of what is none, such as a published name."""
    return os.stat(name).st_mtime_ns if name is not None and os.path.isfile(name) else 0


@lru_cache(maxsize=16)
def _recipe_of(model: str, config: str | None, changed: tuple[int, ...]) -> Recipe:
    """Of a model and a config that were changed then: a loop over annotations opens them once."""
    from engine.network.models import open_model  # which loads onnx

    return open_model(model, config=config).recipe
