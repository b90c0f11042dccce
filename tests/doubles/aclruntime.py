"""A test double of the module ``aclruntime``: its rules, and real logits by ONNX Runtime.

Not an NPU. An ``.om`` of `tests.doubles.om` holds an ONNX file, which is executed on the CPU.
The rules are those of the module's source: exact byte counts, gears that must have been
compiled, the largest of them while none is chosen, tensors that are on the device until
`Tensor.to_host`, error texts of a class of failures with the reason on standard output only, inputs
that a failed run leaves on the device. `tests.integration.test_doubles` quotes them.

Variables: ``DOUBLE_API`` 2023 or 2025; ``DOUBLE_DEVICES``: how many there are;
``DOUBLE_MEMORY``: bytes of each, ``DOUBLE_MEMORY_CODE``: the error where they do not suffice for
a file; those of `tests.doubles.faults` and `tests.doubles.said`.
"""

from __future__ import annotations

import ctypes
import enum
import os
import re
import stat
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from tests.doubles import faults, om
from tests.doubles.said import recent_error, say

_MODERN = os.environ.get("DOUBLE_API", "2025") == "2025"
_DEVICES = int(os.environ.get("DOUBLE_DEVICES", "1"))
_MEMORY = int(os.environ.get("DOUBLE_MEMORY", str(21_534 << 20)))
_MEMORY_CODE = os.environ.get("DOUBLE_MEMORY_CODE", "207001")
_UINT32 = 2**32

_INVALID = "[1][ACL: invalid parameter] "
_NO_DEVICE = "[107001][Error code unknown] "  # ACL's own number, of which the module knows no text
_FAILURE = "[-1][ACL: general failure] "
_ALLOCATION = "[2][ACL: memory allocation fail] "
_RUNTIME = "[3][ACL: runtime failure] "


class dtype(enum.Enum):
    float32 = 0
    float16 = 1
    int8 = 2
    int32 = 3
    uint8 = 4
    int64 = 9


class session_options:
    """Takes any numbers: a session of 2025 looks at them when it is made, one of 2023 never."""

    def __init__(self) -> None:
        self.log_level, self.loop, self.acl_json_path = 2, 1, ""


class tensor_desc:
    def __init__(self, name: str, kind: dtype, shape: list[int], size: int, realsize: int) -> None:
        self.name, self.datatype, self.format = name, kind, 2
        self.shape, self.size, self.realsize = shape, size, realsize


_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.restype = ctypes.py_object
_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_address = ctypes.pythonapi.PyCapsule_GetPointer
_address.restype = ctypes.c_void_p
_address.argtypes = [ctypes.py_object, ctypes.c_char_p]


class BaseTensor:
    """An address and a number of bytes; keeps no reference to whose memory it is. It is made of a
    number, and `buf` is a capsule: a pointer to C, which Python can neither read nor add to."""

    def __init__(self, buf: int, size: int, /) -> None:
        self.address, self.size = int(buf), size

    @property
    def buf(self) -> Any:
        return _capsule(self.address, None, None) if self.address else None

    @buf.setter
    def buf(self, pointer: Any) -> None:
        if pointer is not None and type(pointer).__name__ != "PyCapsule":
            raise TypeError("incompatible function arguments")
        self.address = 0 if pointer is None else _address(pointer, None)


class Tensor:
    def __init__(self, array: Any) -> None:
        # strides are ignored, as by the module: the bytes from the first element on
        array = np.asarray(array)
        if array.nbytes >= _UINT32:
            raise RuntimeError(_ALLOCATION)
        self._array = np.frombuffer(
            ctypes.string_at(array.__array_interface__["data"][0], array.nbytes), array.dtype
        ).reshape(array.shape)
        self.device = -1

    shape = property(lambda self: list(self._array.shape))
    dtype = property(lambda self: dtype[self._array.dtype.name])

    def to_device(self, device: int) -> None:
        if not 0 <= device <= 255:
            raise RuntimeError("device id is out of range")
        if device >= _DEVICES:
            raise RuntimeError(_INVALID)
        self.device = device

    def to_host(self) -> None:
        self.device = -1

    def __array__(self, kind: Any = None, copy: bool | None = None) -> Any:
        if self.device < 0:
            return np.array(self._array, kind)
        # The buffer is refused ("tensor is in npu. can't convert to numpy array"); numpy passes
        # over that without a word and takes the tensor for a thing of no dimensions.
        alone = np.empty(1, object)
        alone[0] = self
        return alone.reshape(()) if kind is None else alone.reshape(()).astype(kind)


class MemorySummary:
    H2D_time_list: list[float] = []  # noqa: RUF012 - of the whole process, as in the module
    D2H_time_list: list[float] = []  # noqa: RUF012

    def reset(self) -> None:
        self.H2D_time_list.clear()
        self.D2H_time_list.clear()


class _Summary:
    def __init__(self, times: list[Any]) -> None:
        self.exec_time_list = times


class InferenceSession:
    _reserved: dict[int, int] = {}  # noqa: RUF012 - bytes by device, of the whole process

    def __init__(self, model_path: str, device_id: int, options: session_options, /) -> None:
        if _MODERN:
            _check(options, model_path, device_id)
        if not 0 <= device_id < _DEVICES:
            _say(f"acl open device {device_id} failed", 107001)
            raise RuntimeError(_NO_DEVICE)
        self._options, self._device, self._born = options, device_id, time.monotonic()
        try:
            self._om, graph = om.read(Path(model_path))
        except ValueError as error:
            _say(f"load model from file failed, {error}", 100000)
            raise RuntimeError(_INVALID) from None
        self._sizes = [om.nbytes(i) for i in self._om["inputs"]]  # at the largest gear
        self._needed = om.WORKSPACE * self._sizes[0]
        if not self._reserve(self._needed):  # of the runtime, and so of what loads the model
            _say("load model from file failed", *dict.fromkeys((207001, int(_MEMORY_CODE))))
            raise RuntimeError(_INVALID)
        self._gear, self._sized = 0, 0  # chosen; what `realsize` is of
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._graph = ort.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
        self._times: list[Any] = []

    def options(self) -> session_options:
        return self._options

    def get_inputs(self) -> list[tensor_desc]:
        found = []
        for number, about in enumerate(self._om["inputs"]):
            size = self._sizes[number]
            real = self._real(size) if number == 0 else size
            shape = list(about["shape"])
            if self._om["gears"] and number == 0:
                shape[0] = -1
            found.append(tensor_desc(about["name"], dtype[about["dtype"]], shape, size, real))
        return found

    def get_outputs(self) -> list[tensor_desc]:
        [about] = self._om["outputs"]
        size = om.nbytes(about)
        shape = list(about["shape"])
        if self._om["gears"] and self._om["batch_of_output"]:
            shape[0] = -1
        return [tensor_desc(about["name"], dtype[about["dtype"]], shape, size, size)]

    def set_staticbatch(self) -> None:
        self._gear = 0  # and `realsize` stays that of the gear before

    def set_dynamic_batchsize(self, size: int) -> None:
        if _MODERN and not 1 <= size <= 4096:
            raise RuntimeError("dynamic batchsize out of range. Please check.")
        if size not in self._om["gears"]:
            _say(f"the dynamic_batch_size {size} is not specified for model conversion")
            raise RuntimeError(_INVALID)
        self._gear = self._sized = size

    def set_dynamic_dims(self, text: str) -> None:
        if "::" in text:
            raise RuntimeError("the format of dynamic dims string is illegal, please check")
        raise RuntimeError(_INVALID)

    set_dynamic_shape = set_dynamic_dims

    def run(self, output_names: list[str], feeds: Any) -> list[Tensor]:
        descs = self.get_inputs()
        if isinstance(feeds, dict):
            feeds = [feeds[desc.name] for desc in descs]
        plain = all(isinstance(feed, BaseTensor) for feed in feeds)
        copied = sum(self._copied(feed.size) for feed in feeds) if plain else 0
        if len(feeds) != len(descs):
            raise RuntimeError(_RUNTIME if plain else _FAILURE)
        arrays = []
        for feed, desc in zip(feeds, descs, strict=True):
            size = feed.size if plain else feed._array.nbytes
            if size != desc.realsize:
                _say(f"input {desc.name} has {size} bytes, needs {desc.realsize}")
                raise RuntimeError(_FAILURE)
            kind = np.dtype(desc.datatype.name)
            data = ctypes.string_at(feed.address, size) if plain else feed._array.tobytes()
            shape = list(desc.shape)
            if shape[0] == -1:
                shape[0] = self._gear or max(self._om["gears"])
            if size != np.prod(shape) * kind.itemsize:  # of a gear that is no longer chosen
                _fail(100000)
            arrays.append(np.frombuffer(data, kind).reshape(shape))
        if code := faults.next_run():
            _fail(code)
        begun = time.monotonic()
        for _ in range(self._options.loop):
            start = time.monotonic()
            result = om.execute(self._graph, arrays)
            end = time.monotonic()
            self._times.append(
                (_ms(start - self._born), _ms(end - self._born)) if _MODERN else _ms(end - start)
            )
        MemorySummary.H2D_time_list.append(1e3 * (begun - start))
        if output_names != [self._om["outputs"][0]["name"]]:
            raise RuntimeError(_FAILURE)  # found out after execution
        output = Tensor(result.astype(self._om["outputs"][0]["dtype"]))
        output.to_device(self._device)
        self._reserved[self._device] -= copied  # in a run that failed, nobody gives them back
        return [output]

    def _copied(self, size: int) -> int:
        """The bytes of an input that are on the device now."""
        if not faults.no_memory(size) and self._reserve(size):
            return size
        _say("malloc of device memory failed", 207001)
        if _MODERN:
            raise RuntimeError(
                "copy mem to device failed! cause: malloc device memory data failed!"
            )
        raise RuntimeError(_FAILURE)  # the return code is taken for a size, which is a wrong one

    def _reserve(self, size: int) -> bool:
        used = self._reserved.get(self._device, 0)
        if used + size > _MEMORY:
            return False
        self._reserved[self._device] = used + size
        return True

    def sumary(self) -> _Summary:
        return _Summary(list(self._times))

    def reset_sumaryinfo(self) -> None:
        self._times.clear()

    def set_context(self) -> None:
        pass

    def _real(self, size: int) -> int:
        gears = self._om["gears"]
        return size * (self._sized or max(gears)) // max(gears) if gears else size

    def _release(self) -> None:
        self._reserved[self._device] -= self._needed
        self._needed = 0

    if _MODERN:

        def get_max_dym_batchsize(self) -> int:
            return int(max(self._om["gears"], default=0))

        def free_resource(self) -> int:
            self._release()
            return 0

        @staticmethod
        def finalize() -> int:
            return 0

    else:

        def finalize(self) -> int:
            self._release()
            return 0


def model(modelPath: str, deviceId: int = 0, options: Any = None) -> InferenceSession:
    return InferenceSession(modelPath, deviceId, options or session_options())


def _check(options: session_options, model_path: str, device: int) -> None:
    """What 2025's constructor looks at, in its order."""
    if not 1 <= options.loop <= 100_000:
        raise RuntimeError("loop num out of range. Please check.")
    if options.log_level not in (1, 2, 3, 4):
        raise RuntimeError("log level out of range. Please check.")
    path = Path(model_path)
    fits = (
        path.suffix == ".om"
        and path.is_file()
        and not path.is_symlink()
        and re.fullmatch(r"[A-Za-z0-9_./-]+", model_path)
        and not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )
    if not fits:
        _say("model path illegal, please check.")
        raise RuntimeError("please check model path")
    if not 0 <= device <= 255:
        raise RuntimeError("device id is out of range")


def _fail(code: int) -> None:
    _say("execute model failed, modelId is 1", code)
    say("[ERROR] acl execute failed:1")
    raise RuntimeError(_FAILURE)


def _say(what: str, *codes: int) -> None:
    """ACL's own text, where it is an error of ACL's, and the module's line below it."""
    if codes:
        say(f"{'[ACL ERROR] ' if _MODERN else ''}{recent_error(*codes)}")
    say(f"[ERROR] {what}")


def _ms(seconds: float) -> float:
    return float(np.float32(1e3 * seconds))
