"""Samples: what a source hands to the engine, one entry of a data set or one window of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engine.base.choices import AUTO, Coordinates, Who
from engine.base.errors import EngineError, SampleError, shown
from engine.base.notes import Note
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.base.records import Cause
from engine.skeletons.poses import PoseSequence, whole_number

ANY_CLASSES = 2**31  # where no model says how many there are
MAX_POSES = 1 << 30  # bytes of one sample's poses; more than a message holds
MAX_ID = 4096  # bytes of a video's name: as long as a path may be
_JOINT = 4  # bytes that x and y have at least


@dataclass(frozen=True, eq=False)
class Sample:
    """One entry of a dataset, unchecked. `id` is unique within the dataset. `coordinates`: what
    those of its poses are. `who`: whom of a video it is about; None for all together. `notes`: what
    has been decided about its poses before."""

    index: int
    id: str
    annotation: Any
    coordinates: Coordinates = AUTO
    who: Who = field(default=None, kw_only=True)
    notes: tuple[Note, ...] = field(default=(), kw_only=True)

    @property
    def label(self) -> int | None:
        """The class, or None where the annotation has none; digits will do."""
        value = self.annotation.get("label") if isinstance(self.annotation, Mapping) else None
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
            value = int(value)
        number = whole_number(value)
        return number if number is not None and abs(number) < 2**63 else None

    @property
    def tracks(self) -> bool | None:
        """Whether each row of the annotation is one person, as its key `tracks` says; None where
        it does not say. Raises `SampleError` where the annotation cannot be read."""
        value = self.annotation.get("tracks") if isinstance(self.annotation, Mapping) else None
        return bool(value) if isinstance(value, (bool, np.bool_)) else None

    def read(self, num_classes: int, recipe: Recipe = HMDB51_RECIPE) -> PoseSequence | Cause:
        """The poses of the annotation, checked for a model, or what is wrong with it. Raises
        `EngineError` where the data set is out of reach."""
        try:
            return self.poses(num_classes, recipe)
        except SampleError as error:
            return Cause.of(error, "read")
        except EngineError:
            raise
        except Exception as error:
            return Cause.of(error, "read")

    def poses(self, num_classes: int, recipe: Recipe = HMDB51_RECIPE) -> PoseSequence:
        """The poses of the annotation, checked. Raises `SampleError`."""
        poses = self.written(num_classes, recipe)
        frames = poses.keypoint.shape[1]
        if max(poses.nbytes, frames * recipe.joints * _JOINT) > MAX_POSES:  # nobody's too
            raise SampleError(
                f"{frames} frames with {poses.nbytes / 1e9:.1f} GB of poses; at most "
                f"{MAX_POSES / 1e9:.1f} GB, with one person at least"
            )
        found = poses.plausible(self.coordinates, recipe)
        notes = tuple(dict.fromkeys((*self.notes, *found.notes)))
        return replace(found, notes=notes) if self.notes else found

    def written(self, num_classes: int, recipe: Recipe = HMDB51_RECIPE) -> PoseSequence:
        """The same with its numbers as they are, whatever their unit. Raises `SampleError`."""
        if isinstance(self.annotation, Unreadable):
            raise SampleError(self.annotation.message, stage="read")
        if not isinstance(self.annotation, Mapping):
            kind = type(self.annotation).__name__
            raise SampleError(f"the annotation is a {kind}, not a dict", stage="read")
        for name in (self.annotation.get(key) for key in ("frame_dir", "filename")):
            if isinstance(name, str) and (size := len(in_utf8(name))) > MAX_ID:
                raise SampleError(
                    f"its name, {name[:40]!r}…, has {size} bytes; at most {MAX_ID}", stage="read"
                )
        label, number = self.annotation.get("label"), self.label
        if label is not None and (number is None or not 0 <= number < num_classes):
            raise SampleError(
                f"label is {shown(label if number is None else number)}; this model has classes 0 "
                f"to {num_classes - 1}, given as whole numbers"
            )
        return PoseSequence.as_written(self.annotation, recipe)


def in_utf8(name: str) -> bytes:
    """A name as it can be written anywhere."""
    return name.encode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Unreadable:
    """Stands for an annotation that could not be read; becomes an error record."""

    message: str
