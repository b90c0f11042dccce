"""Skeletons in few bytes."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from engine.outputs.motion import packed, thinned
from engine.skeletons.poses import PoseSequence
from tests.support.samples import walking


def poses(persons: int = 1, frames: int = 50, seed: int = 0) -> PoseSequence:
    return PoseSequence(walking(persons, frames, seed=seed), None, (480, 640), frames)


def unpacked(data: bytes) -> list[np.ndarray]:
    raw, found = np.frombuffer(zlib.decompress(data), np.uint8), []
    while len(raw):
        shape = (int(raw[1]), 17, 2, int(raw[0]))
        end = 2 + int(np.prod(shape))
        found.append(np.cumsum(raw[2:end].reshape(shape), axis=-1, dtype=np.uint8))
        raw = raw[end:]
    return found


def test_what_is_packed_comes_back() -> None:
    motions = [thinned(poses(1 + n % 3, 5 + 20 * n, n)) for n in range(4)]
    for back, motion in zip(unpacked(packed(motions, 10**6)), motions, strict=True):
        np.testing.assert_array_equal(back, motion)
    assert [m.shape for m in motions] == [
        (1, 17, 2, 5),
        (2, 17, 2, 25),
        *[(2, 17, 2, 32), (1, 17, 2, 32)],
    ]


def test_shapes_are_kept() -> None:
    """One scale for both axes, to within a step."""
    given = poses()
    frames = np.unique(np.linspace(0, 49, 32).astype(int))
    joints = given.keypoint[0, frames]
    span = np.ptp(joints, axis=(0, 1))
    found = thinned(given)[0].transpose(2, 0, 1).astype(float)
    back = (found - 1) * span.max() / 254 + joints.min(axis=(0, 1))
    np.testing.assert_allclose(back, joints, atol=span.max() / 254)


def test_nobody() -> None:
    nobody = PoseSequence(np.zeros((1, 9, 17, 2)), None, (480, 640), 9)
    [back] = unpacked(packed([thinned(nobody)], 100))
    assert back.shape == (0, 17, 2, 0)


@pytest.mark.parametrize("limit", [200, 5_000, 20_000])
def test_limits_are_kept(limit: int) -> None:
    """First there are fewer frames, then fewer samples, from the end."""
    motions = [thinned(poses(seed=n)) for n in range(20)]
    data = packed(motions, limit)
    assert len(data) <= limit
    found = unpacked(data)
    assert len(found) == 20 or all(motion.shape[-1] == 8 for motion in found)
    for back, motion in zip(found, motions, strict=False):
        np.testing.assert_array_equal(back[..., [0, -1]], motion[..., [0, -1]])
