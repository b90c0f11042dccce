"""Scoring inside a Ray Data pipeline of one's own: a class for ``Dataset.map_batches``.

Comes in: a batch of columns, one row a sample. Goes out: the same rows with scores. For runs with
a journal, leases and exactly one record a sample there is ``--cluster``::

    import ray
    from engine.ray import Scorer

    rows = ray.data.from_items(annotations)  # dicts as in mmaction2's pickles
    scored = rows.map_batches(Scorer, fn_constructor_kwargs={"model": "demo"}, batch_size=16)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import Coordinates
from engine.base.errors import UsageError
from engine.base.options import Options
from engine.base.records import Cause
from engine.network.recogniser import scored
from engine.runtime.setup import Setup
from engine.skeletons.clips import Clips, JointClips
from engine.skeletons.samples import Sample

Columns = dict[str, NDArray[Any]]


class Scorer:
    """A model on the device that this process sees, kept for all batches.

    `options`: fields of `engine.Options` about model and device. Raises `UsageError` or
    `ModelError`.
    """

    def __init__(self, **options: Any) -> None:
        chosen = Options(in_process=True, **options)
        if chosen.whom == "person":
            raise UsageError("per: a row is scored as a whole; give each person a row")
        setup = Setup.of(chosen)
        self._recogniser = setup.recogniser()
        self._coordinates = setup.options.coordinates

    def __call__(self, batch: Columns) -> Columns:
        """Score rows that have the columns of an annotation: ``keypoint`` [persons, frames, 17, 2],
        ``img_shape`` (height, width), perhaps ``keypoint_score`` and ``total_frames``.

        Adds ``scores``, float32 [rows, classes], ``best``, int64 [rows], and ``error``, which says
        what is wrong with a row that cannot be scored (its scores are NaN, its best is -1) and is
        empty for others. ``notes`` has what was decided about a row's poses or seen in them
        (``empty``, ``normalised``, ``percent``), separated by commas. All other columns stay.
        """
        count = len(next(iter(batch.values())))
        clips: dict[int, Clips | JointClips] = {}
        causes: dict[int, Cause] = {}
        notes = [""] * count
        for row in range(count):
            found = self._recogniser.clips(_sample(row, batch, self._coordinates))
            if isinstance(found, Cause):
                causes[row] = found
            else:
                clips[row], noted = found
                notes[row] = ",".join(noted)
        scores = np.full((count, self._recogniser.num_classes), np.nan, np.float32)
        logits = self._recogniser.logits(list(clips.values()))
        for row, of_row in zip(clips, logits, strict=True):
            result = scored(of_row)
            if isinstance(result, Cause):
                causes[row] = result
            else:
                scores[row] = result
        right = np.array([row not in causes for row in range(count)], bool)
        best = np.where(right, np.nan_to_num(scores).argmax(axis=1), -1)
        errors = [str(causes[row]) if row in causes else "" for row in range(count)]
        said = {"error": np.array(errors, np.str_), "notes": np.array(notes, np.str_)}
        return {**batch, "scores": scores, "best": best, **said}


def _sample(row: int, batch: Columns, coordinates: Coordinates) -> Sample:
    """A row as a sample. A label, if there is one, need not be the model's."""
    annotation = {name: column[row] for name, column in batch.items() if name != "label"}
    # A column holds numpy's scalars and arrays where an annotation has Python's.
    for name in ("img_shape", "total_frames"):
        if isinstance(annotation.get(name), (np.ndarray, np.generic)):
            annotation[name] = annotation[name].tolist()
    return Sample(row, str(row), annotation, coordinates)
