"""The backend ``torch``: loads a model onto a GPU, or any other device of PyTorch."""

from __future__ import annotations

import logging
from types import ModuleType

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from engine.backends.torch import plain
from engine.backends.torch.network import Network
from engine.backends.torch.steps import plan
from engine.backends.torch.waves import Capacity, Graphs, Plain
from engine.base.choices import Precision
from engine.base.constants import CLIP_LEN, CLIP_SHAPE, VIEWS
from engine.base.errors import BackendError, UsageError
from engine.base.records import Facts
from engine.network.backend import Array, Wave
from engine.network.contexts import contexts
from engine.network.models import ModelFile
from engine.skeletons.clips import ClipTensor

log = logging.getLogger("engine")

_DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# A live window, one sample, several samples. A sample has 960 rows at most.
_CAPACITIES = (Capacity(64, 64, 8), Capacity(1024, 1024, 128))
_LARGEST, _SMALLER = Capacity(4096, 8192, 1024), Capacity(2048, 2048, 256)
_LARGEST_BYTES = 4 << 30  # that the largest takes for each byte of a value


class TorchBackend:
    """One network on one device.

    `capacity`: frames, rows by level and clips of the largest wave; a wave of more samples than
    one is run on a GPU only. Whole clips are waves, too, of frames that nothing is known of.
    """

    def __init__(
        self, model: ModelFile, *, device: str | None, precision: Precision, threads: int
    ) -> None:
        if precision not in _DTYPES:
            raise UsageError(f"backend torch computes {', '.join(_DTYPES)}, not {precision}")
        self._device = _device(device)
        gpu = self._device.type == "cuda"
        if not gpu:
            torch.set_num_threads(threads)
        # PyTorch would round float32 to 10 bits of precision for its convolutions.
        torch.backends.cudnn.allow_tf32 = False
        kernels, version = _kernels(self._device)
        model.require_slowonly("--backend torch")
        model.require_recipe("--backend torch")
        steps = plan(onnx.load(str(model.path)))
        dtype = _DTYPES[precision]
        self.strides = steps.strides
        self.facts = Facts(
            runtime=f"PyTorch {torch.__version__}{version}",
            device=f"{self._device} ({_name(self._device)})",
            precision=precision,
            threads=0 if gpu else threads,
        )
        with torch.inference_mode(), self._failing():
            network = Network(steps, self._device, dtype, kernels)
            if version:
                capacities = [*_CAPACITIES, self._largest(dtype)]
                self._waves: Graphs | Plain = Graphs(network, capacities)
                self.capacity = capacities[-1].counts(steps.strides)
                samples = capacities[-1].frames // (CLIP_LEN * VIEWS)
                self.sizes: tuple[int, ...] = (1, VIEWS, samples * VIEWS)
            else:
                # Operators choose how they compute by the number of rows: a sample that is alone
                # in its wave has the same bits each time.
                self._waves = Plain(network)
                self.capacity = [0] * (len(steps.strides) + 2)
                self.sizes = (1, VIEWS)
        self.lanes = self._waves.lanes
        self._clips: list[Array | None] = [None] * self.lanes

    def start_wave(self, lane: int, wave: Wave) -> None:
        with torch.inference_mode(), self._failing():
            self._waves.start(lane, wave)

    def finish(self, lane: int) -> NDArray[np.float32]:
        with self._failing():
            return self._waves.finish(lane)

    def clips(self, lane: int, size: int) -> Array:
        clips = self._clips[lane]
        if clips is None:
            shape = (self.sizes[-1], *CLIP_SHAPE)
            pinned = self._device.type == "cuda"
            clips = self._clips[lane] = torch.zeros(shape, pin_memory=pinned).numpy()
        return clips[:size]

    def start(self, lane: int, size: int) -> None:
        self.start_wave(lane, _whole(self.clips(lane, size), self.strides))

    def close(self) -> None:
        del self._waves
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _largest(self, dtype: torch.dtype) -> Capacity:
        """The largest wave that the device's memory allows."""
        free, _ = torch.cuda.mem_get_info(self._device)
        return _LARGEST if free > _LARGEST_BYTES * dtype.itemsize else _SMALLER

    def _failing(self) -> _Failing:
        return _Failing(str(self._device))


class _Failing:
    """Makes a `BackendError` of what PyTorch raises."""

    def __init__(self, device: str) -> None:
        self._device = device

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RuntimeError) and not isinstance(error, BackendError):
            said = str(error).strip().partition("\n")[0]
            raise BackendError(f"PyTorch failed on {self._device}: {said[:300]}") from None


def _whole(clips: Array, strides: tuple[int, ...]) -> Wave:
    """Whole clips as a wave in which nothing is shared."""
    plan = np.arange(CLIP_LEN * len(clips), dtype=np.int32)
    table = contexts(plan.reshape(-1, CLIP_LEN), strides)
    order = np.ascontiguousarray(table.clips[table.inverse])
    return Wave(
        [ClipTensor(clips)],
        [0],
        len(plan),
        [np.array(level.sources) for level in table.levels],
        order,
    )


def _device(name: str | None) -> torch.device:
    """The device that ``--device`` names. Raises `UsageError`."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(f"cuda:{name}" if name.isdecimal() else name.lower())
    except RuntimeError:
        raise UsageError(f"--device {name}: PyTorch knows cuda, cuda:1, cpu, …") from None
    if device.type == "cuda" and not (device.index or 0) < torch.cuda.device_count():
        raise UsageError(f"--device {name}: PyTorch sees {torch.cuda.device_count()} GPUs here")
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        torch.cuda.set_device(device)  # where Triton starts its kernels
    return device


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "plain operators"


def _kernels(device: torch.device) -> tuple[ModuleType, str]:
    """What computes on a device, and its version where it has one."""
    if device.type != "cuda":
        return plain, ""
    try:
        import triton

        from engine.backends.torch import kernels
    except ImportError:
        log.warning(
            "Triton is not installed: the GPU runs plain operators, several times slower "
            "(pip install triton)"
        )
        return plain, ""
    return kernels, f", Triton {triton.__version__}"
