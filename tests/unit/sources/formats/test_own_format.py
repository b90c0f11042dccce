"""A format of somebody else's is one function, found by its entry point."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.base.errors import DatasetError
from engine.base.records import Cause
from engine.sources.dataset import open_dataset
from engine.sources.formats import registry
from engine.sources.formats.poses import Reading

READER = """
import numpy as np

from engine.sources.formats.recording import Detection, Frame, Recording


def read(content):
    if content.suffix != ".txt" or content.path.is_dir():
        return None
    words = content.path.read_text().split()
    if words[:1] != ["still"]:
        return None

    def frames():
        for number in range(int(words[1])):
            yield Frame(number, [Detection(np.full((17, 3), [10 + number, 20, 1], np.float32))])

    return [Recording(content.path.stem, frames, size=(64, 48))]
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What pip would lay of a package with one module and one entry point."""
    (tmp_path / "still_format.py").write_text(READER)
    about = tmp_path / "still_format-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: still-format\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{registry.GROUP}]\nstill = still_format:read\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry._readers.cache_clear()
    yield
    registry._readers.cache_clear()


@pytest.mark.usefixtures("installed")
def test_a_new_format_is_one_function(tmp_path: Path) -> None:
    path = tmp_path / "clip.txt"
    path.write_text("still 3")
    data = open_dataset(str(path))
    assert data.source == f"{path} (still, joints coco17)"
    poses = data.samples[0].read(51)
    assert not isinstance(poses, Cause)
    assert poses.keypoint[0, :, 16].tolist() == [[10, 20], [11, 20], [12, 20]]
    path.write_text("still, and broken")
    with pytest.raises(DatasetError, match=r"clip\.txt"):
        open_dataset(str(path), reading=Reading())
    path.write_text("still x")
    [sample] = open_dataset(str(path)).samples
    found = sample.read(51)
    assert isinstance(found, Cause)
    assert "invalid literal for int()" in found.message
