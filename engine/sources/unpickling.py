"""Unpickling in time and memory that a file's size bounds, whatever the file asks for.

Comes in: a pickle. Goes out: the object that it builds of what `Unpickler.find_class` lets it name.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable
from typing import IO, Any, ClassVar

import numpy as np

from engine.base.errors import DatasetError, shown

_DEEPEST = 64  # containers in each other
_LONGEST = 16  # of a tuple that is a key
_KEY_BITS = 64  # of a number that is one
_SPARE = 1 << 20  # values that any file may come to


class Bounded:
    """A file that is asked for no more bytes than it has, whatever lengths are claimed.
    `left`: bytes that it had."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, start = source, source.tell()
        self._end = source.seek(0, io.SEEK_END)
        source.seek(start)
        self.left = self._end - start
        self.readline, self.tell = source.readline, source.tell

    def read(self, count: int) -> bytes:
        if count > io.DEFAULT_BUFFER_SIZE and count > self._end - self._source.tell():
            raise EOFError(f"{count} bytes are announced that are not there")
        return self._source.read(count)


_Base: Any = pickle._Unpickler  # the one in Python: its steps can be looked at, and interrupted


class Unpickler(_Base):  # type: ignore[misc]
    """Reads a pickle in time and memory that its size bounds.

    A pickle names what it has made again and again at two bytes each, so that a few of them may
    stand for more than a memory holds, or for more steps than a life has: where values are hashed,
    copied or spelt out. Keys are therefore plain, what functions are given is counted, and so is
    what the result comes to (`check_extent`). What a pickle may name, `find_class` says.
    """

    def __init__(self, source: IO[bytes], **how: Any) -> None:
        bounded = Bounded(source)
        super().__init__(bounded, **how)
        self._most = self._left = 2 * bounded.left + _SPARE

    def check_extent(self, root: Any) -> None:
        """Raise `DatasetError` where what was read, each value as often as it is named, is far more
        than the file, is nested deeply, or contains itself."""
        if _extent(root, {}, 0) > self._most:
            raise DatasetError("its values are named again so often that they are far more than it")

    def _charge(self, given: Any) -> None:
        """Count what a function is given, which it may copy."""
        if not isinstance(given, (tuple, list)):
            raise DatasetError(f"a call with a {type(given).__name__} of arguments")
        self._left -= len(given)
        for one in given:
            if isinstance(one, _SIZED):
                self._left -= len(one)
        if self._left < 0:
            raise DatasetError("it copies its values so often that they are far more than it")

    def load_bytearray8(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def load_frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(plain_keys(items)))

    def load_additems(self) -> None:
        items = self.pop_mark()
        self.stack[-1].update(plain_keys(items))

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append(dict(zip(plain_keys(items[::2]), items[1::2], strict=True)))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def load_setitems(self) -> None:
        self._set_items(self.pop_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, (list, bytearray, np.ndarray)):
            raise DatasetError(f"it sets items of a {type(target).__name__}")
        for key, value in zip(plain_keys(items[::2]), items[1::2], strict=True):
            target[key] = value

    def _instantiate(self, klass: Any, args: list[Any]) -> None:
        self._charge(args)
        super()._instantiate(klass, args)

    def load_reduce(self) -> None:
        self._charge(self.stack[-1])
        super().load_reduce()

    def load_build(self) -> None:
        state = self.stack[-1]
        self._charge(state if isinstance(state, tuple) else [state])
        super().load_build()

    def load_none_of_ours(self) -> None:
        raise DatasetError("it has buffers outside of itself")

    # which looks its methods up by opcode
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **_Base.dispatch,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.ADDITEMS[0]: load_additems,
        pickle.DICT[0]: load_dict,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.REDUCE[0]: load_reduce,
        pickle.BUILD[0]: load_build,
        # a view of an array whose memory a later opcode may exchange
        pickle.READONLY_BUFFER[0]: load_none_of_ours,
    }


_SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)
_CONTAINERS = (list, tuple, dict, set, frozenset)


def plain_keys(found: Any) -> Any:
    """The same, all of which may be keys: hashing them takes no time to speak of."""
    for key in found:
        if type(key) is not str:
            parts = key if isinstance(key, tuple) else (key,)
            if len(parts) > _LONGEST or not all(map(_is_plain, parts)):
                raise DatasetError(f"a key {shown(key)}; keys are texts and numbers")
    return found


def _is_plain(key: Any) -> bool:
    if isinstance(key, int):
        return key.bit_length() <= _KEY_BITS
    return not isinstance(key, (tuple, frozenset))


def _extent(value: Any, known: dict[int, int], depth: int) -> int:
    """How many values a container comes to where each is written as often as it is named; an array
    counts as one under a key, and by its numbers where it stands in a row, of which somebody may
    make one array. `known`: of those that were seen, 0 while they are looked at."""
    if depth > _DEEPEST:
        raise DatasetError(f"more than {_DEEPEST} containers in each other")
    objects = isinstance(value, np.ndarray) and value.dtype.hasobject
    if not isinstance(value, _CONTAINERS) and not objects:
        return 1
    if (found := known.get(id(value))) is not None:
        if not found:
            raise DatasetError("a container that contains itself")
        return found
    known[id(value)] = 0
    total, named = 1, isinstance(value, dict)
    items: Iterable[Any] = value
    if objects:
        items = value.flat
    elif isinstance(value, dict):
        items = value.values()
    for item in items:
        kind = type(item)
        if kind in _LEAVES:
            total += 1
        elif isinstance(item, np.ndarray) and not item.dtype.hasobject:
            total += 1 if named else 1 + item.size
        else:
            total += _extent(item, known, depth + 1)
    known[id(value)] = total
    return total


_LEAVES = frozenset((str, int, float, bool, bytes, type(None)))
