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
        ("skeletons/clips.py", "from ..network import cuts", "skeletons may not import network"),
        ("network/cuts.py", "from . import models", "engine.network.cuts -> engine.network.models"),
        ("network/cuts.py", "import torch", "engine.network.cuts imports torch: not its business"),
        ("ray.py", "import converters.config", "imports converters.config: not its business"),
        ("extra/__init__.py", "import zmq", "a package that the contract does not know: extra"),
    ],
)
def test_an_import_the_wrong_way_is_found(tmp_path: Path, module: str, line: str, why: str) -> None:
    shutil.copytree(
        ROOT / "engine", tmp_path / "engine", ignore=shutil.ignore_patterns("*.pth", "__pycache__")
    )
    path = tmp_path / "engine" / module
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(f"\n\ndef late() -> None:\n    {line}\n")
    assert any(why in found for found in violations(tmp_path))


def test_a_seventeenth_module_at_the_top_is_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "engine", tmp_path / "engine", ignore=shutil.ignore_patterns("*.pth"))
    top = len(list((tmp_path / "engine").glob("*.py"))) - 1
    for number in range(17 - top):
        (tmp_path / "engine" / f"more_{number}.py").touch()
    assert "17 modules at the top of engine; at most 16" in violations(tmp_path)
