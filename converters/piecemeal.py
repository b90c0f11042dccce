"""Piecemeal: the annotations of a file one after the other, so that no two have to fit in memory.

Comes in: an annotation file. Goes out: each annotation, to a function, and the splits. What is read
is what `engine.sources.annotations` reads; what may be in a pickle is on the list of
`engine.sources.pickles`.

A pickle is a program that builds one object and keeps whatever it may want to name again (its
memo). Here the annotations leave that object as soon as each is complete, and only small values
that cannot change are kept to be named again: names, shapes, dtypes. A pickle that names anything
else again, such as an array that two annotations share, cannot be read so (`Irregular`).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from engine.base.errors import DatasetError, EngineError
from engine.base.files import open_whole
from engine.base.progress import ByteProgress
from engine.sources import pickles
from engine.sources.annotations import (
    Splits,
    is_annotation,
    of_root,
    parse_lines,
    read_annotations,
)
from engine.sources.unpickling import Unpickler

Take = Callable[[Any], None]
_SMALL = 4096  # bytes or characters
_ITEMS = 16  # of a tuple


class Irregular(Exception):
    """A file that has to be read as a whole. The message says why."""


def read(path: Path, take: Take) -> Splits | None:
    """Hand the annotations of `path` to `take`, in order, and return its splits.

    An ``.npz`` or a ``.json`` is read as a whole. Raises `DatasetError` that names the file, and
    `Irregular`, perhaps after some were taken.
    """
    if path.suffix.lower() not in (".pkl", ".jsonl"):
        return read_whole(path, take)
    try:
        with open_whole(path) as source, _reading(path) as progress:

            def told(annotation: Any) -> None:
                take(annotation)
                progress.update(source.tell())

            if path.suffix.lower() == ".pkl":
                return _read_pickle(source, told)
            splits: dict[str, list[str]] = {}
            for annotation in parse_lines(source, splits):
                told(annotation)
            return splits or None
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from None
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None


def read_whole(path: Path, take: Take) -> Splits | None:
    """The same with everything in memory."""
    content = read_annotations(path)
    for annotation in content.annotations:
        take(annotation)
    return content.splits


def _reading(path: Path) -> ByteProgress:
    return ByteProgress(f"reading {path.name}", path.stat().st_size)


def _read_pickle(source: IO[bytes], take: Take) -> Splits | None:
    unpickler = _Unpickler(source, take)
    try:
        root = unpickler.load()
    except (EngineError, Irregular):
        raise
    except (EOFError, pickle.UnpicklingError) as error:
        raise DatasetError(
            f"truncated or not a pickle ({type(error).__name__}: {error!s:.120})"
        ) from None
    except Exception as error:
        raise Irregular(
            f"it is not as pickle writes ({type(error).__name__}: {error!s:.120})"
        ) from None
    content = of_root(root)
    if is_annotation(root):
        take(root)
    elif content.annotations is not unpickler.annotations and (
        content.annotations or unpickler.annotations is not None
    ):
        raise Irregular("its annotations are not where they seemed to be")
    return content.splits


class _Memo(dict[int, Any]):
    """Numbered in order; of what is not small the number alone is known."""

    def __init__(self) -> None:
        self._count = 0
        self._tuples: dict[Any, Any] = {}  # one of each: shapes repeat

    def __len__(self) -> int:
        return self._count

    def __setitem__(self, number: int, value: Any) -> None:
        if number != self._count:
            raise Irregular("its memo is not numbered in order")
        self._count += 1
        if isinstance(value, tuple):
            if len(value) <= _ITEMS and all(type(part) in (int, str) for part in value):
                super().__setitem__(number, self._tuples.setdefault(value, value))
        elif isinstance(value, (str, bytes)):
            if len(value) <= _SMALL:
                super().__setitem__(number, value)
        elif isinstance(value, np.generic):
            if value.nbytes <= _SMALL:
                super().__setitem__(number, value)
        elif isinstance(value, (pickles.Constructor, pickles.Dtype)):
            super().__setitem__(number, value)

    def __missing__(self, number: int) -> Any:
        if 0 <= number < self._count:
            raise Irregular("some of its annotations share an array or another large value")
        raise KeyError(number)


class _Unpickler(Unpickler):
    """Hands over what is put into the list of annotations, which stays empty."""

    def __init__(self, source: IO[bytes], take: Take) -> None:
        super().__init__(source)
        self.memo: dict[int, Any] = _Memo()
        self._take = take
        self.annotations: list[Any] | None = None
        self._begun: list[Any] | None = None  # a stack of which items were taken already

    def find_class(self, module: str, name: str) -> Any:
        return pickles.allowed(module, name)

    def pop_mark(self) -> list[Any]:
        if self.stack is self._begun:
            raise Irregular("its list of annotations is built in an unusual way")
        items: list[Any] = super().pop_mark()
        return items

    def _is_annotations(self, frames: list[list[Any]]) -> bool:
        """Whether what is on top of stacks, the outermost first, is the list: the root itself, or
        what follows the key ``annotations`` in a root dict."""
        frame = frames[-1] if frames else []
        if len(frames) > 2 or not frame or type(frame[-1]) is not list:
            return False
        if len(frames) == len(frame) == 1:
            return True
        key = frame[-2] if len(frame) > 1 else None
        return type(key) is str and key == "annotations" and isinstance(frames[0][0], dict)

    def _hand_over(self, annotations: list[Any], items: list[Any]) -> None:
        if self.annotations is None:
            self.annotations = annotations
        if self.annotations is not annotations:
            raise Irregular("it has several lists of annotations")
        for item in items:
            self._take(item)

    def load_append(self) -> None:
        item = self.stack.pop()
        if self._is_annotations([*self.metastack, self.stack]):
            self._hand_over(self.stack[-1], [item])
        else:
            self.stack[-1].append(item)

    def load_appends(self) -> None:
        if not self._is_annotations(self.metastack):
            super().load_appends()
            return
        self._begun = None
        items = self.pop_mark()
        self._hand_over(self.stack[-1], items)

    def load_setitems(self) -> None:
        """A dict has been filled. Where it is one of a thousand annotations that are going to be
        appended together, those before it are complete."""
        super().load_setitems()
        if len(self.stack) > 1 and self._is_annotations(self.metastack):
            self._hand_over(self.metastack[-1][-1], self.stack[:-1])
            del self.stack[:-1]
            self._begun = self.stack

    # which looks its methods up by opcode
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **Unpickler.dispatch,
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
        pickle.SETITEMS[0]: load_setitems,
    }
