"""Which label a frame bears."""

from __future__ import annotations

from typing import Any

import pytest

from engine.live.labels import Label

pytest.importorskip("av")
pytest.importorskip("cv2")

from engine.outputs.overlay import Drawing


def label(who: Any, last: int, name: str | None) -> Label:
    return Label("s", who, last / 30, last - 47, last, None, name, 0.5, None, 0.0)


def test_the_first_window_that_has_looked_at_a_frame() -> None:
    drawing = Drawing("film.mp4")
    for last, name in ((47, "wave"), (59, "run"), (71, None)):
        drawing.add_label(label(3, last, name))
    drawing.add_label(label("other", 59, "sit"))
    found = [drawing.label_at(3, number) for number in (0, 47, 48, 59, 60, 71, 72)]
    assert found == ["wave 0.50"] * 2 + ["run 0.50"] * 2 + [""] * 3
    assert drawing.label_at("other", 10) == "sit 0.50"
    assert drawing.label_at("nobody", 10) == ""
