"""Motions: key poses in time, and the angles of every frame between them.

Comes in: the key poses of an action (`engine.sources.demo.actions`). Goes out: angles over time
for `engine.sources.demo.body`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.sources.demo.body import ARM, F64, LEG, PARAMETERS, SIDES, TRUNK

Pose = Mapping[str, float]
"""Angles by name; those that are missing have their value in `NEUTRAL`."""

NEUTRAL: Pose = {name: 0.0 for name in PARAMETERS} | {
    "left_raise": 12.0,
    "right_raise": 12.0,
    "left_plane": 60.0,
    "right_plane": 60.0,
    "left_elbow": 15.0,
    "right_elbow": 15.0,
    "left_spread": 4.0,
    "right_spread": 4.0,
    "left_knee": 3.0,
    "right_knee": 3.0,
}


def trunk(**angles: float) -> Pose:
    """Angles of the trunk, `lift` and `ahead`."""
    assert angles.keys() <= {*TRUNK, "lift", "ahead"}
    return angles


def arm(side: str, raise_: float, plane: float = 0, elbow: float = 10, roll: float = 0) -> Pose:
    """One arm."""
    return dict(zip((f"{side}_{name}" for name in ARM), (raise_, plane, roll, elbow), strict=True))


def arms(raise_: float, plane: float = 0, elbow: float = 10, roll: float = 0) -> Pose:
    """Both arms alike."""
    left, right = (arm(side, raise_, plane, elbow, roll) for side in SIDES)
    return {**left, **right}


def leg(side: str, hip: float, knee: float = 5, spread: float = 4) -> Pose:
    """One leg."""
    return dict(zip((f"{side}_{name}" for name in LEG), (hip, spread, knee), strict=True))


def legs(hip: float, knee: float = 5, spread: float = 4) -> Pose:
    """Both legs alike."""
    return {**leg("left", hip, knee, spread), **leg("right", hip, knee, spread)}


def mirrored(pose: Pose) -> Pose:
    """The same with left and right exchanged."""
    swapped: dict[str, float] = {}
    for name, value in pose.items():
        side, _, rest = name.partition("_")
        if side in SIDES:
            name = f"{'right' if side == 'left' else 'left'}_{rest}"
        swapped[name] = -value if name in ("tilt", "turn", "side", "twist", "look") else value
    return swapped


@dataclass(frozen=True)
class Motion:
    """Key poses at `times` (seconds, ascending from zero). With a `period` it repeats."""

    times: Sequence[float]
    poses: Sequence[Pose]
    period: float | None = None
    hanging: bool = False

    @property
    def length(self) -> float:
        """Seconds of one repetition, or of the whole."""
        return self.period if self.period is not None else self.times[-1]

    def angles(self, seconds: F64) -> dict[str, F64]:
        """Angles at the given times: each of `PARAMETERS`, [T]."""
        times = np.array(self.times, np.float64)
        values = np.array([[{**NEUTRAL, **p}[name] for name in PARAMETERS] for p in self.poses])
        if self.period is not None:
            seconds = np.mod(seconds, self.period)
            # a key before and two behind, so that the ends join smoothly
            times = np.concatenate([times[-1:] - self.period, times, times[:2] + self.period])
            values = np.concatenate([values[-1:], values, values[:2]])
        return dict(zip(PARAMETERS, _hermite(times, values, seconds).T, strict=True))


def _hermite(times: F64, values: F64, at: F64) -> F64:
    """Monotone cubic interpolation of `values` [K, P] at `times` [K] in the points `at` [T].

    A key that is an extremum is reached at rest and not overshot.
    """
    slopes = np.diff(values, axis=0) / np.diff(times)[:, None]
    tangents = np.zeros_like(values)
    before, after = slopes[:-1], slopes[1:]
    rising = before * after > 0
    total = np.where(rising, before + after, 1)
    tangents[1:-1] = np.where(rising, 2 * before * after / total, 0)
    at = np.clip(at, times[0], times[-1])
    k = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    width = (times[k + 1] - times[k])[:, None]
    u = ((at - times[k])[:, None]) / width
    return np.asarray(
        (1 + 2 * u) * (1 - u) ** 2 * values[k]
        + u * (1 - u) ** 2 * width * tangents[k]
        + u**2 * (3 - 2 * u) * values[k + 1]
        + u**2 * (u - 1) * width * tangents[k + 1]
    )
