"""What the two runtimes of an Ascend NPU share: numbers of devices, shapes, codes of errors."""

from __future__ import annotations

from collections.abc import Sequence

from engine.compiled import CompiledFile
from engine.constants import CLIP_LEN, CLIP_SHAPE, JOINTS, SIZE, VIEWS
from engine.errors import ModelError, UsageError

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
OF_MEMORY = (200000, 207001, 207018, 245000)


def device_number(device: str | None) -> int:
    """The number of ``--device``, 0 if it is not given. Raises `UsageError`."""
    text = (device or "0").strip()
    if not text.isdecimal() or int(text) > MAX_DEVICE:
        raise UsageError(
            f"--device {device}: an NPU is a number from 0 to {MAX_DEVICE}, the column `Device` of "
            "npu-smi info"
        )
    return int(text)


def spelt(code: int) -> str:
    """An error of ACL's in words."""
    return f"ACL error {code}" + (f": {CODES[code]}" if code in CODES else "")


def check_shapes(
    file: CompiledFile, inputs: Sequence[Shape], outputs: int, *, clips: bool
) -> Shape:
    """The shape of a sample (layout ``clips``) or a frame, after checking that a file takes them
    and gives one output. Raises `ModelError`."""
    wanted: list[Shape] = [(VIEWS, *CLIP_SHAPE)] if clips else [(JOINTS, SIZE, SIZE), (CLIP_LEN,)]
    if outputs != 1 or [shape[1:] for shape in inputs] != wanted:
        raise ModelError(
            f"{file.path}: {outputs} outputs, inputs of shapes {list(inputs)}; expected one "
            f"output and [N, …] of {wanted}, layout {'clips' if clips else 'shared'}"
        )
    return wanted[0]
