"""The demo as a live source, ``demo`` or ``demo:STREAMS``: people who do one action after another.

Goes out: pose frames at 30 a second, for ever, of samples of the demo's test split, which the demo
weights have not seen. Ids tell what is done.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from functools import partial
from string import ascii_lowercase

import numpy as np

from engine.base.assets import DEMO
from engine.base.errors import UsageError
from engine.sources.demo import generation
from engine.sources.pose_frames import Person, PoseFrame
from engine.sources.source import Source, Stop

_STREAMS = 3
_RATE = 30.0
_SIZE = (640, 480)
_LONG = 100  # frames, at least: somebody's first label comes after 48
_PAUSE = 15  # frames with nobody
_NAP_S = 0.05


def demo(rest: str) -> Source:
    """``demo:STREAMS``. Raises `UsageError`."""
    if rest and not (rest.isdecimal() and 1 <= int(rest) <= 64):
        raise UsageError(f"--source {DEMO}:{rest}: a number of streams is needed, 64 at most")
    return Source(
        f"{DEMO}:{rest}" if rest else DEMO, partial(_in_time, int(rest or _STREAMS)), True
    )


def _in_time(streams: int, stop: Stop) -> Iterator[PoseFrame]:
    scenes = [_scenes(number, streams) for number in range(streams)]
    begun, tick = time.monotonic(), 0
    while True:
        for number, scene in enumerate(scenes):
            due = begun + (tick + number / streams) / _RATE  # none in step with another
            while (left := due - time.monotonic()) > 0:
                if stop():
                    return
                time.sleep(min(left, _NAP_S))
            if left < -1.0:  # whoever stopped this process stopped the cameras, too
                begun -= left
            about = tick, time.time(), _SIZE, next(scene), _RATE
            yield PoseFrame(f"{DEMO}-{number + 1}", *about, checked=True)
        if stop():
            return
        tick += 1


def _scenes(first: int, step: int) -> Iterator[tuple[Person, ...]]:
    """People of frame after frame."""
    number, letters = first, _letters()
    while True:
        sample = generation.sample("test1", number % generation.TEST_SAMPLES)
        number += step
        if sample["total_frames"] < _LONG:
            continue
        kpts = _fitted(sample)
        names = [f"{DEMO}-{first + 1}/{next(letters)}" for _ in kpts]
        for frame in range(kpts.shape[1]):
            yield tuple(
                Person(name, one[frame])
                for name, one in zip(names, kpts, strict=True)
                if one[frame, :, :2].any()
            )
        for _ in range(_PAUSE):
            yield ()


def _letters() -> Iterator[str]:
    """a to z, then aa, ab and so on: nobody has the name of somebody before."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(ascii_lowercase, repeat=length))


def _fitted(sample: dict[str, np.ndarray]) -> np.ndarray:
    """Key points float32 [P, T, 17, 3] in a frame of one size."""
    height, width = sample["img_shape"]
    scale = min(_SIZE[0] / width, _SIZE[1] / height)
    kpts = np.concatenate([sample["keypoint"], sample["keypoint_score"][..., None]], axis=-1)
    kpts = kpts.astype(np.float32)
    seen = (kpts[..., :2] != 0).any(axis=-1, keepdims=True)
    margin = np.subtract(_SIZE, (scale * width, scale * height), dtype=np.float32)
    kpts[..., :2] = np.where(seen, kpts[..., :2] * scale + margin / 2, 0)
    return kpts
