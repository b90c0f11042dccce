"""Kinetics-400 as it is published: a table of contents, and files of skeletons beside it."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

Form = Literal["video", "group"]


def compressed(annotation: dict[str, Any]) -> dict[str, Any]:
    """A dense annotation in the compressed form, every person there in every frame."""
    keypoint, score = annotation["keypoint"], annotation["keypoint_score"]
    persons, frames, joints, _ = keypoint.shape
    rows = np.concatenate([keypoint, score[..., None]], axis=-1)
    fields = {key: value for key, value in annotation.items() if key != "keypoint_score"}
    return {
        **fields,
        "keypoint": rows.swapaxes(0, 1).reshape(-1, joints, 3),
        "frame_inds": np.repeat(np.arange(frames, dtype=np.int16), persons),
    }


def publish(folder: Path, annotations: Sequence[dict[str, Any]], form: Form = "video") -> Path:
    """Write compressed annotations as mmaction2 1.x has them (a file a ``video``) or pyskl (a file
    for a ``group`` of three). Returns the table."""
    files = folder / "kpfiles"
    files.mkdir(parents=True)
    table, groups = [], dict[str, dict[str, Any]]()
    for number, annotation in enumerate(annotations):
        entry, name = dict(annotation), annotation["frame_dir"]
        skeleton = {"keypoint": entry.pop("keypoint")}
        # of every row, and of every threshold; neither is looked at when testing
        entry["box_score"] = np.linspace(0, 1, len(skeleton["keypoint"]), dtype=np.float16)
        entry["valid"] = dict.fromkeys((0.5, 0.6, 0.7, 0.8, 0.9), 0)
        if form == "group":
            entry["raw_file"] = f"data/k400/kpfiles/{number // 3}.pkl"
            groups.setdefault(f"{number // 3}.pkl", {})[name] = skeleton
        else:
            (files / f"{name}.pkl").write_bytes(pickle.dumps(skeleton))
        table.append(entry)
    for file, content in groups.items():
        (files / file).write_bytes(pickle.dumps(content))
    path = folder / "k400.pkl"
    names = [annotation["frame_dir"] for annotation in annotations]
    path.write_bytes(pickle.dumps({"split": {"val": names}, "annotations": table}))
    return path
