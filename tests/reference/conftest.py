"""Tests with OpenVINO."""

from __future__ import annotations

import pytest

from tests.support.leaks import import_openvino


@pytest.fixture(autouse=True, scope="session")
def _reported() -> None:
    import_openvino()
