"""What a process imports: decode workers no runtime, their parent nothing of an executor, and
nobody what is needed later or never: imports are a good part of a short run."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATER = ("rich", "scipy", "asyncio", "urllib.request", "openvino", "onnxruntime", "torch", "ray")
HEAVY = ("onnx", "rich", "openvino", "onnxruntime", "torch", "engine.backends", "engine.network")


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("engine", (*HEAVY, *LATER, "numpy")),
        ("engine.run", (*HEAVY, *LATER, "numpy")),
        ("engine.__main__", (*HEAVY, *LATER, "numpy", "argparse", "engine.run")),
        ("engine.cli.dispatch", (*HEAVY, *LATER, "zmq")),
        ("engine.cli.score", LATER),
        ("engine.cli.listen", tuple(name for name in LATER if name != "scipy")),
        ("engine.classifier", LATER),
        ("engine.runtime.executor", LATER),
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


def test_a_command_imports_what_it_alone_needs() -> None:
    script = (
        "import sys, engine.__main__\n"
        "try:\n    engine.__main__.main(['keys', '--help'])\nexcept SystemExit:\n    pass\n"
        f"unwanted = {(*HEAVY, *LATER, 'numpy', 'engine.run', 'converters')}\n"
        "print([name for name in unwanted if name in sys.modules], file=sys.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert "engine.keys" in found.stdout
    assert found.stderr == "[]\n"


def test_help_loads_no_network() -> None:
    script = (
        "import sys, engine.run\n"
        "try:\n    engine.run.main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {(*HEAVY, *LATER)} if name in sys.modules], file=sys.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert "--dataset" in found.stdout
    assert found.stderr == "[]\n"
