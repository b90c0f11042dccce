"""ONNX Runtime: any execution provider by name."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engine.backends.static import Inputs, files_by_size
from engine.base.choices import CONTEXTS, SHARED, Precision
from engine.base.errors import BackendError, ModelError, UsageError
from engine.base.records import Facts
from engine.network.backend import Array, ClipsBackend, PartsBackend, TablesBackend
from engine.network.cuts import Part
from engine.network.models import ModelFile

CPU = "CPUExecutionProvider"
# Of an Ascend NPU. Unlike all others it computes in fp16 unless told not to.
CANN = "CANNExecutionProvider"
# Options of providers that would round float32 inputs unless told not to.
_EXACT = {
    "CUDAExecutionProvider": {"use_tf32": "0"},
    CANN: {"precision_mode": "must_keep_origin_dtype"},
}
TENSORRT = "TensorrtExecutionProvider"  # has no option for that, but heeds a variable
_NO_TF32 = "NVIDIA_TF32_OVERRIDE"


def load(
    model: ModelFile, *, device: str | None, precision: Precision, threads: int
) -> ClipsBackend | PartsBackend | TablesBackend:
    """The backend ``onnxruntime``: whole clips, parts or static graphs, as the model's layout asks
    for."""
    provider = _Provider(model, device or CPU, precision, threads)
    if model.form == CONTEXTS:
        return OnnxRuntimeTables(provider, model)
    return (
        OnnxRuntimeParts(provider) if model.layout == SHARED else OnnxRuntimeClips(provider, model)
    )


class _Provider:
    """An execution provider, and what sessions are opened on it with. Raises `UsageError` for one
    that is not there."""

    def __init__(self, model: ModelFile, device: str, precision: Precision, threads: int) -> None:
        provider, given = _parse(device)
        half, exact = provider == CANN and precision == "f16", _EXACT.get(provider, {})
        if both := exact.keys() & given.keys():
            raise UsageError(f"--device {device}: {', '.join(both)} follows from --precision")
        self._given = given if half else {**exact, **given}
        if provider not in ort.get_available_providers():
            raise UsageError(
                f"ONNX Runtime has no provider {provider!r} here; it has "
                f"{', '.join(ort.get_available_providers())}"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if provider == TENSORRT:
            os.environ.setdefault(_NO_TF32, "0")
        self._name, self._options = provider, options
        self.facts = Facts(
            runtime=f"ONNX Runtime {ort.__version__}",
            device=provider,
            # a session computes in the types of the file
            precision="f16" if half else model.precision,
            threads=threads if provider == CPU else 0,
        )

    def session(self, model: bytes, what: str = "a part of the model") -> ort.InferenceSession:
        """A session for a graph. `what`: as messages call it."""
        providers = [(self._name, self._given)]
        if self._name == TENSORRT:  # for what it does not compile
            providers.append(("CUDAExecutionProvider", _EXACT["CUDAExecutionProvider"]))
        try:
            session = ort.InferenceSession(model, self._options, providers=providers)
        except Exception as error:  # its exceptions share no base class
            raise ModelError(f"ONNX Runtime cannot load {what}: {error}") from None
        # A provider that fails to start is replaced by the CPU without an error.
        if session.get_providers()[0] != self._name:
            raise UsageError(f"ONNX Runtime could not start {self._name}; its log says why")
        session.disable_fallback()
        return session


class OnnxRuntimeClips:
    """Whole clips, in one session. A run is one sample (20 clips) where the file leaves the batch
    free."""

    lanes = 1

    def __init__(self, provider: _Provider, model: ModelFile) -> None:
        self.facts = provider.facts
        samples, recipe = model.batch or 1, model.recipe
        self.sizes = (samples * recipe.views,)
        self._input = model.input_name
        self._clips = np.zeros((samples, recipe.views, *recipe.clip_shape), np.float32)
        self._session = provider.session(model.content(), str(model.path))

    def clips(self, lane: int, size: int) -> Array:
        return self._clips.reshape(-1, *self._clips.shape[2:])

    def start(self, lane: int, size: int) -> None:
        try:
            self._logits = self._session.run(None, {self._input: self._clips})[0]
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed on {self.facts.device}: {error}") from None

    def finish(self, lane: int) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._logits
        return logits

    def close(self) -> None:
        self._session = None


class OnnxRuntimeTables:
    """Static graphs, each in a session of its own."""

    lanes = 1

    def __init__(self, provider: _Provider, model: ModelFile) -> None:
        self.facts = provider.facts
        self._sessions = {
            size: provider.session(content, f"{model.path} ({size} frames)")
            for size, content in files_by_size(model).items()
        }
        self.sizes = tuple(self._sessions)
        self._inputs = Inputs(model)

    def tabled(self, lane: int, size: int) -> tuple[Array, ...]:
        return self._inputs.of(size)

    def start(self, lane: int, size: int) -> None:
        session, inputs = self._sessions[size], self._inputs.of(size)
        names = [value.name for value in session.get_inputs()]
        try:
            self._logits = session.run(None, dict(zip(names, inputs, strict=True)))[0]
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed on {self.facts.device}: {error}") from None

    def finish(self, lane: int) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._logits
        return logits

    def close(self) -> None:
        self._sessions.clear()


class OnnxRuntimeParts:
    """Parts, each in a session of its own."""

    rows = 32
    values = np.dtype(np.float32)

    def __init__(self, provider: _Provider) -> None:
        self._provider, self.facts = provider, provider.facts

    def part(self, part: Part) -> OnnxRuntimePart:
        return OnnxRuntimePart(self._provider.session(part.model.SerializeToString()), part)

    def close(self) -> None:
        """Nothing is left: sessions go with their parts."""


def _parse(device: str) -> tuple[str, dict[str, str]]:
    """``PROVIDER``, or ``PROVIDER:option=value,…``. Raises `UsageError`."""
    provider, _, text = device.partition(":")
    pairs = [part.partition("=") for part in text.split(",") if part]
    if any(not (name and equals and value) for name, equals, value in pairs):
        raise UsageError(f"--device {device}: options are written PROVIDER:name=value,name=value")
    return provider, {name: value for name, _, value in pairs}


class OnnxRuntimePart:
    """A part in a session of its own."""

    lanes = 1

    def __init__(self, session: ort.InferenceSession, part: Part) -> None:
        self._session, self._names = session, [f"{name}.out" for name in part.outputs]

    def start(self, lane: int, inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
        try:
            found = self._session.run(self._names, inputs)
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed: {error}") from None
        for array, result in zip(outputs.values(), found, strict=True):
            array[:] = result

    def finish(self, lane: int) -> None:
        pass
