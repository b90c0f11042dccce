"""Windows of tracks, computed bit by bit: the same as computing each anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.backends.registry import load
from engine.base.choices import SHARED, Precision
from engine.base.recipe import HMDB51_RECIPE
from engine.network.cuts import Cuts
from engine.network.models import open_model
from engine.network.recogniser import infer
from engine.network.runners.shared import SharedRunner
from engine.skeletons.clips import HeatmapClips, decode
from engine.skeletons.poses import PoseSequence
from tests.support.samples import annotation

ROOM = 1 << 28


def runner(
    path: Path, name: str = "openvino", room: int = ROOM, precision: Precision = "f32"
) -> SharedRunner:
    model = replace(open_model(str(path)), layout=SHARED)
    backend = load(name, model, device=None, precision=precision, threads=2)
    return SharedRunner(backend, 51, Cuts.of(path.read_bytes()), HMDB51_RECIPE.one_view, room=room)


def windows(track: int, firsts: Any, seed: int = 0, crop: int = 0) -> list[HeatmapClips]:
    """Windows of one track; all are drawn in the same crop."""
    long = PoseSequence.from_annotation(annotation(200, seed=seed))
    joints = long.keypoint.astype(np.float32)
    low, high = joints.min(axis=(0, 1, 2)), joints.max(axis=(0, 1, 2))
    found = []
    for first in firsts:
        part = joints[:, first : first + 48].copy()
        # the same box everywhere: two joints that nobody sees hold it open
        part[:, :, 0], part[:, :, 1] = low, high
        scores = np.ones(part.shape[:3], np.float32)
        scores[:, :, :2] = 0
        clips = decode(PoseSequence(part, scores, long.img_shape, 48), HMDB51_RECIPE.one_view)
        found.append(replace(clips, track=(track, crop, first, 8)))
    return found


@pytest.mark.parametrize("name", ["openvino", pytest.param("onnxruntime", marks=pytest.mark.slow)])
def test_the_same_as_anew(tiny_model: Path, name: str) -> None:
    """Two tracks in turn, with steps of all kinds, also back and over the end of the ring."""
    tracks = [windows(n, (0, 8, 16, 18, 60, 58, 104, 150, 152), seed=n) for n in (1, 2)]
    mixed = [clips for pair in zip(*tracks, strict=True) for clips in pair]
    shared = runner(tiny_model, name)
    plain = list(infer(shared, [replace(clips, track=None) for clips in mixed]))
    for together in (1, 4, len(mixed)):
        shared.close()
        shared = runner(tiny_model, name)
        found = []
        for start in range(0, len(mixed), together):
            found += list(infer(shared, mixed[start : start + together]))
        for one, other in zip(found, plain, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())
    shared.close()


def test_the_same_as_anew_in_int8(quantised_model: Path) -> None:
    """To the bit, with rows that are kept a byte a value."""
    mixed = [
        clips
        for pair in zip(*(windows(n, (0, 8, 16, 18, 60), seed=n) for n in (1, 2)), strict=True)
        for clips in pair
    ]
    shared = runner(quantised_model, precision="int8")
    plain = list(infer(shared, [replace(clips, track=None) for clips in mixed]))
    assert not shared._cache._tracks
    for one, other in zip(infer(shared, mixed), plain, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(shared._cache._tracks) == 2
    *kept, _ = shared._pool.arrays
    assert {array.dtype.name for level in kept for array in level.values()} == {"uint8"}
    shared.close()


def test_less_is_computed(tiny_model: Path) -> None:
    shared = runner(tiny_model)
    rows: list[int] = []
    plain = shared._levels._sweep

    def counted(network: Any, region: range, *rest: Any) -> None:
        rows.append(len(region))
        plain(network, region, *rest)

    shared._levels._sweep = counted  # type: ignore[method-assign]
    first, *others = windows(1, (0, 8, 16))
    list(infer(shared, [first]))
    anew = sum(rows)
    for clips in others:
        rows.clear()
        list(infer(shared, [clips]))
        assert rows[0] == 8  # frames
        assert sum(rows) < anew / 2
    shared.close()


def test_bounded(tiny_model: Path) -> None:
    """With room for two tracks, three take turns; with none, every window is computed anew."""
    shared = runner(tiny_model)
    of_one = sum(a.nbytes for level in shared._pool.arrays for a in level.values())
    of_one = 48 * of_one // len(shared._pool.arrays[0]["this"])
    shared.close()
    tracks = [windows(n, (0, 8, 16), seed=n) for n in (1, 2, 3)]
    mixed = [clips for group in zip(*tracks, strict=True) for clips in group]
    plain = runner(tiny_model, room=0)
    expected = list(infer(plain, mixed))
    plain.close()
    for room in (2 * of_one, of_one, of_one // 50):  # for two, one, none
        small = runner(tiny_model, room=room)
        for one, other in zip(infer(small, mixed), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())
        kept = sum(a.nbytes for level in small._pool.arrays for a in level.values())
        assert kept <= room
        assert len(small._cache._tracks) == (2 if room > of_one else room > of_one // 10)
        small.close()


def test_another_crop_is_computed_anew(tiny_model: Path) -> None:
    """What was drawn otherwise is not taken for the same."""
    shared = runner(tiny_model)
    first = windows(1, (0, 8), seed=1)
    other = windows(1, (8, 16), seed=2, crop=1)
    found = list(infer(shared, first)) + list(infer(shared, other))
    plain = list(infer(shared, [replace(clips, track=None) for clips in (*first, *other)]))
    for one, anew in zip(found, plain, strict=True):
        np.testing.assert_allclose(one, anew, rtol=0, atol=1e-5 * np.abs(anew).max())
    shared.close()


def test_windows_complete_together(tiny_model: Path) -> None:
    """So that whoever reports how long they took can share it out."""
    shared = runner(tiny_model)
    batch = [windows(n, (0,), seed=n)[0] for n in (1, 2, 3)]
    assert list(shared.feed(list(enumerate(batch)))) == []
    assert [key for key, _ in shared.collect()] == [0, 1, 2]
    assert shared.together == 3
    shared.close()
