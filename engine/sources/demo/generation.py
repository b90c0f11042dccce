"""The demo dataset: generated skeleton sequences of 24 of HMDB51's actions.

Comes in: a split and a number. Goes out: an annotation in mmaction2's form. Nothing is
recorded or copied from anywhere: motions are written down in `engine.sources.demo.actions`, seen
by an imagined camera and found by an imagined pose estimator.

Everything follows from (split, number) alone. Splits share neither random streams nor bodies
nor cameras: body heights and camera azimuths lie in narrow bands, every other one of which
belongs to the test split, and the test cameras stand higher than all others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from engine.base.constants import HMDB51
from engine.sources.demo.actions import ACTIONS
from engine.sources.demo.body import F64, PARAMETERS, Body, points
from engine.sources.demo.camera import Camera, Detector, Rng, smooth
from engine.sources.demo.motion import Motion, mirrored

SPLITS = {"train": 0, "test1": 1}
TEST_SAMPLES = 480  # 20 of each action
CLASSES = tuple(action.__name__ for action in ACTIONS)

_SEED = 48
_RATE = 30.0  # frames a second
_FRAMES = (18, 300)
# A mirrored picture of one azimuth is a picture of another, so training with mirrored pictures
# sees every azimuth; no picture of a training camera comes from the test cameras' height.
_ELEVATIONS = {"train": (-10.0, 38.0), "test1": (38.0, 42.0)}  # degrees
_ARMS_ONLY = {"catch", "clap", "pour", "punch", "throw", "wave"}  # known without the legs


def sample(split: str, number: int) -> dict[str, Any]:
    """Annotation `number` of a split; any prefix of a split has its classes in balance."""
    # The legacy generator's stream is frozen: the same data on every machine and numpy.
    rng = np.random.RandomState([_SEED, SPLITS[split], number])
    action = ACTIONS[number % len(ACTIONS)]
    name = action.__name__
    motion = action(rng)
    if rng.rand() < 0.5:
        motion = replace(motion, poses=[mirrored(pose) for pose in motion.poses])
    seconds = _clock(motion, rng)
    body = _body(split, rng)
    located = points(body, _styled(motion, seconds, rng), motion.hanging)
    camera = _camera(split, name in _ARMS_ONLY, rng)
    persons = [camera.project(located, rng)]
    if rng.rand() < 0.15:
        persons.append(_bystander(persons[0], split, camera, rng))
    detector = _detector(rng)
    shape = (camera.height, camera.width)
    found = [detector.observe(pixels, shape, rng) for pixels in persons]
    if rng.rand() < 0.5:
        found.reverse()
    return {
        "frame_dir": f"demo_{split}_{number:04d}_{name}",
        "label": HMDB51.index(name),
        "img_shape": shape,
        "original_shape": shape,
        "total_frames": len(seconds),
        "keypoint": np.stack([pixels for pixels, _ in found]).astype(np.float16),
        "keypoint_score": np.stack([score for _, score in found]).astype(np.float16),
    }


def _clock(motion: Motion, rng: Rng) -> F64:
    """Where in the motion each frame is, seconds. Short actions make short clips."""
    frames = int(np.clip(np.exp(rng.normal(np.log(72), 0.55)), *_FRAMES))
    tempo = rng.uniform(0.8, 1.25)
    if motion.period is not None:
        return np.arange(frames) / _RATE * tempo + rng.uniform(0, motion.period)
    natural = motion.length * _RATE / tempo
    frames = int(np.clip(min(frames, 2.5 * natural), max(_FRAMES[0], 0.45 * natural), _FRAMES[1]))
    share = max(0.5, min(1.0, natural / frames)) * rng.uniform(0.85, 1.0)
    start = rng.uniform(0, 1 - share)
    return (np.linspace(0, 1, frames) - start) / share * motion.length


def _styled(motion: Motion, seconds: F64, rng: Rng) -> dict[str, F64]:
    """The angles of this person on this day: larger or smaller, a little off, never still."""
    angles = motion.angles(seconds)
    sway = smooth(rng.standard_normal((len(seconds), len(PARAMETERS))), 31)
    for column, name in enumerate(PARAMETERS):
        if name in ("lift", "ahead"):
            continue
        middle = angles[name].mean()
        whole = name in ("turn", "tilt", "lean")  # turns of the body stay what they are
        size = 1.0 if whole else rng.uniform(0.75, 1.25)
        offset = rng.normal(0, 2.5 if whole else 12.0)
        angles[name] = middle + size * (angles[name] - middle) + offset + 6.0 * sway[:, column]
    return angles


def _banded(low: float, high: float, bands: int, split: str, rng: Rng) -> float:
    """A number between `low` and `high` out of this split's bands: every other one."""
    band = 2 * rng.randint(bands // 2) + SPLITS[split]
    return low + (high - low) * (band + rng.rand()) / bands


def _body(split: str, rng: Rng) -> Body:
    scale = _banded(1.5, 1.95, 18, split, rng) / 1.75
    bones = {
        name: length * scale * rng.uniform(0.92, 1.08) for name, length in vars(Body()).items()
    }
    return Body(**bones)


def _camera(split: str, arms_only: bool, rng: Rng) -> Camera:
    height, width = ((240, 320), (240, 320), (240, 426), (480, 640), (360, 270))[rng.randint(5)]
    close = arms_only and rng.rand() < 0.15
    return Camera(
        azimuth=_banded(0, 360, 24, split, rng),
        elevation=rng.uniform(*_ELEVATIONS[split]),
        roll=rng.normal(0, 2.5),
        distance=rng.uniform(2.2, 9),
        height=height,
        width=width,
        filled=rng.uniform(1.25, 1.7) if close else rng.uniform(0.4, 0.95),
        follows=rng.rand() if rng.rand() < 0.7 else 0.0,
        centre=(0.5 + rng.normal(0, 0.06), 0.5 + rng.normal(0, 0.03)),
        shake=rng.choice([0.0, rng.uniform(0, 0.02)]),
    )


def _detector(rng: Rng) -> Detector:
    if rng.rand() < 0.2:  # poses measured or annotated by hand: exact, without a face
        return Detector(0.002, 0.004, 0.0, 1.0, face=rng.rand() < 0.3)
    return Detector(
        jitter=rng.uniform(0.002, 0.012),
        drift=rng.uniform(0.005, 0.03),
        lost=rng.choice([0.0, rng.uniform(0, 0.08)]),
        confidence=rng.uniform(0.65, 0.92),
        face=True,
    )


def _bystander(first: F64, split: str, camera: Camera, rng: Rng) -> F64:
    """Pixels of a second person, who stands about beside the first; zero where not seen."""
    frames = len(first)
    idle = Motion([0, 2], [{}, {"look": rng.uniform(-40, 40)}], 4.0)
    angles = _styled(idle, np.arange(frames) / _RATE, rng)
    pixels = camera.project(points(_body(split, rng), angles), rng)
    size = np.ptp(first[..., 1]) / max(np.ptp(pixels[..., 1]), 1.0)
    centre = pixels.mean(axis=(0, 1))
    side = rng.choice([-1, 1]) * rng.uniform(0.35, 0.8) * np.ptp(first[..., 1])
    pixels = (pixels - centre) * size * rng.uniform(0.7, 1.1) + first.mean(axis=(0, 1))
    pixels[..., 0] += side
    return np.asarray(pixels)
