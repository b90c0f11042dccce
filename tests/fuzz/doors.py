"""All doors, by the names that the command knows."""

from __future__ import annotations

from tests.fuzz.door import Door
from tests.fuzz.files import Archives, Checkpoints, JsonLines, Networks, Pickles
from tests.fuzz.messages import Messages, Wire

DOORS: dict[str, type[Door]] = {
    "pickle": Pickles,
    "npz": Archives,
    "jsonl": JsonLines,
    "onnx": Networks,
    "pth": Checkpoints,
    "wire": Wire,
    "ws": Messages,
}
