"""Annotation files: mmaction2's pickles and their plain equivalents.

Comes in: a path ending in ``.pkl``, ``.npz``, ``.json`` or ``.jsonl``. Goes out: the annotations in
file order and, where the file has them, its splits.

An annotation is a dict: ``frame_dir`` (identifier; older files say ``filename``),
``label`` (int), ``img_shape`` (height, width), ``total_frames`` (int), ``keypoint``
[P, T, 17, 2] pixels and ``keypoint_score`` [P, T, 17].

* ``.pkl``: a dict of ``split`` (name -> identifiers) and ``annotations`` (list), the bare list, or
  one annotation.
* ``.npz``: ``frame_dir`` [N] str, ``img_shape`` [N, 2]; optional ``label`` [N] and
  ``total_frames`` [N]; for sample i ``i/keypoint`` and ``i/keypoint_score``;
  ``split/NAME`` [n] str. Leading zeros of i do not matter. No pickled objects.
* ``.json``: the same as JSON, arrays as nested lists (null, or NaN as Python writes it: absent).
* ``.jsonl``: one such annotation a line; ``split`` (optional) lists the splits that the line
  belongs to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.base.assets import sha256_of
from engine.base.constants import JOINTS
from engine.base.errors import DatasetError, shown
from engine.base.files import open_whole
from engine.base.npz import opened_npz
from engine.skeletons.samples import Unreadable
from engine.sources import pickles
from engine.sources.json_text import parse_json

Splits = Mapping[str, list[str]]
_MARK: Final = b"\xef\xbb\xbf"  # of UTF-8, which some editors put in front


@dataclass(frozen=True)
class AnnotationFile:
    """`annotations`: dicts (or what stands in their place); `splits`: None in a bare list;
    `sha256`: of the file that they were read from, hex."""

    annotations: list[Any]
    splits: Splits | None
    sha256: str = ""


def read_annotations(path: Path) -> AnnotationFile:
    """Read an annotation file.

    It is opened once, so that its digest is that of what was read, whatever has its name by then.
    Raises `DatasetError` that names the file, for one that is missing, damaged, hostile or of
    another format, or that is written to meanwhile.
    """
    readers = {
        ".pkl": _read_pickle,
        ".npz": _read_npz,
        ".json": _read_json,
        ".jsonl": _read_jsonl,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DatasetError(
            f"{path}: annotation files end in {', '.join(readers)}; this is {path.suffix or 'none'}"
        )
    try:
        with open_whole(path) as source:
            before = _state(source)
            digest = sha256_of(source)
            source.seek(0)
            content = replace(reader(source), sha256=digest)
            if _state(source) != before:
                raise DatasetError("somebody wrote to it while it was read; run again")
            return content
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from None
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None


def _state(source: IO[bytes]) -> tuple[int, int]:
    """What is another one once somebody has written to an open file."""
    found = os.fstat(source.fileno())
    return found.st_size, found.st_mtime_ns


def _read_pickle(source: IO[bytes]) -> AnnotationFile:
    return of_root(pickles.load(source))


def of_root(root: Any) -> AnnotationFile:
    """The object that a pickle or JSON holds. Raises `DatasetError` where it is none of the three
    forms."""
    if isinstance(root, list):
        return AnnotationFile(root, None)
    if is_annotation(root):
        return AnnotationFile([root], None)
    if not isinstance(root, dict) or not isinstance(root.get("annotations"), list):
        raise DatasetError(
            "expected a list of annotations, a dict with a list `annotations`, or one annotation, "
            "a dict with `keypoint`"
        )
    splits = root.get("split")
    if splits is None:
        return AnnotationFile(root["annotations"], None)
    if not isinstance(splits, dict):
        raise DatasetError("`split` must map names to lists of identifiers")
    return AnnotationFile(
        root["annotations"], {_text(name): _identifiers(name, v) for name, v in splits.items()}
    )


def is_annotation(root: Any) -> bool:
    """Whether the object of a file is a single annotation, as scripts write one a video."""
    return isinstance(root, dict) and "keypoint" in root and "annotations" not in root


def _identifiers(name: Any, value: Any) -> list[str]:
    if not isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        kind = type(value).__name__
        raise DatasetError(f"split {shown(name)!r} is a {kind}, not a list of identifiers")
    return [_text(v) for v in value]


def _text(identifier: Any) -> str:
    """As an identifier of a split is compared; what cannot be one is absent, by what it looks
    like."""
    plain = isinstance(identifier, (str, int, np.integer))
    return str(identifier) if plain else shown(identifier, 80)


def _read_npz(source: IO[bytes]) -> AnnotationFile:
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    with opened_npz(source) as arrays:
        return _from_arrays(arrays, size)


def _from_arrays(arrays: dict[str, NDArray[Any]], size: int) -> AnnotationFile:
    """Of a file of `size` bytes."""
    for field in ("frame_dir", "img_shape"):
        if field not in arrays:
            raise DatasetError(f"no array `{field}`")
    for key, array in arrays.items():
        rows = not key.partition("/")[0].isdecimal()
        if rows and len(array) > size:  # each becomes a dict or a text, of a hundred bytes
            raise DatasetError(f"`{key}` has {len(array)} entries in a file of {size} bytes")
    count = len(arrays["frame_dir"])
    annotations: list[dict[str, Any]] = [{} for _ in range(count)]
    splits: dict[str, list[str]] = {}
    for key, array in arrays.items():
        head, _, field = key.partition("/")
        if head == "split" and field:
            splits[field] = [_text(v) for v in array]
        elif head.isdecimal() and field:
            if int(head) >= count:
                raise DatasetError(f"`{key}` belongs to no sample: `frame_dir` has {count} entries")
            annotations[int(head)][field] = array
        elif not field:
            if len(array) != count:
                raise DatasetError(f"`{key}` has {len(array)} entries, `frame_dir` {count}")
            for annotation, value in zip(annotations, array.tolist(), strict=True):
                annotation[key] = value
    return AnnotationFile(list(annotations), splits or None)


def _read_json(source: IO[bytes]) -> AnnotationFile:
    try:
        root = parse_json(source.read().removeprefix(_MARK))
    except ValueError as error:
        raise DatasetError(f"not JSON: {error}") from None
    content = of_root(root)
    return replace(content, annotations=[*map(_arrays_of, content.annotations)])


def _read_jsonl(source: IO[bytes]) -> AnnotationFile:
    splits: dict[str, list[str]] = {}
    annotations = list(parse_lines(source, splits))
    return AnnotationFile(annotations, splits or None)


def parse_lines(source: Iterable[bytes], splits: dict[str, list[str]]) -> Iterator[Any]:
    """The annotations of lines, one after the other; who belongs to what is put into `splits`."""
    key: str | None = None
    for number, line in enumerate(source, 1):
        text = line.removeprefix(_MARK).strip()
        if not text:
            continue
        try:
            annotation = parse_json(text)
        except ValueError as error:
            annotation = Unreadable(f"line {number} is not JSON: {error}")
        key = key or identifier_key([annotation])
        split = annotation.pop("split", None) if isinstance(annotation, dict) else None
        for name in split if isinstance(split, list) else [split] if split else []:
            splits.setdefault(_text(name), []).append(_text(annotation.get(key)))
        yield _arrays_of(annotation)


def _arrays_of(annotation: Any) -> Any:
    """Nested lists as arrays: null is NaN, and nobody (an empty list) keeps its frames."""
    if not isinstance(annotation, dict):
        return annotation
    for field, shape in (("keypoint", (JOINTS, 2)), ("keypoint_score", (JOINTS,))):
        value = annotation.get(field)
        frames = annotation.get("total_frames")
        if value == [] and type(frames) is int and 0 <= frames < 2**31:
            annotation[field] = np.zeros((0, frames, *shape))
        elif isinstance(value, list):
            try:
                annotation[field] = np.array(value, np.float64)
            except (ValueError, TypeError):
                continue  # said later, of this sample
    return annotation


def identifier_key(annotations: list[Any]) -> str:
    """The field that names the videos: ``filename`` where the first annotation has it."""
    first = annotations[0] if annotations else None
    return "filename" if isinstance(first, dict) and "filename" in first else "frame_dir"
