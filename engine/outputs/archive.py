"""Archives of scores: what ``--scores`` and ``--logits`` write, and how scores are read back.

An archive is an ``.npz`` of ``id`` [N] str, ``label`` [N] int64 (-1: not known), ``classes``
[classes] str, and ``scores`` [N, classes] or ``logits`` [N, views, classes], float32. Beside
logits are ``clips`` int64 [N], how many were run (the rows of others are NaN), and ``model``, the
SHA-256 of its file.

numpy gives every text of an array the room of the longest, and none the zeros at its end. So texts
of which one is longer than 256 characters, or ends with a zero, are ``id_utf8``, the bytes of all
one after the other, and ``id_offsets`` int64 [N + 1], where each begins and the last one ends;
``classes`` likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import DatasetError
from engine.base.files import write_atomically
from engine.base.npz import npz_file
from engine.outputs.accuracy import are_scores

UNKNOWN = -1
"""The label of a sample whose class is not known."""

_ORDINARY = 256  # characters of a text that numpy's arrays may hold


@dataclass(frozen=True, eq=False)
class ScoreArchive:
    """The scores of samples.

    `ids`: str or objects that are str [N], each once. `scores`: float32 [N, classes], which sum to
    one in each row.
    `labels`: int64 [N], -1 where the class is not known. `classes`: their names, None where an
    archive does not say. Raises `DatasetError` where that does not hold.
    """

    ids: NDArray[Any]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        ids, scores, labels = self.ids, self.scores, self.labels
        text = ids.dtype.kind == "U" or (ids.dtype == object and {*map(type, ids)} <= {str})
        if not text or ids.ndim != 1:
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
        if not (right := are_scores(scores)).all():
            first = int(right.argmin())
            raise DatasetError(
                f"the scores of {str(ids[first])!r:.80} are no probabilities: they sum to "
                f"{scores[first].sum():.4g}, the smallest is {scores[first].min():.4g}"
            )
        if len(odd := labels[(labels < UNKNOWN) | (labels >= classes)]):
            raise DatasetError(f"label {odd[0]} of classes 0 to {classes - 1}")

    @classmethod
    def read(cls, path: Path) -> ScoreArchive:
        """An archive of ``--scores``; ``label`` and ``classes`` may be absent. Raises
        `DatasetError` that names the file where it is none."""
        with npz_file(path) as arrays:
            return cls._of(arrays)

    @classmethod
    def _of(cls, arrays: dict[str, NDArray[Any]]) -> ScoreArchive:
        ids, scores, labels = _texts_of(arrays, "id"), arrays.get("scores"), arrays.get("label")
        for name, found in (("id", ids), ("scores", scores)):
            if found is None:
                raise DatasetError(
                    f"no array `{name}`, but {', '.join(arrays)}"[:200]
                    + "; an archive of --scores is needed"
                )
        assert ids is not None
        assert scores is not None
        classes = _texts_of(arrays, "classes")
        return cls(
            ids,
            scores,
            np.full(len(ids), UNKNOWN) if labels is None else labels,
            None if classes is None else tuple(map(str, classes)),
        )

    def write(self, path: Path) -> None:
        """Write the archive. Raises `OutputError`."""
        write_archive(path, {"scores": self.scores}, self.ids, self.labels, self.classes)


def write_archive(
    path: Path,
    values: Mapping[str, NDArray[Any]],
    ids: Sequence[str] | NDArray[Any],
    labels: Sequence[int] | NDArray[np.int64],
    classes: Sequence[str] | None,
) -> None:
    """Write an archive of `values`, arrays by name with a row a sample. Raises `OutputError`."""
    arrays: dict[str, NDArray[Any]] = {
        **_arrays_of("id", ids),
        **values,
        "label": np.array(labels, np.int64),
    }
    if classes is not None:
        arrays |= _arrays_of("classes", classes)
    write_atomically(path, partial(_save, arrays))


def _arrays_of(name: str, texts: Sequence[str] | NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Texts as the arrays that hold them, by name."""
    if all(len(text) <= _ORDINARY and not text.endswith("\0") for text in texts):
        return {name: np.array(texts, np.str_)}
    parts = [str(text).encode("utf-8", "surrogatepass") for text in texts]
    return {
        f"{name}_utf8": np.frombuffer(b"".join(parts), np.uint8),
        f"{name}_offsets": np.cumsum([0, *map(len, parts)], dtype=np.int64),
    }


def _texts_of(arrays: dict[str, NDArray[Any]], name: str) -> NDArray[Any] | None:
    """The texts of that name, None where there are none. Raises nearly anything for what is none of
    `_arrays_of`."""
    if f"{name}_utf8" not in arrays:
        return arrays.get(name)
    data, offsets = arrays[f"{name}_utf8"].tobytes(), arrays[f"{name}_offsets"]
    if offsets[0] != 0 or offsets[-1] != len(data) or (np.diff(offsets) < 0).any():
        raise DatasetError(f"`{name}_offsets` lead out of `{name}_utf8`")
    parts = (data[start:end] for start, end in pairwise(offsets.tolist()))
    return np.array([part.decode("utf-8", "surrogatepass") for part in parts], object)


def _save(arrays: dict[str, NDArray[Any]], target: IO[bytes]) -> None:
    np.savez(target, **arrays)  # type: ignore[arg-type]  # a stub takes a name for a flag
