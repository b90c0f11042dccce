"""ONNX Runtime: any execution provider by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engine.backends import Facts, Precision
from engine.constants import CLIP_SHAPE, VIEWS
from engine.errors import BackendError, ModelError, UsageError
from engine.models import ModelFile

CPU = "CPUExecutionProvider"
# Providers that would round float32 inputs unless told not to.
_EXACT: dict[str, dict[str, Any]] = {"CUDAExecutionProvider": {"use_tf32": 0}}


class OnnxRuntimeBackend:
    """One session. A run is one sample (20 clips) where the file leaves the batch free."""

    def __init__(
        self, model: ModelFile, *, device: str | None, precision: Precision, threads: int
    ) -> None:
        provider = device or CPU
        if provider not in ort.get_available_providers():
            raise UsageError(
                f"ONNX Runtime has no provider {provider!r} here; it has "
                f"{', '.join(ort.get_available_providers())}"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(
                str(model.path), options, providers=[(provider, _EXACT.get(provider, {}))]
            )
        except Exception as error:  # its exceptions share no base class
            raise ModelError(f"ONNX Runtime cannot load {model.path}: {error}") from None
        # A provider that fails to start is replaced by the CPU without an error.
        if self._session.get_providers()[0] != provider:
            raise UsageError(f"ONNX Runtime could not start {provider}; its log says why")
        self._session.disable_fallback()
        self._input = model.input_name
        self.lanes = 1
        self.sizes = ((model.batch or 1) * VIEWS,)
        self.facts = Facts(
            runtime=f"ONNX Runtime {ort.__version__}",
            device=provider,
            precision=model.precision,  # a session computes in the types of the file
            threads=threads if provider == CPU else 0,
        )

    def start(self, lane: int, clips: NDArray[np.float32]) -> None:
        batch = clips.reshape(-1, VIEWS, *CLIP_SHAPE)
        try:
            self._logits = self._session.run(None, {self._input: batch})[0]
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed on {self.facts.device}: {error}") from None

    def finish(self, lane: int) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._logits
        return logits

    def close(self) -> None:
        del self._session
