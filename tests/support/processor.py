"""What the processor at hand can do, for tests of what only some can."""

from __future__ import annotations

import openvino as ov
import pytest

BF16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bf16 = pytest.mark.skipif(not BF16, reason="this processor does not execute bf16")
