"""A test double of the module ``acl`` (pyACL), as far as the engine calls it.

Not an NPU: "device memory" is memory of this process, and an ``.om`` of `tests.doubles.om` is
executed by ONNX Runtime. Every call returns ACL's code last. Variables as of the double of
``aclruntime``; a run starts when it is enqueued and ends when the stream is waited for.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort

from tests.doubles import faults, om

_DEVICES = int(os.environ.get("DOUBLE_DEVICES", "1"))
_MEMORY = int(os.environ.get("DOUBLE_MEMORY", str(21_534 << 20)))
_INVALID, _NO_DEVICE, _NO_CONTEXT, _NO_MEMORY = 100000, 107001, 107002, 207001
_KINDS = {"float32": 0, "float16": 1, "int32": 3}

_made: dict[int, Any] = {}  # by handle
_blocks: dict[int, Any] = {}  # device memory by address
_state: dict[str, Any] = {"device": None, "context": None, "used": 0}


def _handle(thing: Any) -> int:
    number = 1000 + len(_made)
    _made[number] = thing
    return number


def init() -> int:
    return 0


def finalize() -> int:
    return 0


def get_soc_name() -> str:
    return "Ascend310P3"


def create_data_buffer(pointer: int, size: int) -> int:
    return _handle((pointer, size))


class rt:
    @staticmethod
    def set_device(device: int) -> int:
        if device >= _DEVICES:
            return _NO_DEVICE
        _state["device"] = device
        return 0

    @staticmethod
    def create_context(device: int) -> tuple[int, int]:
        _state["context"] = _handle("context")
        return _state["context"], 0

    @staticmethod
    def create_stream() -> tuple[int, int]:
        return _handle([]), 0 if _state["context"] else _NO_CONTEXT

    @staticmethod
    def malloc(size: int, policy: int) -> tuple[int, int]:
        if _state["used"] + size > _MEMORY:
            return 0, _NO_MEMORY
        block = (ctypes.c_char * size)()
        _state["used"] += size
        address = ctypes.addressof(block)
        _blocks[address] = block
        return address, 0

    @staticmethod
    def memcpy(to: int, room: int, source: int, count: int, kind: int) -> int:
        device = to if kind == 1 else source
        block = _blocks.get(device)
        if block is None or count > room or count > len(block) or kind not in (1, 2):
            return _INVALID
        ctypes.memmove(to, source, count)
        return 0

    @staticmethod
    def synchronize_stream(stream: int) -> int:
        queue = _made[stream]
        while queue:
            if code := _run(*queue.pop(0)):
                return code
        return 0

    @staticmethod
    def destroy_stream(stream: int) -> int:
        return 0

    @staticmethod
    def destroy_context(context: int) -> int:
        return 0

    @staticmethod
    def reset_device(device: int) -> int:
        return 0


class mdl:
    @staticmethod
    def load_from_file(path: str) -> tuple[int, int]:
        try:
            about, graph = om.read(Path(path))
        except ValueError:
            return 0, _INVALID
        needed = om.WORKSPACE * om.nbytes(about["inputs"][0])
        if _state["used"] + needed > _MEMORY:
            return 0, int(os.environ.get("DOUBLE_MEMORY_CODE", _NO_MEMORY))
        _state["used"] += needed
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
        return _handle(SimpleNamespace(about=about, session=session)), 0

    @staticmethod
    def create_desc() -> int:
        return _handle(SimpleNamespace(model=None))

    @staticmethod
    def get_desc(desc: int, model: int) -> int:
        _made[desc].model = _made[model]
        return 0

    @staticmethod
    def get_num_inputs(desc: int) -> int:
        about = _made[desc].model.about
        return len(about["inputs"]) + bool(about["gears"])

    @staticmethod
    def get_num_outputs(desc: int) -> int:
        return 1

    @staticmethod
    def get_input_index_by_name(desc: int, name: str) -> tuple[int, int]:
        about = _made[desc].model.about
        if name == "ascend_mbatch_shape_data" and about["gears"]:
            return len(about["inputs"]), 0
        return 0, _INVALID

    @staticmethod
    def get_dynamic_batch(desc: int) -> tuple[dict[str, Any], int]:
        gears = _made[desc].model.about["gears"]
        return {"batchCount": len(gears), "batch": gears + [0] * (100 - len(gears))}, 0

    @staticmethod
    def get_input_dims(desc: int, index: int) -> tuple[dict[str, Any], int]:
        about = _made[desc].model.about
        shape = list(about["inputs"][index]["shape"])
        if about["gears"] and index == 0:
            shape[0] = -1
        return {"name": "", "dimCount": len(shape), "dims": shape}, 0

    @staticmethod
    def get_input_size_by_index(desc: int, index: int) -> int:
        inputs = _made[desc].model.about["inputs"]
        return om.nbytes(inputs[index]) if index < len(inputs) else 8

    @staticmethod
    def get_output_size_by_index(desc: int, index: int) -> int:
        return om.nbytes(_made[desc].model.about["outputs"][0])

    @staticmethod
    def get_input_data_type(desc: int, index: int) -> int:
        return _KINDS[_made[desc].model.about["inputs"][index]["dtype"]]

    @staticmethod
    def get_output_data_type(desc: int, index: int) -> int:
        return _KINDS[_made[desc].model.about["outputs"][0]["dtype"]]

    @staticmethod
    def create_dataset() -> int:
        return _handle(SimpleNamespace(buffers=[], gear=0))

    @staticmethod
    def add_dataset_buffer(dataset: int, buffer: int) -> tuple[int, int]:
        _made[dataset].buffers.append(_made[buffer])
        return dataset, 0

    @staticmethod
    def set_dynamic_batch_size(model: int, dataset: int, index: int, gear: int) -> int:
        about = _made[model].about
        if gear not in about["gears"] or index != len(about["inputs"]):
            return _INVALID
        _made[dataset].gear = gear
        return 0

    @staticmethod
    def execute_async(model: int, ins: int, outs: int, stream: int) -> int:
        _made[stream].append((_made[model], _made[ins], _made[outs]))
        return 0

    @staticmethod
    def unload(model: int) -> int:
        return 0

    @staticmethod
    def destroy_desc(desc: int) -> int:
        return 0


def _run(model: Any, ins: Any, outs: Any) -> int:
    about, session = model.about, model.session
    expected = len(about["inputs"]) + bool(about["gears"])
    if len(ins.buffers) != expected or len(outs.buffers) != 1:
        return _INVALID
    arrays = []
    for number, told in enumerate(about["inputs"]):
        pointer, size = ins.buffers[number]
        if size != om.nbytes(told):  # buffers are of the largest gear
            return _INVALID
        shape = list(told["shape"])
        if number == 0 and about["gears"]:
            shape[0] = ins.gear or max(about["gears"])
        kind = np.dtype(told["dtype"])
        data = np.frombuffer(ctypes.string_at(pointer, int(np.prod(shape)) * kind.itemsize), kind)
        if faults.no_memory(data.nbytes):
            return _NO_MEMORY
        arrays.append(data.reshape(shape))
    if code := faults.next_run():
        return code
    result = om.execute(session, arrays)
    ctypes.memmove(outs.buffers[0][0], np.ascontiguousarray(result).ctypes.data, result.nbytes)
    return 0
