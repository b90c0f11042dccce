"""Annotation pickles, read without running anything that the file names.

Comes in: bytes of a pickle as numpy 1 or 2 writes it, protocols 2 to 5. Goes out: plain containers,
numbers, strings and numpy arrays.

``pickle.load`` executes whatever a file asks for. Here every global that a pickle may
name is on a list and maps to a function of this module that checks its arguments;
any other name ends the reading, before anything was called.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import DatasetError, shown
from engine.base.npz import check_text
from engine.sources.unpickling import Unpickler, plain_keys

_KINDS = "biufSUOcmM"  # dtypes that hold nothing but values; refused later, by sample
_CODE = 20  # characters of a dtype


def load(source: IO[bytes]) -> Any:
    """Read one pickle. Raises `DatasetError` for anything but plain data.

    The message names a refused global; the caller adds the file's name.
    """
    try:
        unpickler = _Annotations(source)
        found = unpickler.load()
        unpickler.check_extent(found)
        return found
    except DatasetError:
        raise
    except Exception as error:
        # A damaged pickle makes the unpickler raise nearly anything.
        raise DatasetError(
            f"truncated or not a pickle ({type(error).__name__}: {error!s:.120})"
        ) from None


class Constructor:
    """What a pickle gets for a global that it may name: callable, and unchangeable by it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise DatasetError("it tries to change a function")


def allowed(module: str, name: str) -> Constructor:
    """What stands for a global that a pickle names. Raises `DatasetError` for one not listed."""
    found = _ALLOWED.get((module, name))
    if found is None:
        raise DatasetError(
            f"it names {module}.{name}, which no annotation file needs. It may be an "
            "attack; nothing was executed. Allowed are numpy arrays and plain containers"
        )
    return found


class _Annotations(Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return allowed(module, name)


class Dtype:
    """A dtype in the making: numpy pickles its code first and its byte order after."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(code, str) or len(code) > _CODE:
            raise DatasetError(f"a dtype given as {shown(code)}")
        self.dtype: np.dtype[Any] = np.dtype(code)
        if self.dtype.kind not in _KINDS or self.dtype.fields or self.dtype.subdtype:
            raise DatasetError(f"an array of dtype {code!r:.40}")

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise DatasetError(f"a byte order {shown(order)}")
        if order in "<>":
            self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray[Any, np.dtype[Any]]):
    """An array whose numbers arrive after it was created."""

    def __setstate__(self, state: Any) -> None:
        version, shape, dtype, fortran, data = state
        if version != 1 or not isinstance(dtype, Dtype) or self.size:
            raise DatasetError("an array of an unknown pickle version")
        self._check(shape, dtype.dtype, data)
        state = (version, shape, dtype.dtype, bool(fortran), data)
        super().__setstate__(state)
        check_text(self)

    @staticmethod
    def _check(shape: Any, dtype: np.dtype[Any], data: Any) -> None:
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise DatasetError(f"an array of shape {shown(shape)}")
        count = 1
        for n in shape:
            count *= n
        held = len(data) if dtype.hasobject else len(data) / max(dtype.itemsize, 1)
        if isinstance(data, list) != dtype.hasobject or held != count:
            raise DatasetError(f"an array of shape {shown(shape)} with {len(data)} bytes")


_Array.__name__ = "array"  # as messages call what is none of what they need


def _reconstruct(kind: Any, shape: Any, typecode: Any) -> NDArray[Any]:
    # numpy always writes an empty array here and fills it in __setstate__.
    if kind is not _NDARRAY or shape != (0,):
        raise DatasetError("an array created in an unknown way")
    empty: NDArray[Any] = np.ndarray.__new__(_Array, (0,), np.uint8)
    return empty


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if not isinstance(data, (bytes, bytearray)) or order not in ("C", "F"):
        raise DatasetError("an array created in an unknown way")
    _Array._check(shape, dtype.dtype, data)
    flat = check_text(np.frombuffer(data, dtype.dtype))
    return np.reshape(flat, shape, order="F" if order == "F" else "C")


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if dtype.dtype.hasobject or len(data) != dtype.dtype.itemsize:
        raise DatasetError("a scalar of an unknown kind")
    return check_text(np.frombuffer(data, dtype.dtype))[0]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    # How protocol 2 spells bytes.
    if not isinstance(text, str) or encoding != "latin1":
        raise DatasetError("bytes in an unknown encoding")
    return text.encode("latin1")


def _bytes() -> bytes:
    # How protocol 2 spells empty bytes.
    return b""


def _ndarray() -> None:
    # Only ever named as an argument of _reconstruct.
    raise DatasetError("an array created in an unknown way")


def _plain(*arguments: Any) -> None:
    # Only ever named as an argument of _defaultdict.
    raise DatasetError("a container created in an unknown way")


def _set(items: Any = ()) -> set[Any]:
    return set(plain_keys(list(items)))


def _frozenset(items: Any = ()) -> frozenset[Any]:
    return frozenset(plain_keys(list(items)))


def ordered(pairs: Any = ()) -> dict[Any, Any]:
    # Python 2 gives its items here.
    items = [(key, value) for key, value in pairs]
    plain_keys([key for key, _ in items])
    return OrderedDict(items)


def _defaultdict(factory: Any = None) -> dict[Any, Any]:
    # What it would make of a missing key is of no use here, so a plain dict will do.
    known = isinstance(factory, Constructor) and factory in _FACTORIES
    if factory is not None and not known:
        raise DatasetError("a defaultdict of an unknown factory")
    return {}


_NDARRAY = Constructor(_ndarray)
_PLAIN = Constructor(_plain)  # types that opcodes make
_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): Dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): ordered,
    ("collections", "defaultdict"): _defaultdict,
    # how protocols 2 and 3 spell containers that have no opcode there
    **{
        (module, name): function
        for module in ("builtins", "__builtin__")
        for name, function in (("set", _set), ("frozenset", _frozenset))
    },
    ("builtins", "bytes"): _bytes,
    ("__builtin__", "bytes"): _bytes,
    **{
        (f"numpy.{core}.multiarray", name): function
        for core in ("core", "_core")
        for name, function in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    },
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}
_ALLOWED = {name: Constructor(function) for name, function in _FUNCTIONS.items()}
_ALLOWED["numpy", "ndarray"] = _NDARRAY
_ALLOWED |= {
    (module, kind): _PLAIN
    for module in ("builtins", "__builtin__")
    for kind in ("list", "dict", "tuple", "int", "long", "float", "str", "unicode", "bool")
}
_FACTORIES = frozenset(
    {_PLAIN, *(_ALLOWED[name] for name in _ALLOWED if name[1] in ("set", "OrderedDict"))}
)
