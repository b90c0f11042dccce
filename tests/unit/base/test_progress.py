"""Progress where nobody sees a bar: a line now and then."""

from __future__ import annotations

import pytest

from engine.base import progress
from engine.base.progress import SampleProgress


def test_the_time_left_is_that_of_a_clock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    for name in progress._MEANS_A_TERMINAL:
        monkeypatch.delenv(name, raising=False)
    with SampleProgress("samples", 7385) as shown:
        now += progress.LINE_EVERY_S
        shown.update(2 * round(progress.LINE_EVERY_S), "device waits")
        now += progress.LINE_EVERY_S / 2
        shown.update(7000)  # too soon for another line
    done = 2 * round(progress.LINE_EVERY_S)
    minutes, seconds = divmod(round((7385 - done) / 2), 60)
    said = f"samples: {done}/7385  2.00/s  {minutes // 60}:{minutes % 60:02}:{seconds:02} left"
    assert capsys.readouterr().err == f"{said}  device waits\n"
