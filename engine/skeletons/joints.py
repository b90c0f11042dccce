"""Layouts: how other programs number the joints of a body, and COCO's 17 out of them.

Comes in: joints as a pose estimator gives them. Goes out: float32 [17, 3], x and y in pixels and a
score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.base.constants import JOINTS


@dataclass(frozen=True)
class JointLayout:
    """`joints`: how many it has; `coco`: for each of COCO's 17 the number of the same joint.
    `normalised`: coordinates are shares of width and height, not pixels."""

    joints: int
    coco: tuple[int, ...]
    normalised: bool = False

    def to_coco(self, kpts: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        """COCO's joints, float32 [17, 3] in pixels, of joints [n, 3] in a frame of (width,
        height)."""
        found = kpts[list(self.coco)]
        if self.normalised:
            found = found * np.array([*size, 1], np.float32)
        return found


COCO: Final = "coco17"
LAYOUTS: Final[dict[str, JointLayout]] = {
    COCO: JointLayout(JOINTS, tuple(range(JOINTS))),
    "mediapipe33": JointLayout(
        33, (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28), normalised=True
    ),
    "body25": JointLayout(25, (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11)),
    "openpose18": JointLayout(18, (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)),
    # ROS's hri_msgs/Skeleton2D: OpenPose's with eyes and ears exchanged; in shares of the image
    "ros18": JointLayout(
        18, (0, 14, 15, 16, 17, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10), normalised=True
    ),
}
