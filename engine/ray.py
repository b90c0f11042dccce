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

from engine.base.errors import SampleError, printable
from engine.base.options import Options
from engine.network.recogniser import average
from engine.network.runners.opening import infer, prepared
from engine.runtime.setup import Setup
from engine.skeletons.clips import Clips, JointClips, sampled
from engine.skeletons.poses import PoseSequence

Columns = dict[str, NDArray[Any]]


class Scorer:
    """A model on the device that this process sees, kept for all batches.

    `options`: fields of `engine.Options` about model and device. Raises `UsageError` or
    `ModelError`.
    """

    def __init__(self, **options: Any) -> None:
        setup = Setup.of(Options(in_process=True, **options))
        self._options, self._classes = setup.options, len(setup.model.classes)
        self._runner = setup.executors[0].open_runner()

    def __call__(self, batch: Columns) -> Columns:
        """Score rows that have the columns of an annotation: ``keypoint`` [persons, frames, 17, 2],
        ``img_shape`` (height, width), perhaps ``keypoint_score`` and ``total_frames``.

        Adds ``scores``, float32 [rows, classes], ``best``, int64 [rows], and ``error``, which says
        what is wrong with a row that cannot be scored (its scores are NaN, its best is -1) and is
        empty for others. All other columns stay.
        """
        count = len(next(iter(batch.values())))
        clips: dict[int, Clips | JointClips] = {}
        errors = [""] * count
        for row in range(count):
            try:
                clips[row] = self._clips({name: column[row] for name, column in batch.items()})
            except SampleError as error:
                errors[row] = printable(error)
        scores = np.full((count, self._classes), np.nan, np.float32)
        for row, logits in zip(clips, infer(self._runner, list(clips.values())), strict=True):
            scores[row] = average(logits)
        scored = [row in clips for row in range(count)]
        best = np.where(scored, np.nan_to_num(scores).argmax(axis=1), -1)
        return {**batch, "scores": scores, "best": best, "error": np.array(errors, np.str_)}

    def _clips(self, annotation: dict[str, Any]) -> Clips | JointClips:
        # A column holds numpy's scalars and arrays where an annotation has Python's.
        for name in ("img_shape", "total_frames"):
            if isinstance(annotation.get(name), (np.ndarray, np.generic)):
                annotation[name] = annotation[name].tolist()
        poses = PoseSequence.from_annotation(annotation)
        placed = sampled(poses, self._options.reference, self._options.views)
        return prepared(self._runner, placed)
