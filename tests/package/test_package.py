"""The package as a whole: what the wheel holds, who imports whom, and the linters."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import ROOT


def test_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [n for n in names if n.endswith("METADATA")]
        text = archive.read(metadata).decode()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"engine", "converters"}
    assert {"engine/py.typed", "converters/py.typed", "converters/mmaction2_export.py"} <= set(
        names
    )
    assert {
        "engine/outputs/report.html",
        "engine/sources/demo/posec3d_demo.pth.xz",
        "engine/sources/demo/MODEL_CARD.md",
    } <= set(names)
    assert wheel.stat().st_size < 6.1e6
    # Whoever takes that name on a package index must not be installed.
    assert "aclruntime" not in [
        line.split()[-1] for line in text.splitlines() if "Requires" in line
    ]


def test_preprocessing_imports_no_runtime() -> None:
    """What a decode worker loads: numpy, and nothing heavy behind it."""
    code = (
        "import sys, engine, engine.skeletons.clips\n"
        "print([m for m in ('openvino', 'onnxruntime', 'onnx', 'rich') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", "engine", "converters"],
    ],
    ids=" ".join,
)
def test_linters(arguments: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_ci_runs_the_readmes_command() -> None:
    [command] = [
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if "pytest" in line and line.startswith("python3 -m venv")
    ]
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()
