"""MMPose: predictions of its inferencer and of its demos.

Of a video ``[{"frame_id": 0, "instances": [{"keypoints": [[x, y], …], "keypoint_scores": […]}]}]``,
perhaps in ``{"meta_info": …, "instance_info": […]}``, which names the joints; of a picture the bare
list of instances, and a folder of these is a video.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from engine.base.errors import DatasetError, SourceError
from engine.skeletons.joints import JointLayout, by_names
from engine.sources.formats.content import Content, by_video, frames_of_files, read_json
from engine.sources.formats.keypoints import identity, keypoints_of
from engine.sources.formats.recording import Detection, Frame, Recording, timeline


def read(content: Content) -> list[Recording] | None:
    if content.path.is_dir():
        return _folder(content)
    path = content.path
    try:
        found = _frames(content.json)
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from None
    if found is None:
        return None
    frames, layout = found
    return [Recording(path.stem, partial(_of_frames, path, frames), layout=layout)]


def _folder(content: Content) -> list[Recording] | None:
    files = content.ending(".json")
    if not files or not _is_picture(read_json_or_none(files[0])):
        return None
    grouped = by_video(files)
    own = content.path.resolve().name
    return [
        Recording(
            own if len(grouped) == 1 or not name else name,
            partial(frames_of_files, group, _of_picture),
        )
        for name, group in grouped.items()
    ]


def read_json_or_none(path: Path) -> Any:
    """What a file says, or None where it cannot be read."""
    try:
        return read_json(path)
    except DatasetError:
        return None


def _frames(whole: Any) -> tuple[list[tuple[int, Any]], JointLayout | None] | None:
    """(number, instances) of each frame, and how the joints are called."""
    layout = None
    if isinstance(whole, dict):
        layout = _layout(whole.get("meta_info"))
        whole = whole.get("instance_info")
    if not isinstance(whole, list) or not whole or not isinstance(whole[0], dict):
        return None
    if _is_picture(whole):
        return [(0, whole)], layout
    if not all(isinstance(frame, dict) and "instances" in frame for frame in whole):
        return None
    numbers = [frame.get("frame_id") for frame in whole]
    counted = all(type(n) is int and n >= 0 for n in numbers) and len(set(numbers)) == len(numbers)
    if counted:
        whole = sorted(whole, key=lambda frame: int(frame["frame_id"]))
    moments = timeline(sorted(numbers)) if counted else list(range(len(whole)))
    return [(n, frame["instances"]) for n, frame in zip(moments, whole, strict=True)], layout


def _is_picture(whole: Any) -> bool:
    """Whether it is the bare list of a picture's instances."""
    return (
        isinstance(whole, list)
        and bool(whole)
        and all(isinstance(one, dict) and "keypoint_scores" in one for one in whole)
        and not any("image_id" in one for one in whole)
    )


def _layout(meta: Any) -> JointLayout | None:
    names = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        return None
    return by_names([names[key] for key in sorted(names, key=int)])


def _of_frames(path: Path, frames: list[tuple[int, Any]]) -> Iterator[Frame | SourceError]:
    for number, instances in frames:
        try:
            yield Frame(number, _people(instances))
        except ValueError as error:
            yield SourceError(f"{path}, frame {number}: {error}")


def _of_picture(instances: Any, number: int) -> Frame:
    return Frame(number, _people(instances))


def _people(instances: Any) -> list[Detection]:
    if not isinstance(instances, list):
        raise ValueError("instances: a list is needed")
    found = []
    for one in instances:
        if not isinstance(one, Mapping) or "keypoints" not in one:
            raise ValueError("instances: each one is an object with keypoints")
        points = one["keypoints"]
        if isinstance(points, list) and points and isinstance(points[0], list):
            if len(points[0]) == 3:
                raise ValueError(
                    "keypoints in 3-D; give the predictions of a 2-D model, whose have x and y"
                )
            if points[0] and isinstance(points[0][0], list) and len(points) == 1:
                points = points[0]  # one person's, in an axis of its own
        kpts = keypoints_of(points, one.get("keypoint_scores"), per=2)
        if kpts is not None:
            found.append(Detection(kpts, identity(one.get("track_id"))))
    return found
