"""A short run of each fuzzer; the long ones are commands (`tests.fuzz`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import main
from tests.fuzz.doors import DOORS


@pytest.mark.parametrize("door", DOORS)
def test_a_few_inputs(door: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is taken, or refused by an error of the engine's own, in 2 s and 512 MB."""
    found = main([door, "--inputs", "300", "--seed", "7", "--findings", str(tmp_path)])
    assert found == 0, capsys.readouterr().out
