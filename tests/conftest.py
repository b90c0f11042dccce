"""Shared fixtures: reference data where it is at hand, a small network where it is not."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from hypothesis import HealthCheck, settings

from converters.graph import DYNAMIC, build_clips, select_weights
from converters.network import Architecture, convolutions
from converters.quantize import quantise
from engine.base.constants import HMDB51
from engine.base.signals import INTERRUPTIONS
from engine.skeletons.clips import decode
from engine.skeletons.poses import PoseSequence

# How fast a machine is says nothing about what is tested.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"

TINY = Architecture(base_channels=4, stage_blocks=(1, 1, 1))
"""A network of the same form, 40 times cheaper."""


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


@pytest.fixture(autouse=True, scope="session")
def _heeded_signals() -> Iterator[None]:
    """Runs that tests start heed what they are sent, even where we run under nohup."""
    before = {n: signal.getsignal(n) for n in INTERRUPTIONS}
    for number in [n for n in INTERRUPTIONS if before[n] is signal.SIG_IGN]:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="session")
def _reported() -> None:
    """OpenVINO, when imported, starts a process that reports it to its maker: not our leak."""
    import openvino  # noqa: F401

    deadline = time.monotonic() + 10
    while descendants(os.getpid()) and time.monotonic() < deadline:
        time.sleep(0.1)


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


def descendants(root: int) -> set[int]:
    """Processes below `root`, less multiprocess's tracker and the browser, which live as
    long as the session does."""
    found: set[int] = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(root).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is none, either
                command = " ".join(child.cmdline())
                if "resource_tracker" not in command and "chrom" not in command:
                    found |= {child.pid} | descendants(child.pid)
    return found


def open_sockets() -> set[str]:
    """Sockets, and what libzmq and epoll keep beside them, of this process."""
    links: set[str] = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.add(os.readlink(path))
    # Anonymous inodes share one name, so several of a kind look like one.
    return {link for link in links if link.startswith(("socket:", "anon_inode:"))}


def traces() -> dict[str, set[Any]]:
    temporary = Path(tempfile.gettempdir())
    return {
        "processes": descendants(os.getpid()),
        "shared memory": set(os.listdir("/dev/shm")),
        "temporary files": {p.name for p in temporary.glob("posec3d-*")},
        "sockets": open_sockets(),
    }


@pytest.fixture(autouse=True)
def nothing_left(_own_environment: None) -> Iterator[None]:
    """Around every test: it leaves no process, shared memory, temporary file or socket."""
    before = traces()
    yield
    left = {kind: found - before[kind] for kind, found in traces().items()}
    assert not any(left.values()), left


def random_state_dict(arch: Architecture, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Weights under mmaction2's names, scaled so that activations neither die nor explode."""
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray[Any, Any]] = {}
    for conv in convolutions(arch):
        shape = (conv.outputs, conv.inputs, *conv.kernel)
        bound = np.sqrt(6 / np.prod(shape[1:]))
        state[f"backbone.{conv.name}.conv.weight"] = rng.uniform(-bound, bound, shape)
        low, high = (0.2, 0.6) if conv.name.endswith("conv3") else (0.5, 1.5)
        state[f"backbone.{conv.name}.bn.weight"] = rng.uniform(low, high, conv.outputs)
        state[f"backbone.{conv.name}.bn.bias"] = rng.uniform(-0.3, 0.3, conv.outputs)
        state[f"backbone.{conv.name}.bn.running_mean"] = rng.uniform(-0.1, 0.1, conv.outputs)
        state[f"backbone.{conv.name}.bn.running_var"] = rng.uniform(0.5, 1.5, conv.outputs)
    state["cls_head.fc_cls.weight"] = rng.uniform(-3, 3, (arch.num_classes, arch.features))
    state["cls_head.fc_cls.bias"] = rng.uniform(-1, 1, arch.num_classes)
    return {name: array.astype(np.float32) for name, array in state.items()}


def write_model(
    path: Path,
    state: Mapping[str, np.ndarray[Any, Any]],
    arch: Architecture,
    batch: int = DYNAMIC,
    classes: Sequence[str] = HMDB51,
) -> Path:
    weights = select_weights(arch, state)
    model = build_clips(arch, weights, batch=batch, classes=classes, source_sha256="0" * 64)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of layout `clips`, batch free."""
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    return write_model(path, random_state_dict(TINY), TINY)


@pytest.fixture(scope="session")
def quantised_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network in int8; skips where NNCF is not installed."""
    pytest.importorskip("nncf")
    clips = [
        (decode(PoseSequence.from_annotation(annotation(40, seed=seed))), seed) for seed in range(4)
    ]
    path = tmp_path_factory.mktemp("model") / "int8.onnx"
    path.write_bytes(quantise(onnx.load(str(tiny_model)), clips).SerializeToString())
    return path


def annotation(frames: int = 20, persons: int = 1, seed: int = 0, **fields: Any) -> dict[str, Any]:
    """A made-up annotation: joints scattered around a drifting centre."""
    rng = np.random.default_rng(seed)
    centre = np.array([160.0, 120.0]) + np.arange(frames)[None, :, None, None] * 0.5
    keypoint = centre + rng.normal(0, 30, (persons, frames, 17, 2))
    return {
        "frame_dir": f"video_{seed}",
        "label": seed % 51,
        "img_shape": (240, 320),
        "original_shape": (240, 320),
        "total_frames": frames,
        "keypoint": keypoint.astype(np.float16),
        "keypoint_score": rng.uniform(0.2, 1, (persons, frames, 17)).astype(np.float16),
        **fields,
    }


@pytest.fixture
def make_annotation() -> Callable[..., dict[str, Any]]:
    return annotation


@contextlib.contextmanager
def chromium_with(*flags: str) -> Iterator[Any]:
    """Headless Chromium with its driver (Debian: chromium, chromium-driver); skips without."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver on this machine")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # it finds no host but this one
    resolver = "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    for flag in ("headless", "no-sandbox", "disable-gpu", resolver, *flags):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield found
    finally:
        found.quit()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with chromium_with() as found:
        yield found


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
