"""OpenVINO: the embedded default on a CPU."""

from __future__ import annotations

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from engine.backends import Facts, Precision
from engine.constants import CLIP_SHAPE, VIEWS
from engine.errors import BackendError, ModelError, UsageError
from engine.models import ModelFile


class OpenVINOBackend:
    """One compiled model, one request a lane.

    Where the file leaves the batch free, a run is one clip: measured faster than any
    larger batch on a CPU (activations stay in cache), and it makes the bits of a sample
    independent of its neighbours. Two threads share a stream (on two cores 5 % faster than
    a stream each, for the same reason); one lane more than streams is filled meanwhile.
    """

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
        settings: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": precision,
        }
        if device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = threads
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
        self.facts = Facts(
            runtime=f"OpenVINO {ov.__version__.split('-')[0]}",
            device=f"{device} ({core.get_property(device, 'FULL_DEVICE_NAME').strip()})",
            precision=_executed_precision(compiled),
            threads=compiled.get_property("INFERENCE_NUM_THREADS") if device == "CPU" else 0,
        )

    def start(self, lane: int, clips: NDArray[np.float32]) -> None:
        try:
            tensor = ov.Tensor(clips.reshape(self._shape), shared_memory=True)
            self._requests[lane].set_input_tensor(tensor)
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


def _executed_precision(compiled: ov.CompiledModel) -> str:
    """The precision of the compiled graph's convolutions, as the plugin reports it."""
    found: set[str] = set()
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if info["layerType"].astype(str) == "Convolution":
            found.add(info["runtimePrecision"].astype(str))
    if not found:
        raise ModelError("the network has no convolutions left after compilation")
    return " and ".join(sorted(found))


def _reason(error: RuntimeError) -> str:
    """What an OpenVINO error says, less the places in its source that it lists."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return " ".join(said or lines)[:300]
