"""Bodies: how a record becomes a message and a message a record, by what the record declares.

Comes in: dataclasses, one a kind of message. Goes out: `wire.Message` and back. Reading checks the
name and type of every field and the dtype and rank of every array, so that whoever has a record
need not ask any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields as fields_of
from functools import partial
from types import UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from engine.base.errors import ModelError, WireError
from engine.runtime.transport.wire import Message, check_array

T = TypeVar("T")
Arrays = Mapping[str, tuple[Any, tuple[int | None, ...]]]
"""Dtype and shape of arrays (None: any), by name and in their order. Those that come last may be
None, where that is their default, and are left out then."""

_Reader = Callable[[Any], Any]
_NUMBER = 1 << 53  # beyond, arrays of numbers do not hold every one


class Body:
    """What a message says; subclasses are dataclasses: ``class Sent(Body, kind="sent")``.

    Fields are JSON values, other than those named in `arrays`.
    """

    kind: ClassVar[str]
    _arrays: ClassVar[Arrays]
    _least: ClassVar[int]  # arrays that cannot be left out
    _readers: ClassVar[dict[str, _Reader] | None]

    def __init_subclass__(cls, kind: str, arrays: Arrays | None = None) -> None:
        cls.kind, cls._readers = kind, None
        cls._arrays = {
            name: (dtype and np.dtype(dtype), shape)
            for name, (dtype, shape) in (arrays or {}).items()
        }
        cls._least = sum(not hasattr(cls, name) for name in cls._arrays)

    def write(self) -> Message:
        """The message. Copies no array."""
        fields = vars(self)
        if not self._arrays:
            return Message(self.kind, fields)
        arrays = tuple(a for name in self._arrays if (a := fields[name]) is not None)
        rest = {name: value for name, value in fields.items() if name not in self._arrays}
        return Message(self.kind, rest, arrays)

    @classmethod
    def read(cls, message: Message) -> Any:
        """The record, whose arrays are those of the message. Raises `WireError` for a message that
        `write` does not make."""
        if not cls._least <= len(message.arrays) <= len(cls._arrays):
            raise WireError(f"{cls.kind} with {len(message.arrays)} arrays")
        found = cls.checked(message.fields)
        for (name, (dtype, shape)), array in zip(cls._arrays.items(), message.arrays, strict=False):
            found[name] = check_array(array, name, dtype, shape)
        return cls(**found)

    @classmethod
    def checked(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of the record, of a message's. Raises `WireError`."""
        if cls._readers is None:
            cls._readers = _readers(cls, but=cls._arrays)
        try:
            return _read_all(cls._readers, fields)
        except (LookupError, TypeError, ValueError, ModelError) as error:
            raise WireError(f"{cls.kind}: {error!s:.200}") from None


def reader(hint: Any) -> _Reader:
    """What gives a JSON value as the type of `hint`, and raises `ValueError`, `TypeError` or
    `LookupError` for any other. Numbers that stand alone are not negative."""
    origin, choices = get_origin(hint), get_args(hint)
    if origin is Literal:
        known = {(type(choice), choice): choice for choice in choices}
        return lambda value: known[type(value), value]
    if origin in (UnionType, Union):  # of something and None
        read = reader(choices[0])
        return lambda value: None if value is None else read(value)
    if origin is tuple and choices[-1] is Ellipsis:
        each = reader(choices[0])
        return lambda value: tuple(each(one) for one in _of_type(list, value))
    if origin is tuple:
        return lambda value: _whole_numbers(value, len(choices))
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is dict:
        return partial(_of_type, dict)
    within = _readers(hint)
    return lambda value: hint(**_read_all(within, _of_type(dict, value)))


def _readers(record: Any, but: Arrays | tuple[()] = ()) -> dict[str, _Reader]:
    hints = get_type_hints(record)
    names = [one.name for one in fields_of(record) if one.name not in but]
    return {name: reader(hints[name]) for name in names}


def _read_all(readers: Mapping[str, _Reader], found: Mapping[str, Any]) -> dict[str, Any]:
    if len(found) != len(readers):  # a name that is missing is a `KeyError`
        raise ValueError(f"the fields {list(found)!r:.60}, not {list(readers)}")
    return {name: read(found[name]) for name, read in readers.items()}


def _of_type(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise ValueError(f"{value!r:.60}, not of type {kind.__name__}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.60}, not a whole number")
    return value


def _amount(value: Any) -> float:
    if type(value) is not float or value < 0:
        raise ValueError(f"{value!r:.60}, not an amount")
    return value


def _text(value: Any) -> str:
    return _of_type(str, value)


_PLAIN: dict[Any, _Reader] = {int: _count, float: _amount, str: _text}


def _whole_numbers(value: Any, count: int) -> tuple[int, ...]:
    if not (isinstance(value, list) and [type(n) for n in value] == [int] * count):
        raise ValueError(f"{value!r:.60}, not {count} whole numbers")
    if max(map(abs, value)) >= _NUMBER:
        raise ValueError(f"{value!r:.60}, beyond what arrays of numbers hold")
    return tuple(value)
