"""What a process imports: decode workers no runtime, their parent nothing of an executor."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("onnx", "rich", "openvino", "onnxruntime", "torch", "engine.backends", "engine.network")


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("engine.runtime.worker", HEAVY),
        ("engine.runtime.transport.remote_link", HEAVY),
        ("engine.runtime.supervisor", ("engine.runtime.executor", "openvino", "torch")),
        ("engine.runtime.setup", ("engine.runtime.executor", "openvino", "torch")),
    ],
)
def test_in_a_fresh_interpreter(module: str, unwanted: tuple[str, ...]) -> None:
    script = f"import sys, {module}; print([name for name in {unwanted} if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert found.stdout == "[]\n"
