"""Payloads: what goes from the driver to an engine: the model, the options and samples.

Used at both ends, by `engine.runtime.cluster.driver` and `engine.runtime.cluster.actor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from engine.base import assets
from engine.base.errors import SampleError
from engine.base.files import guarded, write_atomically
from engine.base.options import Options
from engine.network.models import ModelFile
from engine.runtime.setup import Setup
from engine.skeletons.samples import Sample, Unreadable

_FIELDS = (  # that are read
    *("keypoint", "keypoint_score", "img_shape", "total_frames", "label"),
    *("frame_inds", "anno_inds"),
)


def files_of(model: ModelFile) -> dict[str, bytes]:
    """A model as its files, and what stands beside them, by name. Raises `ModelError` where they
    are not what was opened."""
    if not model.files:
        return {model.path.name: model.content()}
    files = {one.path.name: one.content() for one in model.files}
    beside = [one.path.with_name(f"{one.path.name}.json") for one in model.files]
    return files | {path.name: path.read_bytes() for path in beside if path.is_file()}


def options_of(setup: Setup) -> Options:
    """The options of an engine: what was chosen here, so that all choose the same."""
    return replace(
        setup.options,
        backend=setup.backend_name,
        precision=setup.precision,
        layout=setup.model.layout,
        wire=setup.wire,
        cluster=None,
        engines=None,
    )


def keep(files: Mapping[str, bytes], digest: str) -> list[Path]:
    """The files in this node's cache, where other runs and other lives find them. Raises
    `EngineError`."""
    folder = assets.cache_dir() / "cluster" / digest
    guarded(folder, lambda: folder.mkdir(parents=True, exist_ok=True))
    paths = [folder / name for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, partial(_write, content))
    return paths


def _write(content: bytes, target: IO[bytes]) -> None:
    target.write(content)


def light(sample: Sample) -> Sample:
    """A sample with what the engine reads of it: keypoints, and no other arrays. One that cannot
    be read says so there."""
    found = sample.annotation
    if not isinstance(found, Mapping):
        return sample
    try:
        about = {key: _plain(found[key]) for key in _FIELDS if key in found}
    except SampleError as error:
        return replace(sample, annotation=Unreadable(str(error)))
    return replace(sample, annotation=about)


def _plain(value: Any) -> Any:
    """An array without the class of who read it."""
    return np.asarray(value) if isinstance(value, np.ndarray) else value
