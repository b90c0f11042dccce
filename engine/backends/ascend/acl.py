"""``aclruntime``: OM files on an Ascend NPU, through ais_bench's Python module.

The module executes synchronously, holds the GIL meanwhile, allocates the device memory of every
run anew and says of every failure no more than a class of it; what this means is kept in here.
Both its forms are known, that of 2023 and that of 2025 (``exec_time_list``, ``free_resource``);
its version is always 0.0.2, so that features are looked for instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.backends.ascend.common import (
    OF_DEVICE,
    OF_MEMORY,
    check_bytes,
    check_shapes,
    code_in,
    device_number,
    load_all,
    spelt,
)
from engine.backends.ascend.printed import Printed, advised, with_printed
from engine.backends.ascend.process import OutOfDeviceMemory
from engine.backends.ascend.remote import open_remote
from engine.base.choices import Precision
from engine.base.errors import BackendError, EngineError, ModelError, UsageError
from engine.base.records import Facts
from engine.network.backend import Array, Backend
from engine.network.models import ModelFile
from engine.network.om import DTYPES, CompiledFile, Interface

_QUIET = 3  # of its own log levels: warnings
# Its tensors count bytes in 32 bits.
_MAX_BYTES = 2**32 - 1
_OF_MEMORY = ("[2][ACL: memory allocation fail]", "malloc device memory data failed")


def load(model: ModelFile, *, device: str | None, precision: Precision, threads: int) -> Backend:
    """The backend ``acl``: the OM files of a model, in a device process."""
    if not model.compiled:
        raise UsageError(
            f"--backend acl runs .om files, and {model.path} is none; python -m converters.onnx2om "
            "compiles one on a host with CANN (python -m engine.doctor says what this one has)"
        )
    return open_remote(f"{__name__}:AclSession", model, device_number(device))


class AclSession:
    """Sessions of ``aclruntime``, one for each file; see
    `engine.backends.ascend.process.Session`."""

    lanes = 2  # the second one waits while the first one is executed

    def __init__(
        self, files: Sequence[CompiledFile], interface: Interface, device: int, said: Printed
    ) -> None:
        import aclruntime

        self._runtime, self._device, self._said = aclruntime, device, said
        self._waiting: dict[int, tuple[Array, ...]] = {}
        self.notes: list[str] = []
        self._loaded = load_all(
            files, interface, lambda file: _Graph(self._open(file), file, interface), self.notes
        )
        first = self._loaded[0]
        self.files = [graph.file for graph in self._loaded]
        self.dtype, self.classes = first.dtype, first.classes
        self._by_size = {
            interface.size(gear): graph for graph in self._loaded for gear in graph.file.gears
        }
        self.sizes = tuple(sorted(self._by_size))
        modern = hasattr(first.session, "free_resource")
        self.facts = Facts(
            runtime=f"aclruntime ({2025 if modern else 2023} API)",
            device=f"NPU {device}"
            + (f" ({first.file.soc_version})" if first.file.soc_version else ""),
            precision="f16",
            threads=0,
        )

    def start(self, lane: int, inputs: tuple[Array, ...]) -> None:
        self._waiting[lane] = inputs

    def finish(self, lane: int) -> tuple[NDArray[np.float32], float]:
        inputs = self._waiting.pop(lane)
        graph = self._by_size[len(inputs[0])]
        graph.choose(len(inputs[0]), inputs)
        session = graph.session
        feeds = [
            self._runtime.BaseTensor(a.__array_interface__["data"][0], a.nbytes) for a in inputs
        ]
        try:
            outputs = session.run([graph.output], feeds)
            for output in outputs:
                output.to_host()
            logits = np.array(outputs[0])
        except RuntimeError as error:
            raise translated(error, self._said(), f"a run of {len(inputs[0])}") from None
        del outputs  # its device memory is free when the objects are
        seconds = _last_seconds(session.sumary().exec_time_list)
        session.reset_sumaryinfo()  # grows without bound otherwise
        self._runtime.MemorySummary().reset()
        return logits.reshape(-1, self.classes).astype(np.float32, copy=False), seconds

    def close(self) -> None:
        for graph in self._loaded:
            if (free := getattr(graph.session, "free_resource", None)) is not None:
                free()
        self._loaded[0].session.finalize()  # of the whole process

    def _open(self, file: CompiledFile) -> Any:
        options = self._runtime.session_options()
        options.log_level = _QUIET
        try:
            return self._runtime.InferenceSession(str(file.path), self._device, options)
        except RuntimeError as error:
            trouble = translated(error, self._said(), f"loading {file.path.name}")
            if isinstance(trouble, OutOfDeviceMemory):
                raise trouble from None
            of_device = any(spelt(code) in str(trouble) for code in OF_DEVICE)
            raise ModelError(advised(trouble, "" if of_device else _LOAD_ADVICE)) from None


class _Graph:
    """A loaded file, after its description has been checked. `file`: with its gears."""

    def __init__(self, session: Any, file: CompiledFile, interface: Interface) -> None:
        self.session = session
        self._interface, self._gear = interface, 0
        inputs, outputs = session.get_inputs(), session.get_outputs()
        shapes = [tuple(desc.shape) for desc in inputs]
        cells = check_shapes(file, shapes, len(outputs), interface)
        self.dtype = str(inputs[0].datatype.name)
        types = [str(desc.datatype.name) for desc in inputs]
        if self.dtype not in DTYPES or types != interface.types(self.dtype):
            raise ModelError(f"{file.path} takes {self.dtype}; known: {', '.join(DTYPES)}")
        gears = self._gears(file, shapes[0][0])
        self.file = replace(file, gears=gears, geared=shapes[0][0] == -1)
        self.output = str(outputs[0].name)
        width = np.dtype(outputs[0].datatype.name).itemsize
        self.classes = int(outputs[0].size) // (interface.rows(gears[-1]) * width)
        largest = cells * np.dtype(self.dtype).itemsize * gears[-1]
        if inputs[0].size != largest:
            raise ModelError(f"{file.path}: input of {inputs[0].size} bytes, not {largest}")
        if largest > _MAX_BYTES:
            raise ModelError(
                f"{file.path}: an input of {largest} bytes; the runtime counts 32 bits"
            )

    def _gears(self, file: CompiledFile, first: int) -> tuple[int, ...]:
        """The sizes that it was compiled for, by what is known and what it says itself."""
        if first != -1:
            if file.gears not in ((), (first,)):
                raise ModelError(
                    f"{file.path} was compiled for {first} alone, not for "
                    f"{', '.join(map(str, file.gears))}: check --dynamic_batch_size"
                )
            return (first,)
        if not file.gears:
            raise ModelError(
                f"{file.path} has several gears, and the runtime does not tell which: give those "
                "of atc's --dynamic_batch_size as --gears 1,2,4,8"
            )
        tell = getattr(self.session, "get_max_dym_batchsize", None)
        if tell is None:  # as in 2023
            return file.gears
        try:
            largest = int(tell())
        except RuntimeError:
            largest = 0
        if largest != file.gears[-1]:
            raise ModelError(
                f"{file.path} has {largest or 'no'} as its largest gear, not {file.gears[-1]}: "
                + ("compile it with --dynamic_batch_size" if not largest else "check --gears")
            )
        return file.gears

    def choose(self, size: int, inputs: Sequence[Array]) -> None:
        """Make the graph take this size, and see that it does. The runtime rounds nothing, and
        says of a wrong size only that something failed."""
        gear = self._interface.gear(size)
        if self.file.geared and gear != self._gear:
            try:
                self.session.set_dynamic_batchsize(gear)
            except RuntimeError as error:
                what = f"{self.file.path.name}, gear {gear}"
                raise BackendError(f"{what}: {str(error).strip()}") from None
            self._gear = gear
        needed = [int(desc.realsize) for desc in self.session.get_inputs()]
        check_bytes(self.file, gear, needed, inputs)


_LOAD_ADVICE = (
    " (was it compiled for this chip, and by a CANN not newer than this one? "
    "python -m engine.doctor shows both)"
)


def translated(error: RuntimeError, printed: str, what: str) -> EngineError:
    """An error of the runtime's, in words: what it says itself is a class of failures, and the
    reason is what it printed."""
    text = " ".join(str(error).split())
    code = code_in(f"{text}\n{printed}")
    parts = [f"{what} failed: {text}"]
    if code is not None:
        parts.append(spelt(code))
    elif "please check model path" in text:
        parts.append("the runtime does not accept the file's path, owner or mode")
    elif text.startswith("[-1]"):
        parts.append("sizes and names were checked before, so the device failed")
    elif text.startswith("[1]"):
        parts.append(
            "a file that this device cannot load, a gear that was not compiled, or a "
            "context that is gone"
        )
    message = with_printed("; ".join(parts), printed)
    if code in OF_MEMORY or any(part in text for part in _OF_MEMORY):
        return OutOfDeviceMemory(message)
    return BackendError(message)


def _last_seconds(times: Sequence[Any]) -> float:
    """Seconds of the last execution: durations in ms (2023), or pairs of start and end."""
    last = times[-1]
    return float(last[1] - last[0] if isinstance(last, (tuple, list)) else last) / 1e3
