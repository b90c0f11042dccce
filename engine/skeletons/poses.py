"""Pose sequences: one checked sample, as the rest of the engine sees it.

Comes in: an annotation in mmaction2's form (a dict). Goes out: a `PoseSequence` whose arrays have
been checked once and for all, so that later stages index without asking.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import AUTO, Coordinates
from engine.base.constants import JOINTS
from engine.base.errors import SampleError, printable, shown
from engine.base.notes import Note
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.skeletons.compressed import MOST, decompressed
from engine.skeletons.joints import bone_lengths
from engine.skeletons.oddities import oddities
from engine.skeletons.plausibility import axes_message, joints_seen, judged

Crop = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, perhaps beyond the picture."""
Track = tuple[int, int, int, int]
"""Where a window of a stream comes from: (number of the person, number of the crop, first moment,
stride in moments)."""


_DIGITS = 20  # of a number
_SHORTER = 0.9  # of the bones; in real videos they are at most 0.79 as long as in the wrong order
_SCORES = re.compile("score|conf|visib", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class PoseSequence:
    """The skeletons of one video.

    `keypoint`: [P, T, 17, 2], x and y in pixels; float16 to float64 or integers.
    Absent persons and frames are all zeros; NaN counts as zero.
    `keypoint_score`: [P, T, 17], or None where the source has none (every joint
    is then drawn with weight one).
    `img_shape`: (height, width) in pixels. `total_frames`: at most T. `crop`: the part of the
    picture to draw, in place of the poses' own. `track`: of a window. `notes`: what its reader
    should know (`engine.skeletons.plausibility`).
    """

    keypoint: NDArray[Any]
    keypoint_score: NDArray[Any] | None
    img_shape: tuple[int, int]
    total_frames: int
    crop: Crop | None = None
    track: Track | None = None
    notes: tuple[Note, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.keypoint.nbytes + (
            0 if self.keypoint_score is None else self.keypoint_score.nbytes
        )

    @classmethod
    def from_annotation(
        cls,
        annotation: Mapping[str, Any],
        recipe: Recipe = HMDB51_RECIPE,
        coordinates: Coordinates = AUTO,
    ) -> PoseSequence:
        """Check an annotation dict of mmaction2's pickles, for a recipe's joints.

        Reads ``keypoint``, ``keypoint_score`` (optional), ``img_shape`` and
        ``total_frames`` (optional, default T); or Kinetics-400's compressed form, which has
        ``frame_inds`` and perhaps ``anno_inds``, which rows count. `coordinates`: what they are,
        ``auto`` where their values tell. Raises `SampleError` that says which field is wrong and
        what was expected.
        """
        return cls.as_written(annotation, recipe).plausible(coordinates, recipe)

    def plausible(
        self, coordinates: Coordinates = AUTO, recipe: Recipe = HMDB51_RECIPE
    ) -> PoseSequence:
        """The same in pixels, with scores up to about 1. Raises `SampleError` for numbers that
        cannot be poses."""
        found = judged(
            self.keypoint,
            self.keypoint_score,
            self.img_shape,
            self.total_frames,
            coordinates,
            least_score=recipe.threshold,
        )
        joints = joints_seen(found.keypoint, found.score, self.total_frames, recipe.threshold)
        notes = (*found.notes, *oddities(*joints, self.img_shape, recipe.joints == JOINTS))
        if not notes:
            return self
        return replace(self, keypoint=found.keypoint, keypoint_score=found.score, notes=notes)

    @classmethod
    def as_written(
        cls, annotation: Mapping[str, Any], recipe: Recipe = HMDB51_RECIPE
    ) -> PoseSequence:
        """As `from_annotation`, with the numbers as the annotation has them, whatever their
        unit."""
        if not isinstance(annotation, Mapping):
            raise SampleError(f"an annotation is a dict, this is a {type(annotation).__name__}")
        if annotation.get("frame_inds") is not None:
            annotation = _dense(annotation, recipe)
        keypoint = _unrolled(_numeric(annotation, "keypoint"), recipe.joints)
        if keypoint.ndim != 4 or keypoint.shape[-1] != 2:
            raise SampleError(
                f"keypoint has shape {keypoint.shape}; expected [persons, frames, "
                f"{recipe.joints}, 2] (x and y; scores go into keypoint_score)"
            )
        _, frames, joints, _ = keypoint.shape
        if joints != recipe.joints:
            order = " in COCO order" * (recipe.joints == JOINTS)
            raise SampleError(
                f"keypoint has {joints} joints; this model takes {recipe.joints}{order}. "
                "Convert the skeleton layout first"
            )
        score = None
        if annotation.get("keypoint_score") is not None:
            score = _numeric(annotation, "keypoint_score", "fiub")
            if score.dtype.kind == "b":  # seen or not
                score = score.astype(np.float32)
            if score.shape != keypoint.shape[:3]:
                raise SampleError(
                    f"keypoint_score has shape {score.shape}; keypoint {keypoint.shape} "
                    f"needs {keypoint.shape[:3]}"
                )
        elif named := _scores_of(annotation, keypoint.shape[:3]):
            raise SampleError(f"{named} has scores; the field is called keypoint_score")
        total = frames
        if annotation.get("total_frames") is not None:
            total = _integer(annotation["total_frames"], "total_frames")
        if frames == 0:
            raise SampleError("keypoint holds no frames")
        if not 1 <= total <= frames:
            if total == len(keypoint):  # which has as many persons
                raise SampleError(axes_message(total, frames))
            raise SampleError(
                f"total_frames is {total}, but keypoint holds {frames} frames; "
                "it must lie between 1 and that"
            )
        used = keypoint[:, :total]
        # NaN is the reference's "missing", so only the infinite is an error here.
        # A float64 that float32 cannot hold becomes infinite, too.
        with np.errstate(over="ignore"):
            if np.isinf(used.astype(np.float32, copy=False)).any():
                raise SampleError("keypoint has infinite coordinates (or beyond float32)")
            if score is not None and not _finite(score[:, :total]):
                # of a joint that is not there, NaN says no more than that
                absent = np.isnan(keypoint).any(axis=-1) | (keypoint == 0).all(axis=-1)
                score = np.where(absent & np.isnan(score), score.dtype.type(0), score)
                if not _finite(score[:, :total]):
                    raise SampleError(
                        "keypoint_score has NaN or infinite values; give missing joints score 0"
                    )
        img_shape = _img_shape(annotation)
        if keypoint.dtype.kind in "iu" and np.iinfo(keypoint.dtype).max < max(img_shape) - 1:
            raise SampleError(
                f"keypoint has dtype {keypoint.dtype}, which ends before the picture of "
                f"{img_shape[1]}x{img_shape[0]} does; give float32"
            )
        return cls(keypoint, score, img_shape, total)


def _scores_of(annotation: Mapping[str, Any], shape: tuple[int, ...]) -> str | None:
    """A field of such a shape whose name says that it has scores."""
    for name in annotation:
        if isinstance(name, str) and _SCORES.search(name):
            with suppress(Exception):  # whatever else it is
                if unmasked(annotation[name]).shape == shape:
                    return printable(name)[:40]
    return None


def _finite(score: NDArray[Any]) -> bool:
    return bool(np.isfinite(score.astype(np.float32, copy=False)).all())


def _dense(annotation: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """An annotation of the compressed form as others are."""
    rows, frames = _numeric(annotation, "keypoint"), _numeric(annotation, "frame_inds")
    if rows.ndim != 3 or rows.shape[-1] != 3 or frames.shape != rows.shape[:1]:
        raise SampleError(
            f"keypoint has shape {rows.shape} and frame_inds {frames.shape}; the compressed form "
            f"has [rows, {recipe.joints}, 3] (x, y and score) and [rows]"
        )
    if annotation.get("anno_inds") is not None:
        chosen = _array(annotation, "anno_inds")
        if chosen.dtype != bool or chosen.shape != frames.shape:
            raise SampleError(
                f"anno_inds has dtype {chosen.dtype} and shape {chosen.shape}; the rows that count "
                f"are marked by booleans {frames.shape}"
            )
        rows, frames = rows[chosen], frames[chosen]
    if not len(rows):
        raise SampleError("keypoint holds no rows: nobody is seen in any frame")
    if frames.dtype.kind not in "iu":
        raise SampleError(f"frame_inds has dtype {frames.dtype}; expected whole numbers")
    keypoint, score = decompressed(rows, frames, recipe.most or MOST)
    return {
        "keypoint": keypoint,
        "keypoint_score": score,
        "img_shape": annotation.get("img_shape"),
    }


def _unrolled(keypoint: NDArray[Any], joints: int) -> NDArray[Any]:
    """[persons, frames, joints, 2] of [persons, frames, 2 joints], x and y in a row; others as they
    are. Raises `SampleError` where every x stands before every y."""
    if keypoint.ndim != 3 or keypoint.shape[-1] != 2 * joints:
        return keypoint
    found = keypoint.reshape(*keypoint.shape[:2], joints, 2)
    whole = found[found.any(axis=-1).all(axis=-1)].astype(np.float32)
    apart = np.moveaxis(whole.reshape(-1, 2, joints), 1, -1)
    if joints == JOINTS and bone_lengths(apart).sum() < _SHORTER * bone_lengths(whole).sum():
        raise SampleError(
            f"keypoint has shape {keypoint.shape} and seems to have every x before every y; x and "
            "y of a joint belong together: keypoint.reshape(persons, frames, 2, joints) with its "
            "last two axes exchanged"
        )
    return found


def _numeric(annotation: Mapping[str, Any], field: str, kinds: str = "fiu") -> NDArray[Any]:
    if annotation.get(field) is None:
        raise SampleError(f"{field} is missing")
    array = _array(annotation, field)
    if array.dtype.kind not in kinds:
        raise SampleError(f"{field} has dtype {array.dtype}; expected numbers")
    return array


def _array(annotation: Mapping[str, Any], field: str) -> NDArray[Any]:
    try:
        return unmasked(annotation[field])
    except ValueError as error:  # ragged nested lists
        raise SampleError(f"{field} is not a regular array: {error}") from None


def unmasked(value: Any, dtype: Any = None) -> NDArray[Any]:
    """As `numpy.asarray`; what is masked of joints [.., 2 or 3] or of scores is zeros. Raises
    `ValueError` for ragged nested lists, and for text."""
    if dtype is None and isinstance(value, (list, tuple)) and _holds_text(value):
        # all of which would be made as long as the longest
        raise ValueError("it holds text; expected numbers")
    array = np.asarray(value, dtype)
    if not isinstance(value, np.ma.MaskedArray):
        return array
    hidden = np.ma.getmaskarray(value)
    if array.shape[-1:] in ((2,), (3,)):
        hidden = np.asarray(hidden.any(axis=-1, keepdims=True))
    return np.where(hidden, array.dtype.type(0), array)


def _holds_text(value: Any) -> bool:
    """Whether text is anywhere in nested lists."""
    if isinstance(value, (list, tuple)):
        return any(map(_holds_text, value))
    return isinstance(value, (str, bytes))


def single(value: Any) -> Any:
    """A number as programs hold it: that of a one-element list, array or tensor; what is none of
    these as it is."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if hasattr(value, "__array__"):
        try:
            array = np.asarray(value)
        except Exception:  # a tensor on a device, say, whose library raises what it likes
            return value
        return array.item() if array.size == 1 else value
    return value


def whole_number(value: Any) -> int | None:
    """`value` as an int: whole numbers of any type or as digits, alone or as the one element of an
    array or a list; else None."""
    value = single(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _DIGITS:
        return int(value)
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (float, np.floating)) and math.isfinite(value) and value == int(value):
        return int(value)
    return int(value) if isinstance(value, (int, np.integer)) else None


def _integer(value: Any, field: str) -> int:
    number = whole_number(value)
    if number is None:
        raise SampleError(f"{field} is {shown(value, 80)}; expected a whole number")
    return number


def _img_shape(annotation: Mapping[str, Any]) -> tuple[int, int]:
    value = annotation.get("img_shape")
    if value is None:
        raise SampleError("img_shape (height, width) is missing")
    sides = list(value) if isinstance(value, (list, tuple, np.ndarray)) else []
    if len(sides) != 2:
        raise SampleError(f"img_shape is {shown(value, 80)}; expected (height, width)")
    height, width = (_integer(side, "img_shape") for side in sides)
    if not (1 <= height < 2**31 and 1 <= width < 2**31):
        raise SampleError(
            f"img_shape is ({shown(height, 40)}, {shown(width, 40)}); both must be positive and "
            "32-bit"
        )
    return height, width
