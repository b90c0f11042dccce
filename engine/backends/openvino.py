"""OpenVINO: the embedded default on a CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from engine.backends.registry import require_precision
from engine.base.choices import INT8, SHARED, Precision
from engine.base.constants import CLIP_SHAPE, VIEWS
from engine.base.errors import BackendError, ModelError, UsageError
from engine.base.records import Facts
from engine.network.backend import Array
from engine.network.cuts import HANDED, Part
from engine.network.models import ModelFile


class OpenVINOBackend:
    """One compiled model, one request a lane.

    Where the file leaves the batch free, a run is one clip: measured faster than any
    larger batch on a CPU (activations stay in cache), and it makes the bits of a sample
    independent of its neighbours. Two threads share a stream (on two cores 5 % faster than
    a stream each, for the same reason); one lane more than streams is filled meanwhile.

    Parts are small enough for a stream to have one thread, which never waits for another one:
    8 to 14 % faster on two cores.
    """

    rows = 8  # activations of more leave the cache
    executed_s = None

    def __init__(
        self, model: ModelFile, *, device: str | None, precision: Precision, threads: int
    ) -> None:
        device = device or "CPU"
        core = ov.Core()
        if not any(
            name in (device, device.split(".")[0]) or name.split(".")[0] == device
            for name in core.available_devices
        ):
            raise UsageError(
                f"OpenVINO has no device {device!r} here, only {', '.join(core.available_devices)}"
            )
        # The precision is always stated: the CPU plugin takes bf16 by itself on chips
        # that have it.
        floats = float_precision(core, device, precision)
        settings: dict[str, object] = {"INFERENCE_PRECISION_HINT": floats}
        if device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = threads
        self.sizes: tuple[int, ...] = ()
        self.lanes = 0
        self._requests: list[ov.InferRequest] = []
        self._core, self._device, self._settings = core, device, dict(settings)
        self.values = np.dtype(np.uint16 if floats == "bf16" else np.float32)
        self.facts = Facts(
            runtime=f"OpenVINO {ov.__version__.split('-')[0]}",
            device=f"{device} ({core.get_property(device, 'FULL_DEVICE_NAME').strip()})",
            precision=precision,
            threads=threads if device == "CPU" else 0,
        )
        if model.layout == SHARED:
            return
        if device == "CPU":
            settings["NUM_STREAMS"] = max(1, threads // 2) if model.batch is None else 1
        samples, views = (1, 1) if model.batch is None else (model.batch, VIEWS)
        self.sizes = (samples * views,)
        self._shape = [samples, views, *CLIP_SHAPE]
        try:
            network = core.read_model(model.path)
            network.reshape(self._shape)
            compiled = core.compile_model(network, device, settings)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot load {model.path}: {_reason(error)}") from None
        self.lanes = int(compiled.get_property("NUM_STREAMS")) + 1
        self._requests = [compiled.create_infer_request() for _ in range(self.lanes)]
        self._clips = [np.zeros(self._shape, np.float32) for _ in range(self.lanes)]
        self.facts = replace(self.facts, precision=executed_precision(compiled))

    def part(self, part: Part) -> OpenVINOPart:
        model = self._core.read_model(part.model.SerializeToString())
        if self.values != np.float32:
            border = ov.preprocess.PrePostProcessor(model)
            for name in part.inputs.keys() & set(HANDED):
                border.input(name).tensor().set_element_type(ov.Type.bf16)
            for name in part.outputs.keys() & set(HANDED):
                border.output(f"{name}.out").tensor().set_element_type(ov.Type.bf16)
            model = border.build()
        try:
            settings = dict(self._settings)
            if self._device == "CPU":
                settings["NUM_STREAMS"] = settings["INFERENCE_NUM_THREADS"]
            compiled = self._core.compile_model(model, self._device, settings)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot load a part of it: {_reason(error)}") from None
        facts = self.facts
        require_precision("openvino", facts.device, executed_precision(compiled), facts.precision)
        return OpenVINOPart(compiled, part, self.facts.device)

    def inputs(self, lane: int, size: int) -> tuple[Array, ...]:
        return (self._clips[lane].reshape(-1, *CLIP_SHAPE),)

    def start(self, lane: int, size: int) -> None:
        try:
            self._requests[lane].set_input_tensor(_tensor(self._clips[lane]))
            self._requests[lane].start_async()
        except RuntimeError as error:
            raise self._failed(error) from None

    def finish(self, lane: int) -> NDArray[np.float32]:
        try:
            self._requests[lane].wait()
        except RuntimeError as error:
            raise self._failed(error) from None
        return np.array(self._requests[lane].get_output_tensor().data)

    def _failed(self, error: RuntimeError) -> BackendError:
        return BackendError(f"OpenVINO failed on {self.facts.device}: {_reason(error)}")

    def close(self) -> None:
        self._requests.clear()


class OpenVINOPart:
    """A part: in each stream one run under way and the next one waiting."""

    def __init__(self, compiled: ov.CompiledModel, part: Part, device: str) -> None:
        self._device = device
        self.lanes = 2 * int(compiled.get_property("NUM_STREAMS"))
        self._requests = [compiled.create_infer_request() for _ in range(self.lanes)]
        self._inputs = {name: compiled.input(name) for name in part.inputs}
        # Compilation may join tensors, whose names a port then has all of.
        self._outputs = {
            name: next(port for port in compiled.outputs if f"{name}.out" in port.get_names())
            for name in part.outputs
        }
        self._bound: dict[tuple[int, str], int] = {}

    def start(self, lane: int, inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
        request = self._requests[lane]
        for name, array in inputs.items():
            address = array.__array_interface__["data"][0]
            if self._bound.get((lane, name)) != address:
                self._bound[lane, name] = address
                request.set_tensor(self._inputs[name], _tensor(array))
        for name, array in outputs.items():
            request.set_tensor(self._outputs[name], _tensor(array))
        request.start_async()

    def finish(self, lane: int) -> None:
        try:
            self._requests[lane].wait()
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed on {self._device}: {_reason(error)}") from None


def _tensor(array: Array) -> ov.Tensor:
    """The array's memory as a tensor; numpy has no bfloat16, so uint16 stands for it."""
    if array.dtype == np.uint16:
        return ov.Tensor(array, ov.Shape(array.shape), ov.Type.bf16)
    return ov.Tensor(array, shared_memory=True)


def float_precision(core: ov.Core, device: str, precision: str) -> str:
    """What is computed in that is not quantised: a quantised file says itself what is."""
    if precision != INT8:
        return precision
    return "bf16" if "BF16" in core.get_property(device, "OPTIMIZATION_CAPABILITIES") else "f32"


def executed_precision(compiled: ov.CompiledModel) -> str:
    """The precision of the compiled graph's convolutions, as the plugin reports it."""
    found: set[str] = set()
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if info["layerType"].astype(str) == "Convolution":
            executed = info["runtimePrecision"].astype(str)
            found.add(INT8 if executed in ("i8", "u8") else executed)
    if not found:
        raise ModelError("the network has no convolutions left after compilation")
    return " and ".join(sorted(found))


def _reason(error: RuntimeError) -> str:
    """What an OpenVINO error says, less the places in its source that it lists."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return " ".join(said or lines)[:300]
