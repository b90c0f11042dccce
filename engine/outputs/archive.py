"""Archives of scores: what ``--scores`` and ``--logits`` write, and how scores are read back.

An archive is an ``.npz`` of ``id`` [N] str, ``label`` [N] int64 (-1: not known), ``classes``
[classes] str, and ``scores`` [N, classes] or ``logits`` [N, views, classes], float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import DatasetError
from engine.base.files import write_atomically
from engine.base.npz import opened_npz

UNKNOWN = -1
"""The label of a sample whose class is not known."""

_OFF_ONE = 1e-3  # by which the scores of a sample may sum to something else


@dataclass(frozen=True, eq=False)
class ScoreArchive:
    """The scores of samples.

    `ids`: str [N], each once. `scores`: float32 [N, classes], which sum to one in each row.
    `labels`: int64 [N], -1 where the class is not known. `classes`: their names, None where an
    archive does not say. Raises `DatasetError` where that does not hold.
    """

    ids: NDArray[np.str_]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        ids, scores, labels = self.ids, self.scores, self.labels
        if ids.dtype.kind != "U" or ids.ndim != 1:
            raise DatasetError(f"`id` is {ids.dtype} {list(ids.shape)}; text [N] is needed")
        if scores.dtype.kind != "f" or scores.ndim != 2 or not scores.shape[1]:
            raise DatasetError(
                f"`scores` is {scores.dtype} {list(scores.shape)}; float32 [N, classes] is needed"
            )
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            raise DatasetError(
                f"`label` is {labels.dtype} {list(labels.shape)}; int64 [N] is needed"
            )
        count, classes = scores.shape
        if not len(ids) == len(labels) == count:
            raise DatasetError(f"{len(ids)} ids, {len(labels)} labels and {count} rows of scores")
        if self.classes is not None and len(self.classes) != classes:
            raise DatasetError(f"{len(self.classes)} names for {classes} classes")
        order = np.sort(ids)
        if len(twice := order[1:][order[1:] == order[:-1]]):
            raise DatasetError(f"{str(twice[0])!r:.80} is there twice; an id is of one sample")
        sums = scores.sum(axis=1, dtype=np.float64)
        wrong = ~((np.abs(sums - 1) < _OFF_ONE) & (scores >= 0).all(axis=1))  # NaN is wrong, too
        if wrong.any():
            first = int(wrong.argmax())
            raise DatasetError(
                f"the scores of {str(ids[first])!r:.80} are no probabilities: they sum to "
                f"{sums[first]:.4g}, the smallest is {scores[first].min():.4g}"
            )
        if len(odd := labels[(labels < UNKNOWN) | (labels >= classes)]):
            raise DatasetError(f"label {odd[0]} of classes 0 to {classes - 1}")

    @classmethod
    def read(cls, path: Path) -> ScoreArchive:
        """An archive of ``--scores``; ``label`` and ``classes`` may be absent. Raises
        `DatasetError` that names the file where it is none."""
        try:
            with opened_npz(path) as arrays:
                return cls._of(arrays)
        except OSError as error:
            raise DatasetError(f"{path}: {error.strerror or error}") from None
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from None

    @classmethod
    def _of(cls, arrays: dict[str, NDArray[Any]]) -> ScoreArchive:
        for name in ("id", "scores"):
            if name not in arrays:
                raise DatasetError(
                    f"no array `{name}`, but {', '.join(arrays)}"[:200]
                    + "; an archive of --scores "
                    "is needed"
                )
        classes, labels = arrays.get("classes"), arrays.get("label")
        return cls(
            arrays["id"],
            arrays["scores"],
            np.full(len(arrays["id"]), UNKNOWN) if labels is None else labels,
            None if classes is None else tuple(map(str, classes)),
        )

    def write(self, path: Path) -> None:
        """Write the archive. Raises `OutputError`."""
        write_archive(path, "scores", self.ids, self.scores, self.labels, self.classes)


def write_archive(
    path: Path,
    field: Literal["scores", "logits"],
    ids: Sequence[str] | NDArray[np.str_],
    values: NDArray[np.float32],
    labels: Sequence[int] | NDArray[np.int64],
    classes: Sequence[str] | None,
) -> None:
    """Write an archive of `values`, a row a sample. Raises `OutputError`."""
    arrays: dict[str, NDArray[Any]] = {
        "id": np.array(ids, np.str_),
        field: values,
        "label": np.array(labels, np.int64),
    }
    if classes is not None:
        arrays["classes"] = np.array(classes, np.str_)
    write_atomically(path, partial(_save, arrays))


def _save(arrays: dict[str, NDArray[Any]], target: IO[bytes]) -> None:
    np.savez(target, **arrays)  # type: ignore[arg-type]  # a stub takes a name for a flag
