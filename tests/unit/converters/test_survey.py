"""The table of a checkout's configurations."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.survey import FOLDERS, HEADER, main
from tests.support import ROOT
from tests.unit.converters.test_config import LIMBS, MODEL

VIDEO = "norm = dict(mean=[1.0])\n" + MODEL.replace(
    "dict(type='PoseDecode')", "dict(type='MMDecode'),\n    dict(type='Normalize', **norm)"
)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def rows(markdown: str) -> list[list[str]]:
    """The cells of a table, without its header."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[:2] == [list(HEADER), ["---"] * len(HEADER)]
    return cells[2:]


def test_configurations_of_checkouts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the repositories have them: in folders of each; with scripts and bases among them."""
    old, new = tmp_path / "old", tmp_path / "new"
    mmaction2, pyskl, both = FOLDERS
    write(old / mmaction2 / "joint.py", MODEL)
    write(old / "configs" / "default_runtime.py", "runner = dict(epochs=1)\n")
    limbs = MODEL.replace(*LIMBS).replace("in_channels=17", "in_channels=3")
    write(new / pyskl / "net" / "limb.py", limbs)
    write(new / both / "rgb_only.py", VIDEO)
    write(new / both / "compress.py", "import os\nos.system('false')\n")
    write(new / both / "torn.py", "model = dict(")
    assert main([str(old), str(new)]) == 0
    printed = capsys.readouterr().out
    pipeline = ["56, crop", "48", "20", "redrawn", "accepted"]
    first, second, third, fourth = rows(printed)
    assert first == [
        *("old", "skeleton/posec3d/joint", "SlowOnly 3-4-6", "51", "17 joints"),
        *pipeline,
    ]
    assert second == ["new", "posec3d/net/limb", "SlowOnly 3-4-6", "51", "3 limbs", *pipeline]
    assert third[:3] == ["new", "rgbpose_conv3d/rgb_only", ""]
    assert third[-1] == (
        "refused: test pipeline has MMDecode: this network needs video, and the engine computes "
        "from poses alone"
    )
    assert fourth[1] == "rgbpose_conv3d/torn"
    assert "never closed" in fourth[-1]
    assert printed.endswith("\n2 of 4 are accepted.\n")


def test_a_folder_that_is_no_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no PoseC3D configurations in configs/skeleton/posec3d" in capsys.readouterr().err


def test_the_table_in_the_documentation() -> None:
    """Made by this program: of all published configurations, those without video are accepted."""
    text = (ROOT / "docs" / "models.md").read_text()
    table = text.partition("<!-- begin: printed by python -m converters.survey")[2]
    found = rows(table.partition("<!-- end -->")[0])
    refused = [row[-1] for row in found if row[-1] != "accepted"]
    assert (len(found), len(refused)) == (46, 4)
    assert all("needs video" in reason for reason in refused)
