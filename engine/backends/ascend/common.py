"""What the two runtimes of an Ascend NPU share: numbers of devices, shapes, codes of errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import prod
from typing import Protocol, TypeVar

from engine.backends.ascend.printed import advised
from engine.backends.ascend.process import OutOfDeviceMemory
from engine.base.errors import BackendError, ModelError, UsageError
from engine.network.backend import Array
from engine.network.om import CompiledFile, Interface, memory_advice

MAX_DEVICE = 255
Shape = tuple[int, ...]

# Errors of ACL, and what to look at.
CODES = {
    100000: "a parameter that the device does not take",
    107001: "there is no such device; npu-smi info lists them",
    107002: "the device's context is gone",
    107004: "the model belongs to another context",
    200000: "the host has no memory left",
    207001: "the device has no memory left; npu-smi info shows whose it is",
    207018: "the device has no memory left; npu-smi info shows whose it is",
    245000: "the device has no memory left for the model; npu-smi info shows whose it is",
    507011: "the model's execution failed; compare the OM's soc_version with npu-smi info",
    507014: "an AI core timed out: a shape too large for it, or a device in trouble",
    507015: "an AI core raised an exception; npu-smi info -t health tells the device's state",
    507018: "an AI CPU raised an exception; npu-smi info -t health tells the device's state",
    507033: "the device cannot be opened; npu-smi info, and is another user's process on it?",
}
OF_DEVICE = (107001, 107002, 507033)  # whatever the file is
OF_MEMORY = (245000, 207018, 207001, 200000)  # the first of them that is found tells most


def device_number(device: str | None) -> int:
    """The number of ``--device``, 0 if it is not given. Raises `UsageError`."""
    text = (device or "0").strip()
    if not text.isdecimal() or int(text) > MAX_DEVICE:
        raise UsageError(
            f"--device {device}: an NPU is a number from 0 to {MAX_DEVICE}, the column `Device` of "
            "npu-smi info"
        )
    return int(text)


def code_in(text: str) -> int | None:
    """The error of ACL's to act on in a text that may name several: one of memory, since a smaller
    file may do, else the first that is known. None where there is none."""
    found = [int(number) for number in re.findall(r"\b\d{6}\b", text)]
    return next((code for code in (*OF_MEMORY, *found) if code in found and code in CODES), None)


def spelt(code: int) -> str:
    """An error of ACL's in words."""
    return f"ACL error {code}" + (f": {CODES[code]}" if code in CODES else "")


def check_shapes(
    file: CompiledFile, inputs: Sequence[Shape], outputs: int, interface: Interface
) -> int:
    """The cells of a sample (layout ``clips``) or a frame, after checking that a file takes what
    its interface says, and gives one output. Raises `ModelError`."""
    frames, *rest = interface.inputs(file.gears[0] if interface.tabled else -1)
    wanted = [(-1, *frames[1:]), *rest]
    found = [(-1, *shape[1:]) for shape in inputs[:1]] + list(inputs[1:])
    if outputs != 1 or found != wanted:
        expected = ", ".join(str(list(shape)).replace("-1", "N") for shape in wanted)
        bare = file.geared is None
        raise ModelError(
            f"{file.path}: {outputs} outputs, inputs of shapes {list(inputs)}; expected one "
            f"output and {expected}, layout {interface.layout}"
            + ("; python -m converters.onnx2om MODEL.onnx --describe tells otherwise" * bare)
        )
    return prod(wanted[0][1:])


def check_bytes(file: CompiledFile, gear: int, needed: list[int], inputs: Sequence[Array]) -> None:
    """Raise `BackendError` where inputs are not of the bytes that a file takes at a gear."""
    given = [array.nbytes for array in inputs]
    if needed != given:
        raise BackendError(
            f"{file.path.name} takes inputs of {needed} bytes at gear {gear}, not {given}"
        )


class Loaded(Protocol):
    """A file on the device: `dtype` of its first input, `classes` that it tells apart."""

    file: CompiledFile
    dtype: str
    classes: int


Graph = TypeVar("Graph", bound=Loaded)


def load_all(
    files: Sequence[CompiledFile],
    interface: Interface,
    load: Callable[[CompiledFile], Graph],
    notes: list[str],
) -> list[Graph]:
    """Load what the device has memory for, at least one; `notes` are told of the others. Raises
    `ModelError` where there is none, or where they are not of one network."""
    graphs: list[Graph] = []
    for file in files:
        try:
            graphs.append(load(file))
            file.content()  # what was meant is what was read
        except OutOfDeviceMemory as error:
            notes.append(advised(error, f"; going on without {file.path.name}"))
            if file is files[-1] and not graphs:
                raise ModelError(advised(error, f". {memory_advice(files, interface)}")) from None
    first = graphs[0]
    for other in graphs[1:]:
        if (other.dtype, other.classes) != (first.dtype, first.classes):
            raise ModelError(
                f"{first.file.path} and {other.file.path} are not of one network: "
                f"{first.dtype} to {first.classes} classes, {other.dtype} to {other.classes}"
            )
    return graphs
