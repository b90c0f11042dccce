"""A human body: bones, the angles of its joints, and where that puts the 17 COCO points.

Comes in: angles over time, by name. Goes out: points in metres. x is the person's right, y forward,
z up; angles in degrees.

Angles of an arm or a leg are the anatomical ones: an arm that hangs is raised by
``raise`` in the plane ``plane`` (0 forward, 90 to the side, negative across the chest),
turned about its length by ``roll`` (positive outward) and bent by ``elbow``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Angles = Mapping[str, F64]

SIDES = ("left", "right")
TRUNK = ("lean", "tilt", "turn", "bend", "side", "twist", "nod", "look")
ARM = ("raise", "plane", "roll", "elbow")
LEG = ("hip", "spread", "knee")
LIMBS = tuple(f"{side}_{name}" for side in SIDES for name in (*ARM, *LEG))
PARAMETERS = (*TRUNK, *LIMBS, "lift", "ahead")
"""`lift` metres above the ground, `ahead` metres travelled while nothing touches it."""

_CONTACT = 0.02  # metres: how much higher a point may be and still carry weight


@dataclass(frozen=True)
class Body:
    """Lengths in metres, for a person of 1.75 m unless told otherwise."""

    hips: float = 0.11  # half the distance between them
    waist: float = 0.20  # from the hips up to where the back bends
    chest: float = 0.30  # from there to the shoulders
    shoulders: float = 0.19
    upper_arm: float = 0.29
    forearm: float = 0.27
    thigh: float = 0.43
    shin: float = 0.42
    head: float = 0.24  # from the shoulders up to the eyes


def points(body: Body, angles: Angles, hanging: bool = False) -> F64:
    """The COCO points, float64 [T, 17, 3] metres.

    `angles`: each of `PARAMETERS`, [T]. The body stands on whatever is lowest, and that
    stays where it is, so that steps carry it; `hanging` holds it by the wrists instead.
    """
    local = _points(body, angles)
    if hanging:
        grip = (local[:, 9] + local[:, 10]) / 2
        local[:] += _vector(0, 0, 2.3) - grip[:, None]
        return local
    local[..., 2] -= local[..., 2].min(axis=1, keepdims=True)
    weight = np.exp(-local[..., 2] / _CONTACT)
    weight /= weight.sum(axis=1, keepdims=True)
    step = np.diff(local[..., :2], axis=0)
    carried = -((weight[1:] + weight[:-1])[..., None] / 2 * step).sum(axis=1)
    lift = np.maximum(angles["lift"], 0)
    carried *= np.exp(-lift[1:] / _CONTACT)[:, None]
    ground = np.concatenate([np.zeros((1, 2)), np.cumsum(carried, axis=0)])
    turn = np.radians(angles["turn"])
    pushed = np.diff(angles["ahead"], prepend=angles["ahead"][0])
    ground += np.cumsum(pushed[:, None] * np.stack([-np.sin(turn), np.cos(turn)], 1), axis=0)
    local[..., :2] += ground[:, None]
    local[..., 2] += lift[:, None]
    return local


def _points(body: Body, angles: Angles) -> F64:
    """Forward kinematics with the middle of the hips at the origin."""
    pelvis = _about_z(angles["turn"]) @ _about_y(angles["tilt"]) @ _about_x(-angles["lean"])
    chest = (
        pelvis @ _about_z(angles["twist"]) @ _about_y(angles["side"]) @ _about_x(-angles["bend"])
    )
    head = chest @ _about_z(angles["look"]) @ _about_x(-angles["nod"])
    neck = pelvis @ _vector(0, 0, body.waist) + chest @ _vector(0, 0, body.chest)

    out = np.empty((len(neck), 17, 3))
    up = body.head
    out[:, 0] = neck + head @ _vector(0, 0.11, 0.85 * up)
    for number, side in enumerate((-1, 1)):  # COCO: left before right
        name = SIDES[number]
        out[:, 1 + number] = neck + head @ _vector(side * 0.033, 0.09, up)
        out[:, 3 + number] = neck + head @ _vector(side * 0.075, 0.0, 0.92 * up)

        raised, plane = angles[f"{name}_raise"], -side * angles[f"{name}_plane"]
        roll = -side * angles[f"{name}_roll"]
        shoulder = neck + chest @ _vector(side * body.shoulders, 0, 0)
        arm = chest @ _about_z(plane) @ _about_x(raised) @ _about_z(roll - plane)
        elbow = shoulder + arm @ _vector(0, 0, -body.upper_arm)
        forearm = arm @ _about_x(angles[f"{name}_elbow"])
        out[:, 5 + number] = shoulder
        out[:, 7 + number] = elbow
        out[:, 9 + number] = elbow + forearm @ _vector(0, 0, -body.forearm)

        hip = pelvis @ _vector(side * body.hips, 0, 0)
        thigh = (
            pelvis @ _about_y(-side * angles[f"{name}_spread"]) @ _about_x(angles[f"{name}_hip"])
        )
        knee = hip + thigh @ _vector(0, 0, -body.thigh)
        shin = thigh @ _about_x(-angles[f"{name}_knee"])
        out[:, 11 + number] = hip
        out[:, 13 + number] = knee
        out[:, 15 + number] = knee + shin @ _vector(0, 0, -body.shin)
    return out


def _vector(x: float, y: float, z: float) -> F64:
    return np.array([x, y, z])


def _about_x(degrees: F64) -> F64:
    return _rotation(degrees, 1, 2)


def _about_y(degrees: F64) -> F64:
    return _rotation(degrees, 2, 0)


def _about_z(degrees: F64) -> F64:
    return _rotation(degrees, 0, 1)


def _rotation(degrees: F64, first: int, second: int) -> F64:
    """Rotations [T, 3, 3] that turn axis `first` towards axis `second`."""
    angle = np.radians(degrees)
    out = np.zeros((len(angle), 3, 3))
    out[:] = np.eye(3)
    out[:, first, first] = out[:, second, second] = np.cos(angle)
    out[:, second, first] = np.sin(angle)
    out[:, first, second] = -out[:, second, first]
    return out
