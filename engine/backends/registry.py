"""The registry of backends: finds one by its name, or the one that suits model and device, and
loads it.

A backend is known by an entry point of the group ``engine.backends``, which names a
`engine.network.backend.Loader`: those built in, and those of other packages.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from math import prod
from pathlib import Path

from engine.base import host
from engine.base.choices import AUTO, INT8, PRECISIONS, TORCH, Precision
from engine.base.errors import UsageError
from engine.network.backend import Backend, Loader
from engine.network.models import SLOWONLY, ModelFile

GROUP = "engine.backends"
_OF_COMPILED = {"acl": "aclruntime", "pyacl": "acl"}  # and the module of each
_MOST_OF_F16 = 65504  # beyond it is infinity
NVIDIA = Path("/dev/nvidiactl")  # there where a driver for NVIDIA's GPUs is


def available() -> dict[str, EntryPoint]:
    """The registered backends by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def choose(
    name: str,
    device: str | None = None,
    *,
    compiled: bool = False,
    quantised: bool = False,
    network: str = SLOWONLY,
    static: bool = False,
) -> tuple[str, str]:
    """The backend to load for ``--backend NAME --device DEVICE``, and why; `compiled` says that
    the model is an OM, `quantised` that it is in int8, `network` what it holds, `static` that it is
    of layout ``contexts``. Raises `UsageError` where they do not go together."""
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
        elif (
            not static
            and _for_torch(device, quantised, network)
            and find_spec(TORCH)
            and NVIDIA.exists()
        ):
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


def _for_torch(device: str | None, quantised: bool, network: str) -> bool:
    """Whether ``--device`` leaves room for a GPU of PyTorch's, or names one, for a network that
    backend ``torch`` computes."""
    on_gpu = device is None or device.startswith("cuda") or device[:1].isdecimal()
    return on_gpu and not quantised and network == SLOWONLY


def default_precision(model: ModelFile) -> Precision:
    """What to run a file in unless the user says otherwise: what it was made for."""
    return next((known for known in PRECISIONS if known == model.precision), "f32")


def candidates(model: ModelFile) -> tuple[Precision, ...]:
    """The precisions that a file may be run in, the most exact one first; which of them a device
    executes shows where it is loaded. Raises `UsageError` for a quantised file of which nobody has
    measured what that costs."""
    if model.precision == INT8:
        if not model.gated:
            raise UsageError(
                f"{model.path} is quantised and does not say what that costs in accuracy, as files "
                "of python -m converters.quantize do; --precision int8 runs it all the same"
            )
        return (INT8,)
    if model.compiled:
        return (default_precision(model),)
    return ("f32", "f16", "bf16") if model.largest <= _MOST_OF_F16 else ("f32", "bf16")


def version_of(name: str) -> str:
    """Of the package of a backend's runtime, which has its name, or of the package that brings the
    backend."""
    try:
        return version(name)
    except PackageNotFoundError:
        brought = available()[name].dist
        return "unknown" if brought is None else brought.version


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
    if precision == "f16" and model.largest > _MOST_OF_F16:
        raise UsageError(
            f"{model.path} holds numbers up to {model.largest:.3g}, and --precision f16 up to "
            f"{_MOST_OF_F16}; --precision f32 runs it"
        )
    if (batch := model.batch or 0) * (clips := _nbytes(model)) > (room := host.memory_limit()):
        raise UsageError(
            f"{model.path} takes {batch} samples at once, whose clips are {batch * clips / 1e9:.0f}"
            f" GB; here are {room / 1e9:.0f} GB. Export it with a smaller batch, or leave that free"
        )
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


def _nbytes(model: ModelFile) -> int:
    """Of the clips of a sample."""
    return 4 * prod((model.recipe.views, *model.recipe.clip_shape))


def require_precision(name: str, device: str, executed: str, wanted: str) -> None:
    """Raise `UsageError` where a backend executes another precision than was requested."""
    if executed != wanted:
        raise UsageError(
            f"backend {name} executes {executed} on {device}, not --precision {wanted}"
        )
