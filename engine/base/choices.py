"""Choices: what an option may be, as types and values."""

from __future__ import annotations

from typing import Final, Literal, get_args

Per = Literal["person", "group"]
Sampling = Literal["grid", "reference"]
Crop = Literal["steady", "exact"]
Coordinates = Literal["auto", "pixels", "normalised"]
COORDINATES: Final[tuple[Coordinates, ...]] = get_args(Coordinates)
PIXELS: Final = "pixels"
NORMALISED: Final = "normalised"  # shares of the picture's width and height

Who = int | str | None
"""Whom a window is about: an id of the source's or the tracker's; None is a group."""

Wire = Literal["frames", "clips", "keypoints"]
WIRES: Final[tuple[Wire, ...]] = get_args(Wire)
FRAMES: Final = "frames"
CLIPS: Final = "clips"  # what workers send, and a layout as well
KEYPOINTS: Final = "keypoints"

Layout = Literal["clips", "shared"]
LAYOUTS: Final[tuple[Layout, ...]] = get_args(Layout)
SHARED: Final = "shared"
CONTEXTS: Final = "contexts"
"""What files of layout ``shared`` are called that compute every context once. In a file, ``shared``
means the older graph of frames and a plan."""
FORMS: Final = (CLIPS, SHARED, CONTEXTS)

Precision = Literal["f32", "f16", "bf16", "int8"]
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)  # the most exact one first
INT8: Final = "int8"

AUTO: Final = "auto"
FASTEST: Final = "fastest"  # of the precisions that were measured here
TORCH: Final = "torch"  # the backend that draws on its device
