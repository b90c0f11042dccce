"""Which label a frame bears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.live.labels import Label

pytest.importorskip("av")
pytest.importorskip("cv2")

from engine.outputs.overlay import VideoOverlay


def label(who: Any, last: int, name: str | None) -> Label:
    return Label("s", who, last / 30, last - 47, last, None, name, 0.5, None, 0.0, start=0.0)


def test_the_first_window_that_has_looked_at_a_frame() -> None:
    overlay = VideoOverlay(Path("drawn.mp4"))
    for last, name in ((47, "wave"), (59, "run"), (71, None)):
        overlay.record(label(3, last, name))
    overlay.record(label("other", 59, "sit"))
    found = [overlay.label_at(3, number) for number in (0, 47, 48, 59, 60, 71, 72)]
    assert found == ["wave 0.50"] * 2 + ["run 0.50"] * 2 + [""] * 3
    assert overlay.label_at("other", 10) == "sit 0.50"
    assert overlay.label_at("nobody", 10) == ""
