"""Workloads: data sets for benchmarks, by name or by file.

``hmdb51_like`` has as many frames in its videos as HMDB51 has: log-normal, median 80, 18 to 650.
``hmdb51_motion`` has such lengths, too, and is motion: of the demo's test split, from behind the
samples that ``demo`` has, those that come nearest.
``crowd`` is hmdb51_like with ten persons in every video.
``demo`` is the demo's test split.
``ntu_like`` is what of the demo's train split has the lengths of NTU RGB+D: 60 to 150 frames of one
or two persons.
"""

from __future__ import annotations

import pickle
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.assets import DEMO
from engine.base.errors import UsageError
from engine.sources.dataset import open_dataset
from engine.sources.demo.generation import TEST_SAMPLES, sample

HMDB51_LIKE, CROWD, NTU_LIKE = "hmdb51_like", "crowd", "ntu_like"
HMDB51_MOTION = "hmdb51_motion"
_PERSONS = {HMDB51_LIKE: 1, CROWD: 10}
SEED = 51
_SAMPLES = 200
_NTU_FRAMES = 60, 150
_MOTION = 2 * TEST_SAMPLES  # the first of the demo's numbers; those before it serve others
_MEDIAN, _SPREAD, _SHORTEST, _LONGEST = 80, 0.5, 18, 650  # frames; of the logarithm


def write(workload: str, samples: int | None, folder: Path) -> tuple[str, Path]:
    """Write `samples` annotations of a workload, evenly spaced (None: all), as a pickle into
    `folder`. Returns the workload's short name and the file."""
    if workload in _PERSONS:
        annotations = [
            drifting(frames, number, _PERSONS[workload])
            for number, frames in enumerate(lengths(samples or 0))
        ]
    elif workload == NTU_LIKE:
        annotations = _ntu_like()
    elif workload == HMDB51_MOTION:
        annotations = _hmdb51_motion()
    elif workload == DEMO:
        annotations = [sample("test1", number) for number in range(TEST_SAMPLES)]
    else:
        annotations = [_plain(one.annotation) for one in open_dataset(workload).samples]
    if not annotations:
        raise UsageError(f"{workload} has no samples")
    number = min(samples or len(annotations), len(annotations))
    chosen = np.linspace(0, len(annotations) - 1, number).round().astype(int)
    name = Path(workload).stem
    path = folder / f"{name}.pkl"
    path.write_bytes(pickle.dumps([annotations[i] for i in chosen]))
    return name, path


def demo_train(most: int) -> list[dict[str, Any]]:
    """So many annotations of the demo's train split."""
    return [sample("train", number) for number in range(most)]


def _hmdb51_motion() -> list[dict[str, Any]]:
    """One for each of `lengths`, no sample twice."""
    numbers = range(_MOTION, _MOTION + 6 * _SAMPLES)
    left = {number: sample("test1", number)["total_frames"] for number in numbers}
    chosen = []
    for frames in lengths():
        nearest = min(left, key=lambda number: abs(left[number] - frames))
        del left[nearest]
        chosen.append(sample("test1", nearest))
    return chosen


def _ntu_like() -> list[dict[str, Any]]:
    """The first of the split that are neither too short nor too long."""
    candidates = (sample("train", number) for number in count())
    shortest, longest = _NTU_FRAMES
    fitting = (one for one in candidates if shortest <= one["total_frames"] <= longest)
    return list(islice(fitting, _SAMPLES))


def lengths(most: int = 0) -> list[int]:
    """Frames of the videos of ``hmdb51_like``: 200 of them, or `most` if that is more."""
    rng = np.random.RandomState(SEED)
    drawn = np.exp(rng.normal(np.log(_MEDIAN), _SPREAD, max(_SAMPLES, most)))
    return [int(n) for n in drawn.clip(_SHORTEST, _LONGEST)]


def drifting(frames: int, number: int, persons: int = 1) -> dict[str, Any]:
    """Joints that wander about; what they do does not matter for the time it takes."""
    rng = np.random.RandomState([SEED, number])
    steps = rng.normal(0, 1.5, (persons, frames, 17, 2)).cumsum(axis=1)
    keypoint = np.array([160.0, 120.0]) + rng.normal(0, 30, (persons, 1, 17, 2)) + steps
    return {
        "frame_dir": f"{HMDB51_LIKE}_{number:03d}",
        "img_shape": (240, 320),
        "total_frames": frames,
        "keypoint": keypoint.clip(1, 239).astype(np.float16),
        "keypoint_score": rng.uniform(0.3, 1, (persons, frames, 17)).astype(np.float16),
    }


def _plain(annotation: dict[str, Any]) -> dict[str, Any]:
    """The annotation without the reader's own array class."""
    return {
        key: np.asarray(value) if isinstance(value, np.ndarray) else value
        for key, value in annotation.items()
    }
