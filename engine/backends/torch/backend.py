"""The backend ``torch``: loads a model onto a GPU, or any other device of PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import prod
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
from engine.base.errors import BackendError, UsageError
from engine.base.recipe import Recipe
from engine.base.records import Facts
from engine.network.backend import Array, Wave
from engine.network.contexts import contexts
from engine.network.models import ModelFile
from engine.skeletons.clips import ClipTensor

log = logging.getLogger("engine")

_DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
_HELD = 10.5  # maps of all its frames, as the first step gives them, that a wave takes at most


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
        steps = plan(onnx.load_model_from_string(model.content()))
        recipe, dtype = model.recipe, _DTYPES[precision]
        self.strides = steps.strides
        self._clip_shape, views = recipe.clip_shape, recipe.views
        self.facts = Facts(
            runtime=f"PyTorch {torch.__version__}{version}",
            device=f"{self._device} ({_name(self._device)})",
            precision=precision,
            threads=0 if gpu else threads,
        )
        with torch.inference_mode(), self._failing():
            network = Network(steps, recipe, self._device, dtype, kernels)
            if version:
                capacities = self._capacities(network)
                self._waves: Graphs | Plain = Graphs(network, capacities)
                self.capacity = capacities[-1].counts(steps.strides)
                samples = capacities[-1].frames // (recipe.length * views)
                sizes = {1, views, samples * views}
            else:
                # Operators choose how they compute by the number of rows: a sample that is alone
                # in its wave has the same bits each time.
                self._waves = Plain(network)
                self.capacity = [0] * (len(steps.strides) + 2)
                sizes = {1, views}
        self.sizes = tuple(sorted(sizes))
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
            shape = (self.sizes[-1], *self._clip_shape)
            pinned = self._device.type == "cuda"
            clips = self._clips[lane] = torch.zeros(shape, pin_memory=pinned).numpy()
        return clips[:size]

    def start(self, lane: int, size: int) -> None:
        self.start_wave(lane, _whole(self.clips(lane, size), self.strides))

    def close(self) -> None:
        del self._waves
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _capacities(self, network: Network) -> list[Capacity]:
        """Of a live window, of one sample, and of the largest wave that the device's memory
        allows."""
        window, sample = least_capacities(network.recipe, network.strides)
        largest = Capacity(4 * sample.frames, 8 * sample.rows, 8 * sample.clips)
        values = _HELD * prod(network.first_shape)
        if network.stem is None:  # the canvas, and what the first step makes of it
            values += network.recipe.size**2 * network.channels + prod(network.first_shape)
        free, _ = torch.cuda.mem_get_info(self._device)
        if free < largest.frames * values * network.dtype.itemsize:
            largest = Capacity(2 * sample.frames, 2 * sample.rows, 2 * sample.clips)
        return [window, sample, largest]

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


def least_capacities(recipe: Recipe, strides: Sequence[int]) -> tuple[Capacity, Capacity]:
    """What holds any live window of a recipe, and any sample."""
    stride = prod(strides)
    rows = -(-recipe.length // stride) * stride  # of a clip, as many as `Capacity.counts` divides
    window, sample = max(64, _power(rows)), max(1024, _power(rows * recipe.views))
    return Capacity(window, window, 8), Capacity(sample, sample, max(128, _power(recipe.views)))


def _power(least: int) -> int:
    """The least power of two that is as large."""
    return 1 << (least - 1).bit_length()


def _whole(clips: Array, strides: tuple[int, ...]) -> Wave:
    """Whole clips as a wave in which nothing is shared."""
    number, _, length, *_ = clips.shape
    plan = np.arange(number * length, dtype=np.int32).reshape(number, length)
    table = contexts(plan, strides)
    order = np.ascontiguousarray(table.clips[table.inverse])
    return Wave(
        [ClipTensor(clips)],
        [0],
        plan.size,
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
