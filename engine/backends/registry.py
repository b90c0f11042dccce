"""Backends: runtimes that execute the network on one device.

A backend is a class registered under the entry point group ``engine.backends``. It
runs in one thread of one process, may hold the GIL during a run, and takes only the
sizes that it announces. The executor is its only caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import UsageError
from engine.network.cuts import Part
from engine.network.models import ModelFile
from engine.skeletons.clips import Clips, JointClips

Precision = Literal["f32", "f16", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("f32", "f16", "bf16", "int8")
INT8: Precision = "int8"
GROUP = "engine.backends"
_OF_COMPILED = {"acl": "aclruntime", "pyacl": "acl"}  # and the module of each
AUTO: Final = "auto"
TORCH: Final = "torch"  # the one that draws on its device
NVIDIA = Path("/dev/nvidiactl")  # there where a driver for NVIDIA's GPUs is


@dataclass(frozen=True)
class Facts:
    """What a loaded backend really runs on; printed and written into the summary."""

    runtime: str  # name and version
    device: str  # the device as the runtime calls it
    precision: str  # what is executed, not the one requested
    threads: int  # of the runtime; 0 where the notion has no meaning


Array = NDArray[Any]


class PartNetwork(Protocol):
    """A compiled part of layout ``shared``; `lanes` as in `Backend`."""

    lanes: int

    def start(self, lane: int, inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
        """Begin a run in a free lane: arrays by the names of the part's inputs and outputs,
        C-contiguous, of its shapes. `outputs` are written until `finish`."""

    def finish(self, lane: int) -> None:
        """Wait for the lane's run. Raises `BackendError` when the runtime failed."""


class Backend(Protocol):
    """One network on one device.

    A whole network: `inputs`, `start` and `finish`. `sizes`: the numbers of clips (layout
    ``shared`` compiled into one graph: of frames) that one run takes, ascending; the executor
    splits and pads. `lanes`: how many runs may be under way at once, each in a lane of its own.
    A runtime that only runs synchronously has one lane and does the work in `start`.

    `executed_s`: seconds of execution alone that the runtime measured of the last run finished,
    None where it measures none.

    A network in parts (layout ``shared``): `part`, of as many rows as `rows` says; between
    parts, arrays are of dtype `values` (float32, or uint16 that holds bfloat16).
    """

    facts: Facts
    sizes: tuple[int, ...]
    lanes: int
    rows: int
    values: np.dtype[Any]
    executed_s: float | None

    def inputs(self, lane: int, size: int) -> tuple[Array, ...]:
        """Where the inputs of a run of `size` in a lane (counted from 0) are to be written, the
        same memory each time; the caller leaves it alone from `start` to `finish`.

        Layout ``clips``: clips [size, 17, 48, 56, 56]. A compiled ``shared``: frames
        [size, 17, 56, 56], and the plan, int32 [20, 48], of positions among them. float32, or
        float16 where the network takes that.
        """

    def start(self, lane: int, size: int) -> None:
        """Begin a run in a free lane, of what is in its `inputs`.

        Raises `BackendError` when the runtime fails.
        """

    def finish(self, lane: int) -> NDArray[np.float32]:
        """Wait for the lane's run: its logits [clips, classes], which are the caller's.

        Raises `BackendError` when the runtime failed.
        """

    def part(self, part: Part) -> PartNetwork:
        """Compile a part. Raises `ModelError`, and `UsageError` for another precision."""

    def close(self) -> None:
        """Give the device back. No call follows."""


@dataclass(frozen=True, eq=False)
class Wave:
    """Samples that run together in layout ``shared``: what they are drawn from, and where things
    are in rows that all of them share.

    `firsts`: of each sample the row of its first frame; its twins follow its frames. `frames`: how
    many there are. `levels`: int32 [rows, 3], as `engine.network.contexts.Level.sources`. `clips`:
    int32 [clips, positions], rows of the last level.
    """

    samples: Sequence[Clips | JointClips]
    firsts: Sequence[int]
    frames: int
    levels: Sequence[NDArray[np.int32]]
    clips: NDArray[np.int32]

    @property
    def counts(self) -> list[int]:
        """Frames, rows of each level, clips."""
        return [self.frames, *map(len, self.levels), len(self.clips)]


@runtime_checkable
class ResidentBackend(Backend, Protocol):
    """A backend whose device draws, gathers and averages by itself: nothing but joints goes there
    and nothing but logits comes back.

    `capacity`: the `Wave.counts` that one run takes at most; a single sample always fits.
    `strides`: of the network's temporal convolutions.
    """

    capacity: list[int]
    strides: tuple[int, ...]

    def start_wave(self, lane: int, wave: Wave) -> None:
        """As `start`; `finish` has the logits, one row for each of `Wave.clips`."""


class Loader(Protocol):
    """What an entry point names: loads a model onto a device.

    `device` is the runtime's own name, None for its default. Raises `ModelError` or
    `UsageError` for what it cannot load or honour.
    """

    def __call__(
        self, model: ModelFile, *, device: str | None, precision: Precision, threads: int
    ) -> Backend: ...


def available() -> dict[str, EntryPoint]:
    """The registered backends by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def choose(
    name: str, device: str | None = None, *, compiled: bool = False, quantised: bool = False
) -> tuple[str, str]:
    """The backend to load for ``--backend NAME --device DEVICE``, and why; `compiled` says that
    the model is an OM, `quantised` that it is in int8. Raises `UsageError` where they do not go
    together."""
    found = available()
    if compiled and name not in (AUTO, *_OF_COMPILED):
        raise UsageError(f"--backend {name}: an OM runs on an Ascend NPU only (--backend acl)")
    if name == AUTO:
        if compiled:
            installed = [name for name, module in _OF_COMPILED.items() if find_spec(module)]
            name = (installed or list(_OF_COMPILED))[0]
            reason = "the model is an OM"
        elif device is not None and device.partition(":")[0].endswith("ExecutionProvider"):
            name, reason = "onnxruntime", f"{device} is one of its execution providers"
        elif _on_gpu(device) and not quantised and find_spec(TORCH) and NVIDIA.exists():
            name, reason = TORCH, "there is an NVIDIA GPU"
        else:
            # OpenVINO ran this network twice as fast as ONNX Runtime on a CPU.
            name, reason = "openvino", "the fastest on a CPU; --backend names another"
    else:
        reason = "asked for"
    if name not in found:
        known = ", ".join(sorted(found)) or "none: install the package, pip install ."
        raise UsageError(f"backend {name!r} is not registered; known: {known}")
    return name, reason


def _on_gpu(device: str | None) -> bool:
    """Whether ``--device`` leaves room for a GPU of PyTorch's, or names one."""
    return device is None or device.startswith("cuda") or device[:1].isdecimal()


def default_precision(model: ModelFile) -> Precision:
    """What to run a file in unless the user says otherwise: what it was made for."""
    return next((known for known in PRECISIONS if known == model.precision), "f32")


def devices(names: str | None) -> list[str | None]:
    """The devices that ``--device`` names: several where it lists numbers (``0,1``)."""
    parts = [part.strip() for part in (names or "").split(",")]
    if not all(part.isdecimal() for part in parts):
        return [names]
    if len(set(parts)) < len(parts):
        raise UsageError(f"--device {names}: the same device twice")
    return list(parts)


def load(
    name: str, model: ModelFile, *, device: str | None, precision: Precision, threads: int
) -> Backend:
    """Load `model` on the backend `name`.

    Raises `UsageError` where its package is missing, where the file is not for that precision,
    or where another one is executed than was requested.
    """
    if precision == INT8 and model.precision != INT8:
        raise UsageError(
            f"--precision int8 needs a quantised file, which {model.path} is not; "
            "python -m converters.quantize makes one"
        )
    if precision != INT8 and model.precision == INT8:
        raise UsageError(f"{model.path} is quantised: run it with --precision int8")
    try:
        loader: Loader = available()[name].load()
        backend = loader(model, device=device, precision=precision, threads=threads)
    except ImportError as error:
        raise UsageError(
            f"backend {name}: {error}. Install its package: pip install "
            + (f"'.[{name}]'" if name in (TORCH, "onnxruntime") else error.name or name)
        ) from None
    try:
        require_precision(name, backend.facts.device, backend.facts.precision, precision)
    except UsageError:
        backend.close()
        raise
    return backend


def require_precision(name: str, device: str, executed: str, wanted: str) -> None:
    """Raise `UsageError` where a backend executes another precision than was requested."""
    if executed != wanted:
        raise UsageError(
            f"backend {name} executes {executed} on {device}, not --precision {wanted}"
        )
