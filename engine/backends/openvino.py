"""OpenVINO: the embedded default on a CPU."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Final

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from engine.backends.compilations import Compilations
from engine.backends.registry import require_precision
from engine.backends.static import Inputs, files_by_size
from engine.base import host, memory
from engine.base.choices import CONTEXTS, INT8, SHARED, Precision
from engine.base.errors import BackendError, ModelError, UsageError
from engine.base.records import Facts
from engine.base.version import __version__
from engine.network.backend import Array, ClipsBackend, PartsBackend, TablesBackend
from engine.network.cuts import HANDED, Part
from engine.network.models import ModelFile

log = logging.getLogger("engine")
_READ_BY_OPENVINO: Final = ("OV_", "ONEDNN_", "DNNL_")  # variables, by their first letters


def load(
    model: ModelFile, *, device: str | None, precision: Precision, threads: int
) -> ClipsBackend | PartsBackend | TablesBackend:
    """The backend ``openvino``: whole clips, parts or static graphs, as the model's layout asks
    for."""
    opened = _Device(device or "CPU", precision, threads)
    if model.form == CONTEXTS:
        return OpenVINOTables(opened, model)
    return OpenVINOParts(opened) if model.layout == SHARED else OpenVINOClips(opened, model)


class _Device:
    """A device, and what networks are compiled for it with. Raises `UsageError` where there is
    none of that name. `floats`: what is computed in that is not quantised."""

    def __init__(self, name: str, precision: Precision, threads: int) -> None:
        core = ov.Core()
        if not any(
            known in (name, name.split(".")[0]) or known.split(".")[0] == name
            for known in core.available_devices
        ):
            if not core.available_devices and memory.address_space() is not None:
                raise MemoryError  # it passes over what it cannot load
            raise UsageError(
                f"OpenVINO has no device {name!r} here, only {', '.join(core.available_devices)}"
            )
        self.core, self.name, self.threads = core, name, threads
        self.floats = float_precision(core, name, precision)
        self.facts = Facts(
            runtime=f"OpenVINO {ov.__version__.split('-')[0]}",
            device=f"{name} ({core.get_property(name, 'FULL_DEVICE_NAME').strip()})",
            precision=precision,
            threads=threads if name == "CPU" else 0,
        )
        self._compilations = Compilations(
            {
                "engine": __version__,
                "openvino": ov.__version__,
                "cpu": host.cpu_features(),
                "variables": {
                    name: value
                    for name, value in os.environ.items()
                    if name.startswith(_READ_BY_OPENVINO)
                },
            }
        )

    def compiled(
        self, network: bytes, asked: str, prepare: Callable[[ov.Model], ov.Model], streams: int
    ) -> ov.CompiledModel:
        """A network on the device; `streams` share a CPU's threads. `prepare` changes it before, in
        a way that `asked` tells from others. On a CPU it is compiled once: what OpenVINO exports
        computes the same bits. Raises `RuntimeError`."""
        # The precision is always stated: the CPU plugin takes bf16 by itself on chips
        # that have it.
        settings: dict[str, object] = {"INFERENCE_PRECISION_HINT": self.floats}

        def anew() -> ov.CompiledModel:
            model = prepare(self.core.read_model(network))
            return self.core.compile_model(model, self.name, settings)

        if self.name != "CPU":
            return anew()
        settings["INFERENCE_NUM_THREADS"] = self.threads
        settings["NUM_STREAMS"] = streams
        path = self._compilations.path(network, {"prepared": asked, **settings})
        if (kept := self._compilations.find(path)) is not None:
            try:
                return self.core.import_model(kept, self.name, settings)
            except RuntimeError as error:
                log.warning("%s: %s; compiling again", path, _reason(error))
        compiled = anew()
        exported = BytesIO()
        compiled.export_model(exported)
        self._compilations.keep(path, exported.getvalue())
        return compiled

    def failed(self, error: RuntimeError) -> BackendError:
        """What a run has failed for."""
        return BackendError(f"OpenVINO failed on {self.facts.device}: {_reason(error)}")


class OpenVINOClips:
    """Whole clips: one compiled model, one request a lane.

    Where the file leaves the batch free, a run is one clip: measured faster than any
    larger batch on a CPU (activations stay in cache), and it makes the bits of a sample
    independent of its neighbours. Two threads share a stream (on two cores 5 % faster than
    a stream each, for the same reason); one lane more than streams is filled meanwhile.
    """

    def __init__(self, device: _Device, model: ModelFile) -> None:
        self._device = device
        streams = max(1, device.threads // 2) if model.batch is None else 1
        recipe = model.recipe
        samples, views = (1, 1) if model.batch is None else (model.batch, recipe.views)
        self.sizes = (samples * views,)
        self._shape = recipe.clip_shape
        shape = [samples, views, *self._shape]
        try:

            def reshaped(network: ov.Model) -> ov.Model:
                network.reshape(shape)
                return network

            compiled = device.compiled(model.content(), f"shape {shape}", reshaped, streams)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot load {model.path}: {_reason(error)}") from None
        self.lanes = int(compiled.get_property("NUM_STREAMS")) + 1
        self._requests = [compiled.create_infer_request() for _ in range(self.lanes)]
        self._clips = [np.zeros(shape, np.float32) for _ in range(self.lanes)]
        self.facts = replace(device.facts, precision=executed_precision(compiled))

    def clips(self, lane: int, size: int) -> Array:
        return self._clips[lane].reshape(-1, *self._shape)

    def start(self, lane: int, size: int) -> None:
        try:
            self._requests[lane].set_input_tensor(_tensor(self._clips[lane]))
            self._requests[lane].start_async()
        except RuntimeError as error:
            raise self._device.failed(error) from None

    def finish(self, lane: int) -> NDArray[np.float32]:
        try:
            self._requests[lane].wait()
        except RuntimeError as error:
            raise self._device.failed(error) from None
        return np.array(self._requests[lane].get_output_tensor().data)

    def close(self) -> None:
        self._requests.clear()


class OpenVINOTables:
    """Static graphs, a request of each for every lane. A run has all threads; one lane more than
    runs are under way is filled meanwhile."""

    lanes = 2

    def __init__(self, device: _Device, model: ModelFile) -> None:
        self._device = device
        try:
            compiled = {
                size: device.compiled(content, "as it is", lambda network: network, 1)
                for size, content in files_by_size(model).items()
            }
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot load {model.path}: {_reason(error)}") from None
        self.sizes = tuple(compiled)
        self._requests = [
            {size: network.create_infer_request() for size, network in compiled.items()}
            for _ in range(self.lanes)
        ]
        self._inputs = [Inputs(model) for _ in range(self.lanes)]
        self._running = [self.sizes[0]] * self.lanes
        self.facts = replace(device.facts, precision=executed_precision(compiled[self.sizes[0]]))

    def tabled(self, lane: int, size: int) -> tuple[Array, ...]:
        return self._inputs[lane].of(size)

    def start(self, lane: int, size: int) -> None:
        request = self._requests[lane][size]
        self._running[lane] = size
        try:
            for number, array in enumerate(self._inputs[lane].of(size)):
                request.set_input_tensor(number, _tensor(array))
            request.start_async()
        except RuntimeError as error:
            raise self._device.failed(error) from None

    def finish(self, lane: int) -> NDArray[np.float32]:
        request = self._requests[lane][self._running[lane]]
        try:
            request.wait()
        except RuntimeError as error:
            raise self._device.failed(error) from None
        return np.array(request.get_output_tensor().data)

    def close(self) -> None:
        self._requests.clear()


class OpenVINOParts:
    """Parts: small enough for a stream to have one thread, which never waits for another one, 8
    to 14 % faster on two cores."""

    rows = 8  # activations of more leave the cache

    def __init__(self, device: _Device) -> None:
        self._device, self.facts = device, device.facts
        self.values = np.dtype(np.uint16 if device.floats == "bf16" else np.float32)

    def part(self, part: Part) -> OpenVINOPart:
        device = self._device
        reduced = self.values != np.float32

        def bordered(model: ov.Model) -> ov.Model:
            if not reduced:
                return model
            border = ov.preprocess.PrePostProcessor(model)
            for name in part.inputs.keys() & set(HANDED):
                if part.input_types[name] == np.float32:
                    border.input(name).tensor().set_element_type(ov.Type.bf16)
            for name in part.outputs.keys() & set(HANDED):
                if part.output_types[name] == np.float32:
                    border.output(f"{name}.out").tensor().set_element_type(ov.Type.bf16)
            return border.build()

        network = part.model.SerializeToString(deterministic=True)
        asked = f"floats of {HANDED} in bf16" if reduced else "as it is"
        try:
            compiled = device.compiled(network, asked, bordered, streams=device.threads)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot load a part of it: {_reason(error)}") from None
        facts = self.facts
        require_precision("openvino", facts.device, executed_precision(compiled), facts.precision)
        return OpenVINOPart(compiled, part, device)

    def close(self) -> None:
        """Nothing is left: parts go with who compiled them."""


class OpenVINOPart:
    """A part: in each stream one run under way and the next one waiting."""

    def __init__(self, compiled: ov.CompiledModel, part: Part, device: _Device) -> None:
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
            raise self._device.failed(error) from None


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
