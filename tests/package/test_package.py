"""The package as a whole: what the wheel holds, who imports whom, and the linters."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import orjson
import pytest

from tests.support import ROOT
from tests.support.samples import annotation


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what an installation has, and nothing of this tree."""
    folder = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, wheel]
    subprocess.run(install, check=True, capture_output=True)
    return folder


def run_installed(installed: Path, folder: Path, *words: str) -> str:
    """What the program prints that an installation has, started in a folder."""
    done = subprocess.run(
        [installed / "bin" / "posec3d", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [n for n in names if n.endswith("METADATA")]
        text = archive.read(metadata).decode()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {
        "engine",
        "converters",
        "benchmarks",
    }
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


def test_a_benchmark_of_an_installation(installed: Path, tiny_model: Path, tmp_path: Path) -> None:
    bench = "bench", "pure_inference", "--model", str(tiny_model), "--loop", "1"
    said = run_installed(installed, tmp_path, *bench, "--json", "figures.json")
    assert "samples/s device only" in said
    figures = orjson.loads((tmp_path / "figures.json").read_bytes())
    assert figures["clips"]["throughput"] > 0
    assert "--quick" in run_installed(installed, tmp_path, "bench", "end_to_end", "--help")


def test_in_a_folder_with_benchmarks_of_its_own(installed: Path, tmp_path: Path) -> None:
    """Without site-packages, where an installation of this tree may be as well."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-S", "-m", "engine", "bench", "pure_inference", "--model", "demo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("posec3d: another benchmarks hides the one of benchmarks.pure_")


@pytest.mark.slow
def test_the_quick_comparison_of_an_installation(
    installed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    data = tmp_path / "some.pkl"
    data.write_bytes(pickle.dumps([annotation(20, seed=1), annotation(30, seed=2)]))
    less = "--workload", str(data), "--model", str(tiny_model), "--precision", "f32"
    quick = "bench", "end_to_end", "--quick", *less, "--json", "figures.json"
    assert "samples/s, some" in run_installed(installed, tmp_path, *quick)
    figures = orjson.loads((tmp_path / "figures.json").read_bytes())
    assert figures["ratios"]["end_to_end_over_pure/some/f32"] > 0


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
