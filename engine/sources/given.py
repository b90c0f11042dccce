"""Annotations that a program has at hand, as a data set.

Comes in: dicts as annotation files have them, in a list or from an iterator, which may be endless.
Goes out: a `Dataset`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, tee
from typing import Any, Final

from engine.base.choices import Coordinates
from engine.base.errors import DatasetError, printable
from engine.skeletons.joints import JointLayout
from engine.skeletons.poses import unmasked
from engine.skeletons.samples import Sample, Unreadable
from engine.sources.annotations import identifier_key
from engine.sources.dataset import ALL, Dataset, Selection, identifier
from engine.sources.sequences import IteratedSamples, unique_ids

NAME: Final = "annotations"
"""Of such a data set; no published one is called so."""


def find_given(
    annotations: Iterable[Any], coordinates: Coordinates, layout: JointLayout | None = None
) -> Selection:
    """`layout`: of the joints, where they are others than the model's. Nothing is taken from an
    iterator before it is needed. Raises `DatasetError` for one annotation alone, or a text."""
    if isinstance(annotations, (str, bytes, Mapping)) or not isinstance(annotations, Iterable):
        raise DatasetError(
            "a data set is a name, a path, or a list or an iterator of annotations (dicts with "
            f"keypoint and img_shape), not a {type(annotations).__name__}"
            f"{'; for one give a list of it' * isinstance(annotations, Mapping)}"
        )

    def select(split: str | None, limit: int | None, usual: str | None) -> Dataset:
        if split not in (None, ALL):
            raise DatasetError("annotations that are given have no splits; leave split= out")
        samples = IteratedSamples(_samples(islice(annotations, limit), coordinates, layout))
        return Dataset(NAME, "annotations given", ALL, samples)

    return select


def _samples(
    annotations: Iterable[Any], coordinates: Coordinates, layout: JointLayout | None
) -> Iterator[Sample]:
    named, given = tee(annotations)
    ids = unique_ids(identifier(one, identifier_key([one])) for one in named)
    for index, (name, annotation) in enumerate(zip(ids, given, strict=True)):
        if layout is not None:
            annotation = _in_coco(annotation, layout)
        yield Sample(index, name, annotation, coordinates)


def _in_coco(annotation: Any, layout: JointLayout) -> Any:
    """An annotation with COCO's joints, or what is wrong with its own."""
    if not isinstance(annotation, Mapping) or "keypoint" not in annotation:
        return annotation  # said of it when it is read
    score = annotation.get("keypoint_score")
    try:
        arrays = unmasked(annotation["keypoint"]), None if score is None else unmasked(score)
        keypoint, score = layout.of_arrays(*arrays)
    except Exception as error:  # of whatever stands for an array
        return Unreadable(printable(error))
    return {**annotation, "keypoint": keypoint, "keypoint_score": score}
