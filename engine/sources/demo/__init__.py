"""An embedded demo: generated skeleton sequences and weights that were trained on them."""

from __future__ import annotations

from pathlib import Path

NAME = "demo"
CHECKPOINT = Path(__file__).parent / "posec3d_demo.pth"
