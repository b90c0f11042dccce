"""Packages import one way: the contract holds, and it is seen to fail where it is broken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.package.contract import violations
from tests.support import ROOT


def test_the_contract_holds() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("module", "line", "why"),
    [
        (
            "skeletons/clips.py",
            "from engine.network import cuts",
            "skeletons may not import network",
        ),
        ("base/files.py", "import engine.sources.dataset", "base may not import sources"),
        (
            "outputs/journal.py",
            "from engine.pipeline import Pipeline",
            "outputs may not import top",
        ),
        ("runtime/pool.py", "from engine.sources import dataset", "runtime may not import sources"),
        ("runtime/pool.py", "from engine.join import main", "a command is started, not imported"),
    ],
)
def test_an_import_the_wrong_way_is_found(tmp_path: Path, module: str, line: str, why: str) -> None:
    shutil.copytree(
        ROOT / "engine", tmp_path / "engine", ignore=shutil.ignore_patterns("*.pth", "__pycache__")
    )
    path = tmp_path / "engine" / module
    path.write_text(path.read_text() + f"\n\ndef late() -> None:\n    {line}\n")
    found = [line for line in violations(tmp_path) if line not in violations(ROOT)]
    assert len(found) == 1
    assert found[0].endswith(why)


def test_a_seventeenth_module_at_the_top_is_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "engine", tmp_path / "engine", ignore=shutil.ignore_patterns("*.pth"))
    top = len(list((tmp_path / "engine").glob("*.py"))) - 1
    for number in range(17 - top):
        (tmp_path / "engine" / f"more_{number}.py").touch()
    assert "17 modules at the top of engine; at most 16" in violations(tmp_path)
