"""Detectron and VideoPose3D: ``.npz`` of 2-D keypoints as the data of VideoPose3D are prepared.

* Of one video, by ``infer_video.py`` and ``infer_video_d2.py``: ``boxes`` and ``keypoints``, of a
  frame lists by class, of which the second is the people's, [people, 4, 17] (x, y, logit,
  probability); ``metadata`` with ``w`` and ``h``.
* Of many, by ``prepare_data_2d_custom.py``: ``positions_2d``, by subject and action lists of arrays
  [frames, 17, 2], one a camera; ``metadata`` with ``layout_name`` and ``video_metadata``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import DatasetError, SourceError, printable
from engine.skeletons.joints import LAYOUTS, JointLayout
from engine.sources.formats.content import Content
from engine.sources.formats.keypoints import keypoints_of
from engine.sources.formats.recording import Detection, Frame, Recording, Size

_LAYOUTS: Final = {"coco": LAYOUTS["coco17"], "h36m": LAYOUTS["h36m17"]}


def read(content: Content) -> list[Recording] | None:
    arrays = content.arrays
    if arrays is None:
        return None
    path, metadata = content.path, arrays.get("metadata")
    about = metadata if isinstance(metadata, Mapping) else {}
    if "positions_2d" in arrays:
        return _prepared(path, arrays["positions_2d"], about)
    frames = arrays.get("keypoints")
    if "boxes" not in arrays or not isinstance(frames, np.ndarray) or frames.dtype != object:
        return None
    return [Recording(_stem(path), partial(_of_video, path, list(frames)), size_of(about))]


def _stem(path: Path) -> str:
    """Of ``VIDEO.mp4.npz`` the video's."""
    return Path(path.stem).stem if Path(path.stem).suffix.isascii() else path.stem


def size_of(about: Any) -> Size | None:
    """What metadata say."""
    sides = [about.get(side) for side in ("w", "h")] if isinstance(about, Mapping) else []
    known = [int(side) for side in sides if isinstance(side, (int, float)) and 0 < side < 2**16]
    return (known[0], known[1]) if len(known) == 2 else None


def _of_video(path: Path, frames: list[Any]) -> Iterator[Frame | SourceError]:
    for number, frame in enumerate(frames):
        try:
            yield Frame(number, _people(frame))
        except (ValueError, TypeError, IndexError) as error:
            yield SourceError(f"{path}, frame {number}: {error}")


def _people(frame: Any) -> list[Detection]:
    people = np.asarray(frame[1])
    if people.size == 0:
        return []
    if people.dtype.kind != "f" or people.ndim != 3 or people.shape[1] not in (2, 3, 4):
        raise ValueError(f"people of shape {list(people.shape)}; expected [people, 4, joints]")
    found = []
    for person in people:
        # Detectron2's may be 5: it divides by the sum over a coarser map
        score = np.minimum(person[-1], 1) if len(person) > 2 else None
        kpts = keypoints_of(person[:2].T, score)
        if kpts is not None:
            found.append(Detection(kpts))
    return found


def _prepared(path: Path, subjects: Any, about: Mapping[str, Any]) -> list[Recording]:
    """Videos of ``positions_2d``. Raises `DatasetError`."""
    layout = _LAYOUTS.get(str(about.get("layout_name")).lower())
    of_videos = about.get("video_metadata")
    sizes = of_videos if isinstance(of_videos, Mapping) else {}
    found = []
    if not isinstance(subjects, Mapping):
        raise DatasetError(f"{path}: positions_2d is no dict of subjects")
    for subject, actions in subjects.items():
        if not isinstance(actions, Mapping):
            raise DatasetError(f"{path}: {printable(subject)[:60]} is no dict of actions")
        for action, cameras in actions.items():
            for camera, points in enumerate(cameras if isinstance(cameras, list) else [cameras]):
                if not isinstance(points, np.ndarray) or points.ndim != 3:
                    raise DatasetError(
                        f"{path}: {printable(subject)[:60]}/{printable(action)[:60]} is no array "
                        "[frames, joints, 2]"
                    )
                parts = [str(subject)] + [str(action)] * (action != "custom")
                name = "/".join([*parts, *([str(camera)] if len(cameras) > 1 else [])])
                found.append(_video(path, name, points, size_of(sizes.get(subject)), layout))
    return found


def _video(
    path: Path, name: str, points: NDArray[Any], size: Size | None, layout: JointLayout | None
) -> Recording:
    return Recording(name, partial(_of_points, path, points), size, layout=layout)


def _of_points(path: Path, points: NDArray[Any]) -> Iterator[Frame | SourceError]:
    for number, one in enumerate(points):
        try:
            kpts = keypoints_of(one)
        except ValueError as error:
            yield SourceError(f"{path}, frame {number}: {error}")
        else:
            yield Frame(number, [] if kpts is None else [Detection(kpts, 0)])
