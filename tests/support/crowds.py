"""Made-up videos of several people, and what extraction scripts make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.samples import annotation

F32 = NDArray[np.float32]

SIZE = 720, 1280  # height, width
_BODY = np.random.default_rng(7).uniform((0, 0), (60, 160), (17, 2))  # pixels


def walkers(persons: int, frames: int, seed: int = 0, *, cross: bool = False) -> F32:
    """Keypoints [persons, frames, 17, 2] of people who walk and sway, each in a lane of the
    picture; with `cross` the first two change sides at the same height, and pass each other."""
    rng = np.random.default_rng(seed)
    bodies = _BODY + rng.normal(0, 6, (persons, 17, 2))
    x = np.linspace(100, 1000, max(persons, 2))[:persons, None] + rng.uniform(-20, 20, (persons, 1))
    x = x + np.arange(frames) * rng.uniform(-1, 1, (persons, 1))
    if cross:
        x[0], x[1] = np.linspace(300, 700, frames), np.linspace(700, 300, frames)
    sway = rng.uniform(4, 10, (persons, 1, 17, 2)) * np.sin(
        np.arange(frames)[None, :, None, None] / 5 + rng.uniform(0, 6, (persons, 1, 17, 2))
    )
    found = bodies[:, None] + sway + rng.normal(0, 0.7, (persons, frames, 17, 2))
    found[..., 0] += x[..., None]
    found[..., 1] += 300
    return found.astype(np.float32)


def scored(keypoint: F32) -> F32:
    """[P, T, 17, 3], with a score of 0.9 where somebody is."""
    score = 0.9 * keypoint.any(axis=(2, 3), keepdims=True)
    return np.concatenate([keypoint, np.broadcast_to(score, (*keypoint.shape[:3], 1))], axis=3)


def shuffled(keypoint: F32, seed: int = 0) -> F32:
    """The rows of each frame in a random order."""
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.tile(np.arange(len(keypoint))[:, None], keypoint.shape[1]), axis=0)
    found: F32 = np.take_along_axis(keypoint, order[..., None, None], axis=0)
    return found


def detections(keypoint: F32) -> F32:
    """The n-th person of each frame in row n: who is absent leaves no gap."""
    absent = ~keypoint.any(axis=(2, 3))
    order = np.argsort(absent, axis=0, kind="stable")
    found: F32 = np.take_along_axis(keypoint, order[..., None, None], axis=0)
    return found


def video(keypoint: F32, name: str = "video", **fields: Any) -> dict[str, Any]:
    """An annotation of them."""
    persons, frames = keypoint.shape[:2]
    whole = annotation(frames, persons, img_shape=SIZE, frame_dir=name, label=3)
    score = scored(keypoint)[..., 2]
    return whole | {"keypoint": keypoint, "keypoint_score": score, **fields}
