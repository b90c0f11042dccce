"""Plain arrays: ``.npy``, ``.npz`` with one array of keypoints, and in ``.json`` nested lists, or
an object that has them as an annotation does.

[frames, joints, 2 or 3] is one person, [persons, frames, joints, 2 or 3] several, whose rows may be
tracks or not; the third number is a score. Scores may stand apart, and a size (height, width) as
``img_shape``, a class as ``label`` and the number of frames that count as ``total_frames``, as in
annotations. A file is one video: what looks like more keypoints, or like
scores under another name, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import DatasetError, SourceError, printable
from engine.skeletons.joints import by_number
from engine.skeletons.poses import whole_number
from engine.sources.formats.content import Content
from engine.sources.formats.keypoints import keypoints_of
from engine.sources.formats.recording import Detection, Frame, Recording, Size

_POINTS: Final = ("keypoint", "keypoints", "kpts", "poses", "pose", "xy", "xyn", "arr_0")
_OF_A_VIDEO: Final = ("keypoint", "keypoints")  # in an object of JSON
_SCORES: Final = ("keypoint_score", "keypoint_scores", "scores", "score", "conf")
_BY_POSITION: Final = {"arr_0", "arr_1"}  # np.savez without names
_EXPECTED: Final = (
    "expected [frames, joints, 2 or 3] or [persons, frames, joints, 2 or 3] with a number of "
    "joints that is known. Of ST-GCN's [channels, frames, joints, persons] that is "
    "array.transpose(3, 1, 2, 0)"
)
_DEEPEST: Final = 5  # lists in lists
_MEDIAPIPE: Final = 33  # joints, with x, y, z and perhaps visibility
_METRES: Final = 10.0  # coordinates within it, with a third number that is no score, are 3-D


def read(content: Content) -> list[Recording] | None:
    arrays = content.arrays or _listed(content.json) or _named(content.json)
    path = content.path
    if arrays is None:
        return None
    only = next(iter(arrays), "") if len(arrays) == 1 else ""
    points = arrays.get(next((name for name in _POINTS if name in arrays), only))
    if not isinstance(points, np.ndarray):
        return None
    if points.dtype.kind not in "fiu":
        return None
    scores = next((arrays[name] for name in _SCORES if name in arrays), None)
    if scores is None and set(arrays) == _BY_POSITION:
        scores = arrays["arr_1"]
    used = (points, scores)
    if unused := [name for name, one in arrays.items() if _is_more(one, points, used)]:
        raise DatasetError(
            f"{path}: array {printable(unused[0])[:40]!r} of shape {list(arrays[unused[0]].shape)} "
            f"would not be read, beside keypoints of {list(points.shape)}. A file is one video: "
            f"keypoints as `{_POINTS[0]}`, their scores as `{_SCORES[0]}`"
        )
    try:
        points = _checked(points, scores)
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from None
    points = points[:, : _number(arrays.get("total_frames"))]
    rows, label = partial(_of_rows, path, points), _number(arrays.get("label"))
    return [Recording(path.stem, rows, _size(arrays), rows=len(points) > 1, label=label)]


def _listed(whole: Any) -> dict[str, Any] | None:
    """Nested lists of numbers as an array; None for what is no such thing, and for landmarks of
    MediaPipe, which has a reader of its own."""
    inner, depth = whole, 0
    while isinstance(inner, list) and inner and depth < _DEEPEST:
        inner, depth = inner[0], depth + 1
    if depth < 3 or isinstance(inner, bool) or not isinstance(inner, (int, float, type(None))):
        return None
    try:
        found = np.array(whole, np.float64)
    except (TypeError, ValueError):
        return None
    return None if found.shape[-2] == _MEDIAPIPE else {"arr_0": found}


def _named(whole: Any) -> dict[str, Any] | None:
    """The lists and numbers of an object as arrays, by name; None where it has no keypoints of a
    whole video."""
    if not isinstance(whole, dict):
        return None
    found = {name: _listed(whole[name]) for name in _OF_A_VIDEO if name in whole}
    arrays = {name: one["arr_0"] for name, one in found.items() if one is not None}
    if not arrays:
        return None
    for name in (*_SCORES, "img_shape", "label", "total_frames"):
        with suppress(TypeError, ValueError, OverflowError):  # said where it is needed
            if whole.get(name) is not None:
                arrays[name] = np.array(whole[name])
    return arrays


def _number(value: Any) -> int | None:
    """A whole number that is not negative; None where there is no such."""
    number = whole_number(value)
    return number if number is not None and 0 <= number < 2**63 else None


def _is_more(array: Any, points: NDArray[Any], used: tuple[Any, ...]) -> bool:
    """Whether an array that is not used has numbers for joints."""
    if not isinstance(array, np.ndarray) or any(array is one for one in used):
        return False
    keypoints = array.ndim == points.ndim and array.shape[-2:-1] == points.shape[-2:-1]
    return keypoints or (array.ndim > 1 and array.shape == points.shape[:-1])


def _checked(points: NDArray[Any], scores: Any) -> NDArray[Any]:
    """[persons, frames, joints, 2 or 3]. Raises `ValueError`."""
    shape = list(points.shape)
    if points.ndim not in (3, 4):
        raise ValueError(f"an array of shape {shape}; {_EXPECTED}")
    if points.ndim == 3:
        points = points[None]
    widths = (2, 3, 4) if shape[-2] == _MEDIAPIPE else (2, 3)
    known = shape[-1] in widths and by_number(shape[-2]) is not None
    if not known or _channels_first(points):
        raise ValueError(f"an array of shape {shape}; {_EXPECTED}")
    if points.shape[1] == 0 or points.shape[0] == 0:
        raise ValueError(f"an array of shape {shape} holds no frames")
    if points.shape[2] == _MEDIAPIPE and points.shape[-1] > 2:
        return _without_depth(points)
    if scores is not None:
        apart = np.asarray(scores)
        if apart.ndim == 2:
            apart = apart[None]
        if apart.shape != points.shape[:3] or apart.dtype.kind not in "fiu":
            raise ValueError(f"scores of shape {list(apart.shape)} with keypoints of {shape}")
        if points.shape[-1] == 2:
            return np.concatenate([points, apart[..., None]], axis=-1)
        if not np.array_equal(points[..., 2], apart, equal_nan=True):
            raise ValueError(
                f"keypoints of {shape} beside scores, which their third numbers are not: are those "
                "depths? Give x and y alone, [.., 2]"
            )
    if points.shape[-1] == 3:
        beyond = (points < 0).all(axis=-1) & (points == points[..., :1]).all(axis=-1)
        points = np.where(beyond[..., None], points.dtype.type(0), points)  # such as -1, -1, -1
    if points.shape[-1] == 3 and np.isfinite(points).any():
        third = points[..., 2]
        small = np.nanmax(np.abs(points[..., :2])) < _METRES
        if np.nanmin(third) < -0.5 or (small and np.nanmax(third) > 1.5):
            raise ValueError(
                f"{points.shape[2]} joints whose third numbers, {np.nanmin(third):.3g} to "
                f"{np.nanmax(third):.3g}, are no scores: coordinates in 3-D, as of a Kinect. This "
                "engine takes x and y in the picture; project them into it, or run a 2-D pose "
                "estimator over the video (--source video:FILE)"
            )
    return points


def _without_depth(points: NDArray[Any]) -> NDArray[Any]:
    """MediaPipe's x, y and perhaps visibility of [.., 33, 3 or 4]; z is no score. Raises
    `ValueError` where the third may be either."""
    if points.shape[-1] == 4:
        return points[..., [0, 1, 3]]
    third = points[..., 2]
    if np.isnan(third).all() or np.nanmin(third) < 0 or np.nanmax(third) > 1:
        return points[..., :2]
    raise ValueError(
        "33 joints whose third numbers, all from 0 to 1, may be depths or visibilities: give x, y, "
        "z and visibility, or x and y with the visibilities as `keypoint_score`"
    )


def _channels_first(points: NDArray[Any]) -> bool:
    """Whether it is ST-GCN's [3, frames, joints, 2 persons], which looks like three people: the
    third has scores where the others have coordinates."""
    if points.shape[0] != 3 or points.shape[-1] != 2 or not points.size:
        return False
    most = np.nan_to_num(np.abs(points)).max(axis=(1, 2, 3))
    return bool(most[2] <= 1 < most[:2].min())


def _of_rows(path: Path, points: NDArray[Any]) -> Iterator[Frame | SourceError]:
    for number in range(points.shape[1]):
        try:
            people = [keypoints_of(one) for one in points[:, number]]
        except ValueError as error:
            yield SourceError(f"{path}, frame {number}: {error}")
        else:
            found = [Detection(kpts, n) for n, kpts in enumerate(people) if kpts is not None]
            yield Frame(number, found)


def _size(arrays: Mapping[str, Any]) -> Size | None:
    shape = arrays.get("img_shape")
    if not isinstance(shape, np.ndarray) or shape.size != 2 or shape.dtype.kind not in "iuf":
        return None
    height, width = (int(side) for side in shape.reshape(-1))
    return (width, height) if 0 < width < 2**16 and 0 < height < 2**16 else None
