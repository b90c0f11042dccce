"""Stand-ins for what no machine without an NPU has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.leaks import import_openvino


@pytest.fixture(autouse=True, scope="session")
def _reported() -> None:
    import_openvino()


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the modules of an NPU's runtimes on the path."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "doubles"))


@pytest.fixture(params=["acl", "pyacl"])
def name(request: pytest.FixtureRequest, doubles: None) -> str:
    """A backend for NPUs."""
    return str(request.param)


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the next runs of the device come to: see the double."""
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setenv("DOUBLE_FAULTS", str(folder))
    return folder / "execute"
