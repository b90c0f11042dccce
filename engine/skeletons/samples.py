"""Samples: what a source hands to the engine, one entry of a data set or one window of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.base.choices import AUTO, Coordinates
from engine.base.errors import EngineError, SampleError
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.base.records import Cause
from engine.skeletons.poses import PoseSequence, whole_number

ANY_CLASSES = 2**31  # where no model says how many there are
MAX_POSES = 1 << 30  # bytes of one sample's poses; more than a message holds


@dataclass(frozen=True, eq=False)
class Sample:
    """One entry of a dataset, unchecked. `id` is unique within the dataset. `coordinates`: what
    those of its poses are."""

    index: int
    id: str
    annotation: Any
    coordinates: Coordinates = AUTO

    @property
    def label(self) -> int | None:
        """The class, or None where the annotation has none."""
        value = self.annotation.get("label") if isinstance(self.annotation, Mapping) else None
        number = whole_number(value)
        return number if number is not None and abs(number) < 2**63 else None

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
        if poses.nbytes > MAX_POSES:
            raise SampleError(
                f"{poses.nbytes / 1e9:.1f} GB of poses; at most {MAX_POSES / 1e9:.1f} GB"
            )
        return poses.plausible(self.coordinates, recipe)

    def written(self, num_classes: int, recipe: Recipe = HMDB51_RECIPE) -> PoseSequence:
        """The same with its numbers as they are, whatever their unit. Raises `SampleError`."""
        if isinstance(self.annotation, Unreadable):
            raise SampleError(self.annotation.message, stage="read")
        if not isinstance(self.annotation, Mapping):
            kind = type(self.annotation).__name__
            raise SampleError(f"the annotation is a {kind}, not a dict", stage="read")
        label, number = self.annotation.get("label"), self.label
        if label is not None and (number is None or not 0 <= number < num_classes):
            shown = label if number is None else number
            raise SampleError(
                f"label is {shown!s:.60}; this model has classes 0 to {num_classes - 1}, "
                "given as whole numbers"
            )
        return PoseSequence.as_written(self.annotation, recipe)


@dataclass(frozen=True)
class Unreadable:
    """Stands for an annotation that could not be read; becomes an error record."""

    message: str
