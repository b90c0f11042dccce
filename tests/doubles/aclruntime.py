"""A test double of the module ``aclruntime``: its rules, and real logits by ONNX Runtime.

Not an NPU. An ``.om`` of `tests.doubles.om` holds an ONNX file, which is executed on the CPU.
The rules are those of the module's source: exact byte counts, gears that must have been
compiled, the largest of them while none is chosen, tensors that are on the device until
`Tensor.to_host`, error texts of a class of failures with the reason on standard output only.

Variables: ``DOUBLE_API`` 2023 or 2025; ``DOUBLE_DEVICES``: how many there are;
``DOUBLE_MEMORY``: bytes of each, ``DOUBLE_MEMORY_CODE``: the error where they do not suffice for
a file; ``DOUBLE_FAULTS``: a folder, in which a file ``execute`` holds
what the next runs come to, a line each: ``ok``, ``fail CODE``, ``hang``, ``abort``, ``memory N``
(no memory for a first input of N bytes or more, from then on).
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

from tests.doubles import om

_MODERN = os.environ.get("DOUBLE_API", "2025") == "2025"
_DEVICES = int(os.environ.get("DOUBLE_DEVICES", "1"))
_MEMORY = int(os.environ.get("DOUBLE_MEMORY", str(21_534 << 20)))
_MEMORY_CODE = os.environ.get("DOUBLE_MEMORY_CODE", "207001")
_FAULTS = os.environ.get("DOUBLE_FAULTS")
_UINT32 = 2**32

_INVALID = "[1][ACL: invalid parameter] "
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
    def __init__(self) -> None:
        self._log_level, self._loop, self.acl_json_path = 2, 1, ""

    @property
    def log_level(self) -> int:
        return self._log_level

    @log_level.setter
    def log_level(self, value: int) -> None:
        if value not in (1, 2, 3, 4):
            raise RuntimeError("log level out of range. Please check.")
        self._log_level = value

    @property
    def loop(self) -> int:
        return self._loop

    @loop.setter
    def loop(self, value: int) -> None:
        if not 1 <= value <= 100_000:
            raise RuntimeError("loop num out of range. Please check.")
        self._loop = value


class tensor_desc:
    def __init__(self, name: str, kind: dtype, shape: list[int], size: int, realsize: int) -> None:
        self.name, self.datatype, self.format = name, kind, 2
        self.shape, self.size, self.realsize = shape, size, realsize


class BaseTensor:
    """An address and a number of bytes; keeps no reference to whose memory it is."""

    def __init__(self, buf: int, size: int) -> None:
        self.buf, self.size = buf, size


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
        if device >= _DEVICES:
            raise RuntimeError(_INVALID)
        self.device = device

    def to_host(self) -> None:
        self.device = -1

    def __array__(self, kind: Any = None, copy: bool | None = None) -> Any:
        if self.device >= 0:
            raise RuntimeError("tensor is in npu. can't convert to numpy array")
        return np.array(self._array, kind)


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
        _check_path(model_path)
        if not 0 <= device_id <= 255:
            raise RuntimeError("device id out of range. Please check.")
        if device_id >= _DEVICES:
            _print("EE1001: aclrtSetDevice failed, ret 107001")
            raise RuntimeError(_INVALID)
        self._options, self._device, self._born = options, device_id, time.monotonic()
        try:
            self._om, graph = om.read(Path(model_path))
        except ValueError as error:
            _print(f"load model from file failed, {error}, ret 100000")
            raise RuntimeError(_INVALID) from None
        self._sizes = [om.nbytes(i) for i in self._om["inputs"]]  # at the largest gear
        needed = om.WORKSPACE * self._sizes[0]
        if self._reserved.get(device_id, 0) + needed > _MEMORY:
            _print(f"aclmdlLoadFromFile failed, ret {_MEMORY_CODE}, no work memory")
            raise RuntimeError(_INVALID)
        self._reserved[device_id] = self._reserved.get(device_id, 0) + needed
        self._needed, self._gear = needed, 0
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
        self._gear = 0

    def set_dynamic_batchsize(self, size: int) -> None:
        if not 1 <= size <= 4096:
            raise RuntimeError("dynamic batchsize out of range. Please check.")
        if size not in self._om["gears"]:
            _print(f"the dynamic_batch_size {size} is not specified for model conversion")
            raise RuntimeError(_INVALID)
        self._gear = size

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
        if len(feeds) != len(descs):
            raise RuntimeError(_RUNTIME if plain else _FAILURE)
        arrays = []
        for feed, desc in zip(feeds, descs, strict=True):
            size = feed.size if plain else feed._array.nbytes
            if size != desc.realsize:
                _print(f"input {desc.name} has {size} bytes, needs {desc.realsize}")
                raise RuntimeError(_FAILURE)
            kind = np.dtype(desc.datatype.name)
            data = ctypes.string_at(feed.buf, size) if plain else feed._array.tobytes()
            shape = list(desc.shape)
            if shape[0] == -1:
                shape[0] = self._gear or max(self._om["gears"])
            arrays.append(np.frombuffer(data, kind).reshape(shape))
        _faults(arrays[0].nbytes)
        begun = time.monotonic()
        for _ in range(self._options.loop):
            start = time.monotonic()
            result = om.execute(self._graph, arrays)
            self._times.append(
                (1e3 * (start - self._born), 1e3 * (time.monotonic() - self._born))
                if _MODERN
                else 1e3 * (time.monotonic() - start)
            )
        MemorySummary.H2D_time_list.append(1e3 * (begun - start))
        if output_names != [self._om["outputs"][0]["name"]]:
            raise RuntimeError(_FAILURE)  # found out after execution
        output = Tensor(result.astype(self._om["outputs"][0]["dtype"]))
        output.to_device(self._device)
        return [output]

    def sumary(self) -> _Summary:
        return _Summary(list(self._times))

    def reset_sumaryinfo(self) -> None:
        self._times.clear()

    def set_context(self) -> None:
        pass

    def _real(self, size: int) -> int:
        gears = self._om["gears"]
        return size * (self._gear or max(gears)) // max(gears) if gears else size

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


def _check_path(text: str) -> None:
    path = Path(text)
    fits = (
        path.suffix == ".om"
        and path.is_file()
        and not path.is_symlink()
        and re.fullmatch(r"[A-Za-z0-9_./-]+", text)
        and not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )
    if _MODERN and not fits:
        _print(f"{text} is not valid")
        raise RuntimeError("please check model path")


def _faults(nbytes: int) -> None:
    """What a test wants the next run to come to."""
    if _FAULTS is None:
        return
    path = Path(_FAULTS) / "execute"
    lines = path.read_text().splitlines() if path.exists() else []
    kind, _, value = lines[0].partition(" ") if lines else ("ok", "", "")
    if kind == "memory":
        if nbytes >= int(value):
            _print("aclrtMalloc failed, ret 207001")
            raise RuntimeError(
                "copy mem to device failed! cause: malloc device memory data failed!"
            )
        return
    path.write_text("\n".join(lines[1:]))
    if kind == "fail":
        _print(f"aclmdlExecute failed, ret {value}")
        raise RuntimeError(_FAILURE)
    if kind == "abort":
        os.abort()
    if kind == "hang":
        ctypes.PyDLL(None).pause()  # holds the GIL, as the module does


_libc = ctypes.CDLL(None)


def _print(text: str) -> None:
    """As C does: into a buffer that is not flushed when standard output is a file."""
    _libc.printf(b"%s\n", f"[ERROR] {text}".encode())
