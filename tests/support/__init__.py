"""What tests share: ordinary modules, imported by name. Fixtures are in the ``conftest.py`` of
the folder that needs them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DATA = Path(__file__).parent.parent / "data"
