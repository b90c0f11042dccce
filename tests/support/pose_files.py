"""Clips in the forms of other programs, written as those programs write them.

A `Clip` is frames of people, [17, 3] each, COCO's joints in pixels, none of them at the origin. A
`Writer` writes one under a folder and returns the path that a user would name.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.skeletons.joints import LAYOUTS, JointLayout

Clip = list[list[NDArray[np.float32]]]
Writer = Callable[[Path, Clip, tuple[int, int]], Path]


@dataclass(frozen=True)
class Form:
    """`sized`: the format carries the picture's size; `shares`: it is in shares of the picture, so
    that coordinates come back nearly; `people`: how many it can hold in a frame; `scored`: whether
    it holds scores; `blank`: whether it can say that nobody is in a frame."""

    write: Writer
    sized: bool = False
    shares: bool = False
    people: int = 3
    scored: bool = True


def clip(frames: int, persons: int = 1, seed: int = 0, size: tuple[int, int] = (320, 240)) -> Clip:
    """People whose joints are all in the picture, in steps that decimal text holds exactly."""
    rng = np.random.default_rng(seed)
    made = rng.integers(4, [4 * size[0], 4 * size[1]], (frames, persons, 17, 2)) / 4
    scores = rng.integers(1, 65, (frames, persons, 17, 1)) / 64
    both = np.concatenate([made, scores], axis=-1).astype(np.float32)
    return [list(frame) for frame in both]


def spread(person: NDArray[np.float32], layout: JointLayout) -> NDArray[np.float32]:
    """COCO's joints where a layout has them; others of it are not found."""
    found = np.zeros((layout.joints, 3), np.float32)
    for joint, place in enumerate(layout.coco):
        for one in place if isinstance(place, tuple) else () if place is None else (place,):
            found[one] = person[joint]
    return found


def openpose(layout: str, name: str = "{video}_{number:012d}_keypoints.json") -> Writer:
    def write(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
        out = folder / "clip"
        out.mkdir()
        for number, frame in enumerate(clip):
            people = [
                {
                    "person_id": [-1],
                    "pose_keypoints_2d": spread(one, LAYOUTS[layout]).ravel().tolist(),
                    "hand_left_keypoints_2d": [],
                }
                for one in frame
            ]
            path = out / name.format(video="clip", number=number)
            path.write_text(json.dumps({"version": 1.3, "people": people}))
        return out

    return write


def old_openpose(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    path = openpose("openpose18", "{number}.json")(folder, clip, size)
    for file in path.iterdir():
        file.write_text(file.read_text().replace("pose_keypoints_2d", "pose_keypoints"))
    return path


def dwpose(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    frames = [
        {
            "people": [
                {
                    "pose_keypoints_2d": spread(one, LAYOUTS["openpose18"]).ravel().tolist(),
                    "face_keypoints_2d": None,
                }
                for one in frame
            ],
            "animals": [],
            "canvas_width": size[0],
            "canvas_height": size[1],
        }
        for frame in clip
    ]
    return _json(folder / "clip.json", frames)


def alphapose(layout: str, idx: Callable[[int], Any] = lambda n: n + 1) -> Writer:
    def write(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
        found = [
            {
                "image_id": f"{number}.jpg",
                "category_id": 1,
                "keypoints": spread(one, LAYOUTS[layout]).ravel().tolist(),
                "score": 2.9,
                "box": [1.0, 2.0, 3.0, 4.0],
                "idx": idx(place),
            }
            for number, frame in enumerate(clip)
            for place, one in enumerate(frame)
        ]
        return _json(folder / "alphapose-results.json", found)

    return write


def alphapose_open(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    found = {
        f"{number}.jpg": {
            "version": "AlphaPose v0.3",
            "people": [
                {"pose_keypoints_2d": spread(one, LAYOUTS["openpose18"]).ravel().tolist()}
                for one in frame
            ],
        }
        for number, frame in enumerate(clip)
    }
    return _json(folder / "alphapose-results.json", found)


def alphapose_cmu(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    found = {
        f"{number}.jpg": {
            "version": "AlphaPose v0.3",
            "bodies": [
                {"joints": spread(one, LAYOUTS["openpose18"]).ravel().tolist()} for one in frame
            ],
        }
        for number, frame in enumerate(clip)
    }
    return _json(folder / "alphapose-results.json", found)


def coco_results(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    found = [
        {"image_id": n, "category_id": 1, "keypoints": one.ravel().tolist(), "score": 0.9}
        for n, frame in enumerate(clip)
        for one in frame
    ]
    return _json(folder / "person_keypoints_results.json", found)


def coco_annotations(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    whole: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    for n, frame in enumerate(clip):
        about = {"id": 100 + n, "file_name": f"clip_{n:05d}.jpg"}
        whole["images"].append({**about, "width": size[0], "height": size[1]})
        for one in frame:
            entry = {"id": len(whole["annotations"]), "image_id": 100 + n, "category_id": 1}
            whole["annotations"].append({**entry, "keypoints": one.ravel().tolist()})
    return _json(folder / "person_keypoints_val.json", whole)


def _instances(frame: list[NDArray[np.float32]]) -> list[dict[str, Any]]:
    return [
        {
            "keypoints": one[:, :2].tolist(),
            "keypoint_scores": one[:, 2].tolist(),
            "bbox": [[0.0, 0.0, 9.0, 9.0]],
            "bbox_score": 0.8,
        }
        for one in frame
    ]


def mmpose(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    frames = [{"frame_id": n, "instances": _instances(frame)} for n, frame in enumerate(clip)]
    return _json(folder / "clip.json", frames)


def mmpose_with_meta(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    """With joints in an order of their own, which the file tells."""
    from engine.skeletons.joints import COCO_NAMES

    order = [*range(16, -1, -1)]
    turned = [[one[order] for one in frame] for frame in clip]
    frames = [{"frame_id": n + 1, "instances": _instances(f)} for n, f in enumerate(turned)]
    names = {str(place): COCO_NAMES[joint] for place, joint in enumerate(order)}
    meta = {"dataset_name": "turned", "keypoint_id2name": names}
    return _json(folder / "results_clip.json", {"meta_info": meta, "instance_info": frames})


def ultralytics(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    frames = [
        [
            {
                "name": "person",
                "class": 0,
                "confidence": 0.9,
                "box": {"x1": 0.0, "y1": 0.0, "x2": 1.0, "y2": 1.0},
                "track_id": place + 1,
                "keypoints": {
                    axis: one[:, column].tolist()
                    for column, axis in enumerate(("x", "y", "visible"))
                },
            }
            for place, one in enumerate(frame)
        ]
        for frame in clip
    ]
    return _json(folder / "clip.json", frames)


def ultralytics_labels(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    out = folder / "labels"
    out.mkdir()
    for n, frame in enumerate(clip):
        lines = []
        for one in frame:
            shares = one / [*size, 1]
            words = [0, 0.5, 0.5, 0.2, 0.2, *shares.ravel().tolist(), 0.9]
            lines.append(" ".join(f"{word:g}" for word in words))
        if lines:  # as save_txt, which writes no file of an empty frame
            (out / f"clip_{n + 1}.txt").write_text("\n".join(lines))
    return out


def xyn(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    frames = [
        np.array([one[:, :2] / size for one in frame], np.float32).reshape(-1, 17, 2)
        for frame in clip
    ]
    path = folder / "clip.pkl"
    path.write_bytes(pickle.dumps(frames))
    return path


def mediapipe(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    frames = []
    for frame in clip:
        people = [
            [
                {"x": float(x), "y": float(y), "z": -0.4, "visibility": float(score)}
                for x, y, score in spread(one, LAYOUTS["mediapipe33"]) / [*size, 1]
            ]
            for one in frame
        ]
        frames.append({"pose_landmarks": people})
    return _json(folder / "clip.json", frames)


def detectron(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    """As VideoPose3D's infer_video_d2.py."""
    boxes, keypoints = [], []
    for frame in clip:
        found = np.array(
            [[one[:, 0], one[:, 1], np.zeros(17), one[:, 2]] for one in frame], np.float32
        ).reshape(-1, 4, 17)
        boxes.append([[], np.zeros((len(frame), 5), np.float32)])
        keypoints.append([[], found])
    path = folder / "clip.mp4.npz"
    metadata: Any = {"w": size[0], "h": size[1]}
    objects = [np.empty(len(clip), object) for _ in range(2)]
    objects[0][:], objects[1][:] = boxes, keypoints
    np.savez_compressed(path, boxes=objects[0], keypoints=objects[1], metadata=metadata)
    return path


def videopose3d(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    """As VideoPose3D's prepare_data_2d_custom.py."""
    points = np.array([frame[0][:, :2] for frame in clip])
    positions: Any = {"clip": {"custom": [points]}}
    about = {"w": size[0], "h": size[1]}
    metadata: Any = {"layout_name": "coco", "num_joints": 17, "video_metadata": {"clip": about}}
    path = folder / "data_2d_custom_clip.npz"
    np.savez_compressed(path, positions_2d=positions, metadata=metadata)
    return path


def array(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    path = folder / "clip.npy"
    np.save(path, np.array(clip).swapaxes(0, 1))
    return path


def messages(folder: Path, clip: Clip, size: tuple[int, int]) -> Path:
    path = folder / "clip.jsonl"
    with path.open("w") as lines:
        for n, frame in enumerate(clip):
            people = [{"kpts": one.tolist()} for one in frame]
            about = {"stream": "clip", "frame": n, "t": n / 30, "size": size, "people": people}
            lines.write(json.dumps(about) + "\n")
    return path


def _json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


FORMS: dict[str, Form] = {
    **{f"openpose, {name}": Form(openpose(name)) for name in ("body25", "openpose18")},
    **{f"openpose, {name}": Form(openpose(name)) for name in ("coco17", "halpe26")},
    "openpose, numbers": Form(openpose("body25", "{number}.json")),
    "openpose, --image_dir": Form(openpose("body25", "{number}_keypoints.json")),
    "openpose, old": Form(old_openpose),
    "pose2sim": Form(openpose("halpe26", "cam01_{number:06d}.json")),
    "dwpose": Form(dwpose, sized=True),
    "alphapose": Form(alphapose("coco17")),
    "alphapose, idx in lists": Form(alphapose("coco17", lambda n: [float(n)])),
    "alphapose, 26": Form(alphapose("halpe26")),
    "alphapose, 136": Form(alphapose("halpe136")),
    "alphapose, 133": Form(alphapose("wholebody133")),
    "alphapose, open": Form(alphapose_open),
    "alphapose, cmu": Form(alphapose_cmu),
    "coco results": Form(coco_results),
    "coco annotations": Form(coco_annotations, sized=True),
    "mmpose": Form(mmpose),
    "mmpose, with names": Form(mmpose_with_meta),
    "ultralytics": Form(ultralytics),
    "ultralytics, save_txt": Form(ultralytics_labels, shares=True),
    "ultralytics, xyn": Form(xyn, shares=True, scored=False),
    "mediapipe": Form(mediapipe, shares=True),
    "detectron2": Form(detectron, sized=True),
    "videopose3d": Form(videopose3d, sized=True, people=1, scored=False),
    "array": Form(array),
    "messages": Form(messages, sized=True),
}
