"""Made-up samples."""

from __future__ import annotations

from typing import Any

import numpy as np


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
