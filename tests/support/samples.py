"""Made-up samples."""

from __future__ import annotations

from typing import Any

import numpy as np

BODY = np.array(
    [
        *((0.25, 0.08), (0.28, 0.06), (0.22, 0.06), (0.31, 0.08), (0.19, 0.08)),
        *((0.36, 0.20), (0.14, 0.20), (0.42, 0.34), (0.08, 0.34), (0.44, 0.47), (0.06, 0.47)),
        *((0.32, 0.52), (0.18, 0.52), (0.33, 0.74), (0.17, 0.74), (0.34, 0.97), (0.16, 0.97)),
    ]
)
"""COCO's joints of somebody who stands, in heights of the body."""


def walking(
    persons: int = 1,
    frames: int = 12,
    size: float = 100.0,
    seed: int = 0,
    picture: tuple[int, int] = (640, 480),
) -> Any:
    """Bodies of `size` pixels who drift through a picture of (width, height): float64
    [persons, frames, 17, 2]."""
    rng = np.random.default_rng(seed)
    starts = rng.uniform(size * 0.1, np.array(picture) - size * 1.2, (persons, 2))
    steps = rng.uniform(0.2, 0.6, (persons, 1, 1, 2)) * np.arange(frames)[None, :, None, None]
    found = starts[:, None, None] + steps + size * BODY
    return found + rng.normal(0, 0.3, found.shape)


def annotation(frames: int = 20, persons: int = 1, seed: int = 0, **fields: Any) -> dict[str, Any]:
    """Joints scattered around a drifting centre."""
    rng = np.random.default_rng(seed)
    centre = np.array([160.0, 120.0]) + np.arange(frames)[None, :, None, None] * 0.5
    keypoint = centre + rng.normal(0, 30, (persons, frames, 17, 2))
    return {
        "frame_dir": f"video_{seed}",
        "label": seed % 51,
        "img_shape": (240, 320),
        "original_shape": (240, 320),
        "total_frames": frames,
        "keypoint": keypoint.astype(np.float16),
        "keypoint_score": rng.uniform(0.2, 1, (persons, frames, 17)).astype(np.float16),
        **fields,
    }
