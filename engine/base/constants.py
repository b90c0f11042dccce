"""Constants: HMDB51's recipe in single values, and the names of its classes.

They are the defaults of `engine.base.recipe`.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

Reference = Literal["0.24.1", "1.x"]
"""Which mmaction2 draws the flipped clips: 0.24.1 flips coordinates and draws
again, 1.x mirrors the finished heatmaps."""

REFERENCES: Final[tuple[Reference, ...]] = get_args(Reference)

CLIP_LEN: Final = 48  # frames a clip
NUM_CLIPS: Final = 10  # clips a video, before flipping
VIEWS: Final = 2 * NUM_CLIPS  # the same ten clips flipped follow

SEED: Final = 255  # of the legacy generator, set anew for every video
JOINTS: Final = 17  # COCO order
SIZE: Final = 56  # height and width of a heatmap, pixels
SIGMA: Final = 0.6  # of the Gaussian, pixels
BOX_PADDING: Final = 0.25  # added to the half sides of the box around the poses
BOX_THRESHOLD: Final = 10.0  # pixels; smaller boxes are left as they are
SCORE_THRESHOLD: Final = 1e-4  # joints below are not drawn
LEFT_JOINTS: Final = (1, 3, 5, 7, 9, 11, 13, 15)
RIGHT_JOINTS: Final = (2, 4, 6, 8, 10, 12, 14, 16)
LIMBS: Final = (  # what the references draw where a configuration lists none
    *((0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (5, 7), (7, 9), (0, 6), (6, 8), (8, 10)),
    *((5, 11), (11, 13), (13, 15), (6, 12), (12, 14), (14, 16), (11, 12)),
)
LEFT_LIMBS: Final = (0, 2, 4, 5, 6, 10, 11, 12)
RIGHT_LIMBS: Final = (1, 3, 7, 8, 9, 13, 14, 15)

CLIP_SHAPE: Final = (JOINTS, CLIP_LEN, SIZE, SIZE)


def preprocessing() -> dict[str, Any]:
    """The constants as a model file's metadata carries them (JSON types only)."""
    return {
        "clip_len": CLIP_LEN,
        "num_clips": NUM_CLIPS,
        "double": True,
        "seed": SEED,
        "joints": JOINTS,
        "size": SIZE,
        "sigma": SIGMA,
        "padding": BOX_PADDING,
        "threshold": BOX_THRESHOLD,
        "hw_ratio": 1.0,
        "allow_imgpad": True,
        "use_score": True,
        "with_kp": True,
        "with_limb": False,
        "left_kp": list(LEFT_JOINTS),
        "right_kp": list(RIGHT_JOINTS),
    }


DEFAULT_SPLIT: Final = "test1"  # where neither a user nor a model names one

HMDB51 = (
    "brush_hair",
    "cartwheel",
    "catch",
    "chew",
    "clap",
    "climb",
    "climb_stairs",
    "dive",
    "draw_sword",
    "dribble",
    "drink",
    "eat",
    "fall_floor",
    "fencing",
    "flic_flac",
    "golf",
    "handstand",
    "hit",
    "hug",
    "jump",
    "kick",
    "kick_ball",
    "kiss",
    "laugh",
    "pick",
    "pour",
    "pullup",
    "punch",
    "push",
    "pushup",
    "ride_bike",
    "ride_horse",
    "run",
    "shake_hands",
    "shoot_ball",
    "shoot_bow",
    "shoot_gun",
    "sit",
    "situp",
    "smile",
    "smoke",
    "somersault",
    "stand",
    "swing_baseball",
    "sword",
    "sword_exercise",
    "talk",
    "throw",
    "turn",
    "walk",
    "wave",
)
