"""What tests of the backend ``torch`` share; all skip where PyTorch is not installed."""

from __future__ import annotations

import os

import pytest

# Read when Triton is imported, which none of the other tests does.
os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("torch", reason="PyTorch is not installed (pip install -e '.[torch]')")
