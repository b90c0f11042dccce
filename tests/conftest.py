"""Fixtures of every test. Light: what costs to import is imported by the fixture that needs it."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from engine.base.signals import INTERRUPTIONS
from tests.support import DATA, ROOT
from tests.support.leaks import left_since, traces
from tests.support.samples import annotation

if TYPE_CHECKING:
    from engine.base.records import Record

# How fast a machine is says nothing about what is tested.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test logs may be no text, and goes from process to process as one (pytest-xdist)."""
    report = yield
    report.sections = [
        (name, said.encode("utf-8", "backslashreplace").decode()) for name, said in report.sections
    ]
    return report


@pytest.fixture(autouse=True, scope="session")
def _heeded_signals() -> Iterator[None]:
    """Runs that tests start heed what they are sent, even where we run under nohup."""
    before = {n: signal.getsignal(n) for n in INTERRUPTIONS}
    for number in [n for n in INTERRUPTIONS if before[n] is signal.SIG_IGN]:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _own_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No test sees the user's settings, cache or data."""
    for name in [name for name in os.environ if name.startswith("ENGINE_")]:
        monkeypatch.delenv(name)
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("ENGINE_CACHE_DIR", str(base / "cache"))
    # Temporary files of this session only, so that another one does not look like a leak.
    (base / "t").mkdir(exist_ok=True)
    monkeypatch.setenv("TMPDIR", str(base / "t"))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture(autouse=True)
def nothing_left(_own_environment: None) -> Iterator[None]:
    """Around every test: it leaves no process, shared memory, temporary file or socket."""
    before = traces()
    yield
    left = left_since(before)
    assert not left, left


# Data


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference outputs, real annotations and weights; skips where absent."""
    path = Path(os.environ.get("POSEC3D_SHARED", ROOT.parent / "shared"))
    if not (path / "golden").is_dir():
        pytest.skip(f"no reference data at {path} (POSEC3D_SHARED names another place)")
    return path


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    return shared / "golden"


@pytest.fixture
def make_annotation() -> Callable[..., dict[str, Any]]:
    return annotation


@pytest.fixture
def chdir_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts ``npu-smi``, which prints a table of ``data/npu_smi``, and ``atc`` on the path: what
    no machine without an NPU has."""

    def install(table: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        text = str(DATA / "npu_smi" / f"{table}.txt")
        start = f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        programs = {
            "npu-smi": f"assert sys.argv[1:] == ['info']\nprint(open({text!r}).read())\n",
            "atc": "from tests.doubles.atc import main\nsys.exit(main())\n",
        }
        for name, body in programs.items():
            (folder / name).write_text(start + body)
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return install


# Runs


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of layout `clips`, batch free."""
    from tests.support.networks import TINY, random_state_dict, write_model

    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    return write_model(path, random_state_dict(TINY), TINY)


@pytest.fixture(scope="session")
def strided_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for runtimes that compute whole clips: a quarter of the work."""
    from tests.support.networks import STRIDED, random_state_dict, write_model

    path = tmp_path_factory.mktemp("model") / "strided.onnx"
    return write_model(path, random_state_dict(STRIDED), STRIDED)


@pytest.fixture(scope="session")
def limb_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of another recipe than HMDB51's in every number: see `LIMBS`."""
    from tests.support.networks import LIMBS, TINY_LIMBS, random_state_dict, write_model

    path = tmp_path_factory.mktemp("model") / "limbs.onnx"
    return write_model(path, random_state_dict(TINY_LIMBS, seed=1), TINY_LIMBS, recipe=LIMBS)


@pytest.fixture(scope="session")
def quantised_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network in int8; skips where NNCF is not installed."""
    pytest.importorskip("nncf")
    from tests.support.networks import write_quantised

    return write_quantised(tmp_path_factory.mktemp("model") / "int8.onnx", tiny_model)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven samples, of 5 to 143 frames, three of them unusable."""
    path = tmp_path_factory.mktemp("data") / "data.pkl"
    lengths = [5, 143, *range(17, 66, 6)]
    annotations: list[Any] = [
        annotation(frames, persons=1 + i % 2, seed=i) for i, frames in enumerate(lengths)
    ]
    annotations[3] = "junk"
    annotations[7]["keypoint"] = np.zeros((1, 20, 25, 2))
    annotations[9]["label"] = 99
    path.write_bytes(pickle.dumps(annotations))
    return path


@pytest.fixture(scope="session")
def expected_of(data: Path, tiny_model: Path) -> Callable[..., dict[str, Record]]:
    """The records of `data`, or of its first, without processes, by layout."""
    from tests.support.runs import alone, options

    @cache
    def of(layout: str, limit: int | None = None) -> dict[str, Record]:
        return alone(options(data, tiny_model, in_process=True, layout=layout, limit=limit))

    return of


@pytest.fixture(scope="session")
def expected(expected_of: Callable[..., dict[str, Record]]) -> dict[str, Record]:
    return expected_of("auto")
