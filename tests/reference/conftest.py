"""Tests with OpenVINO, and reference data of the whole family."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.support.leaks import import_openvino


@pytest.fixture(autouse=True, scope="session")
def _reported() -> None:
    import_openvino()


@pytest.fixture(scope="session")
def family(shared: Path) -> Path:
    path = shared / "golden_family"
    if not path.is_dir():
        pytest.skip(f"no reference data at {path}")
    return path


@pytest.fixture(scope="session")
def family_script(family: Path) -> Any:
    """The script that rebuilds its annotations and weights."""
    spec = importlib.util.spec_from_file_location("family", family / "family.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script
