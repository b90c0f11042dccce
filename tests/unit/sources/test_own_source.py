"""A source of a test's own: one file, and its name under the entry point group."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.base.errors import UsageError
from engine.sources.pose_frames import decode, parse
from engine.sources.source import GROUP, open_source

SOURCE = """
from engine.sources.source import Source

def still(rest):
    def messages(stop):
        joints = [[x, 2 * x, 1] for x in range(17)]
        for frame in range(int(rest)):
            people = [{"kpts": joints}]
            yield {"stream": "still", "frame": frame, "t": frame / 30, "size": [64, 48],
                   "people": people}
    return Source(f"still:{rest}", messages, live=False)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip would lay of a package with one module and one entry point."""
    (tmp_path / "still_source.py").write_text(SOURCE)
    about = tmp_path / "still_source-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: still-source\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\nstill = still_source:still\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("installed")
def test_a_new_source_is_one_file() -> None:
    source = open_source("still:3")
    frames = [parse(decode(message)) for message in source.messages(lambda: False)]  # type: ignore[arg-type]
    assert [(f.stream, f.frame, f.size) for f in frames] == [
        ("still", n, (64, 48)) for n in (0, 1, 2)
    ]
    assert frames[0].people[0].kpts[16].tolist() == [16, 32, 1]
    with pytest.raises(UsageError, match="no source is called 'moving'; known: .*, still, "):
        open_source("moving:3")
