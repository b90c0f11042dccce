"""Torch checkpoints, read without torch and without executing anything.

Comes in: a ``.pth`` file of either format (the zip of torch >= 1.6, or the older sequence of
pickles). Goes out: the arrays of its ``state_dict``, which are views of the file's bytes: tensors
may share a storage, and then share its memory, however many they are.

A checkpoint is a pickle from the internet. This reader resolves no global: the few
names that describe tensors are rebuilt here, every other one becomes an inert
placeholder. A placeholder in the training log is harmless; inside ``state_dict`` it
is an error.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import DatasetError, ModelError, shown
from engine.base.files import open_whole
from engine.sources.pickles import Constructor, ordered
from engine.sources.unpickling import Unpickler

StateDict = dict[str, NDArray[Any]]

# Storage classes by name; bfloat16 has no numpy dtype and is widened after reading.
_DTYPES: dict[str, np.dtype[Any]] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_LOCAL_HEADER = 30  # bytes of it, less the name and what is extra
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


@dataclass(frozen=True)
class Checkpoint:
    """`state_dict`: {name: array}, names as stored, arrays not to be written to and perhaps with
    strides of their own; `sha256`: of the file, hex."""

    state_dict: StateDict
    sha256: str


@dataclass(frozen=True)
class _Storage:
    """Where a tensor's numbers are: dtype, key in the file, element count."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, to be resolved when the numbers are at hand."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Placeholder:
    """Stands for an object of an unknown class; takes everything, does nothing."""

    origin = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> _Placeholder:
        return self


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the ``state_dict`` of a checkpoint (or a bare state dict).

    Raises `ModelError` for a file that is missing, truncated, of another format, or
    whose state dict holds anything but tensors.
    """
    try:
        with open_whole(path) as source:
            data = source.read()
    except OSError as error:
        raise ModelError(f"checkpoint {path}: {error.strerror or error}") from None
    except MemoryError:
        raise ModelError(f"checkpoint {path}: there is not enough memory to read it") from None
    try:
        if data[:2] == b"PK":
            root, resolve = _read_zip(data)
        else:
            root, resolve = _read_legacy(data)
        state = _state_dict(root, resolve)
    except (ModelError, DatasetError) as error:
        raise ModelError(f"checkpoint {path}: {error}") from None
    except MemoryError:
        raise ModelError(
            f"checkpoint {path}: there is not enough memory to read it ({len(data)} bytes)"
        ) from None
    except Exception as error:  # malformed bytes make both readers raise nearly anything
        raise ModelError(
            f"checkpoint {path} is truncated or not a torch checkpoint "
            f"({type(error).__name__}: {error})"
        ) from None
    return Checkpoint(state, hashlib.sha256(data).hexdigest())


Resolve = Callable[[_Storage], NDArray[Any]]


class _Unpickler(Unpickler):
    """Knows how torch spells tensors; everything else is a placeholder."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "collections" and name == "OrderedDict":
            return Constructor(ordered)
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return Constructor(_rebuild_tensor)
        if module == "torch._utils" and name == "_rebuild_parameter":
            return Constructor(_rebuild_parameter)
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return name
        return type(name, (_Placeholder,), {"origin": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> _Storage:
        # ("storage", class, key, location, count[, view metadata])
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage"):
            raise ModelError("a storage is described in an unknown way")
        kind, key, count = pid[1], pid[2], pid[4]
        if len(pid) > 5 and pid[5] is not None:
            raise ModelError("views of storages (torch < 0.4) are not supported")
        if not isinstance(kind, str) or kind not in _DTYPES:
            named = shown(getattr(kind, "origin", kind))
            raise ModelError(f"storage class {named} is not supported")
        if not isinstance(key, str) or not isinstance(count, int):
            raise ModelError("a storage is described in an unknown way")
        return _Storage(kind, key, count)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *unused: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise ModelError("a tensor without a storage")
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
        raise ModelError(f"a tensor of shape {shown(shape)}, strides {shown(strides)}")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: Any, *unused: Any) -> Any:
    return data


def _load(source: IO[bytes]) -> Any:
    unpickler = _Unpickler(source, encoding="utf-8")
    found = unpickler.load()
    unpickler.check_extent(found)
    return found


def _read_zip(data: bytes) -> tuple[Any, Resolve]:
    archive = zipfile.ZipFile(io.BytesIO(data))
    index = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(index) != 1:
        raise ModelError("a zip without one data.pkl: not a torch checkpoint")
    prefix = index[0].removesuffix("data.pkl")

    def member(name: str) -> memoryview:
        # torch never compresses; a compressed member could be a bomb
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise ModelError(f"{name} is compressed; torch stores its files as they are")
        lengths = data[info.header_offset + 26 : info.header_offset + _LOCAL_HEADER]
        start = info.header_offset + _LOCAL_HEADER
        start += int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
        found = memoryview(data)[start : start + info.file_size]
        if len(found) != info.file_size or zlib.crc32(found) != info.CRC:
            raise ModelError(f"{name} is damaged: its checksum is another")
        return found

    order = f"{prefix}byteorder"
    if order in archive.namelist() and bytes(member(order)).strip() != b"little":
        raise ModelError("big-endian checkpoints are not supported")

    left = len(data)

    @cache
    def resolve(storage: _Storage) -> NDArray[Any]:
        nonlocal left
        found = member(f"{prefix}data/{storage.key}")
        left -= len(found)
        if left < 0:
            raise ModelError("its storages are larger than the file: they overlap")
        return _numbers(found, storage)

    return _load(io.BytesIO(member(index[0]))), resolve


def _read_legacy(data: bytes) -> tuple[Any, Resolve]:
    source = io.BytesIO(data)
    if _load(source) != _LEGACY_MAGIC or _load(source) != _LEGACY_PROTOCOL:
        raise ModelError("neither a zip nor torch's older format")
    system = _load(source)
    if not isinstance(system, Mapping) or system.get("little_endian") is not True:
        raise ModelError("big-endian checkpoints are not supported")
    root = _load(source)
    keys = _load(source)
    # The storages follow in the order of `keys`: an int64 count, then the numbers.
    kinds: dict[str, str] = {t.storage.key: t.storage.kind for t in _tensors(root)}
    arrays: dict[str, NDArray[Any]] = {}
    for key in keys:
        if not isinstance(key, str):
            raise ModelError("a storage is described in an unknown way")
        count = int.from_bytes(_skipped(source, data, 8), "little")
        if key not in kinds:
            raise ModelError("storages outside state_dict: cannot tell their size")
        storage = _Storage(kinds[key], key, count)
        numbers = _skipped(source, data, count * _DTYPES[storage.kind].itemsize)
        arrays[key] = _numbers(numbers, storage)
    return root, lambda storage: arrays[storage.key]


def _skipped(source: io.BytesIO, data: bytes, size: int) -> memoryview:
    """The next bytes of `source`, which reads `data`, where they are."""
    start = source.tell()
    found = memoryview(data)[start : start + size]
    if len(found) != size:
        raise ModelError(f"truncated: {size} bytes expected, {len(found)} left")
    source.seek(size, io.SEEK_CUR)
    return found


def _tensors(value: Any) -> list[_Tensor]:
    """All tensors in nested containers."""
    found: list[_Tensor] = []
    stack, seen = [value], set[int]()
    while stack:
        item = stack.pop()
        if isinstance(item, _Tensor):
            found.append(item)
        elif isinstance(item, (dict, list, tuple)) and id(item) not in seen:
            seen.add(id(item))
            stack.extend(item.values() if isinstance(item, dict) else item)
    return found


def _numbers(data: memoryview, storage: _Storage) -> NDArray[Any]:
    dtype = _DTYPES[storage.kind]
    if len(data) != storage.count * dtype.itemsize:
        raise ModelError(
            f"storage {storage.key}: {len(data)} bytes, {storage.count} numbers "
            f"of {dtype.itemsize} bytes announced"
        )
    numbers = np.frombuffer(data, dtype)
    if storage.kind == "BFloat16Storage":
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers


def _state_dict(root: Any, resolve: Resolve) -> StateDict:
    if not isinstance(root, Mapping):
        _not_tensor("the file", root)
    state = root.get("state_dict", root)
    if not isinstance(state, Mapping):
        _not_tensor("state_dict", state)
    arrays: StateDict = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            _not_tensor(f"state_dict[{name!r}]", tensor)
        if math.prod(tensor.shape) > tensor.storage.count:
            raise ModelError(f"state_dict[{name!r}] has more elements than its storage")
        base = resolve(tensor.storage)
        reach = tensor.offset + sum(
            (n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)
        )
        if 0 not in tensor.shape and reach >= base.size:
            raise ModelError(f"state_dict[{name!r}] reaches beyond its storage")
        arrays[name] = np.lib.stride_tricks.as_strided(
            base[tensor.offset :],
            tensor.shape,
            [s * base.itemsize for s in tensor.strides],
            writeable=False,
        )
    return arrays


def _not_tensor(where: str, value: Any) -> NoReturn:
    kind = type(value)
    name = getattr(value, "origin", "") or f"{kind.__module__}.{kind.__qualname__}"
    raise ModelError(
        f"{where} is a {name}, not a tensor or a dict of tensors. Nothing in this file was executed"
    )
