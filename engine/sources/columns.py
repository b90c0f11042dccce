"""Columns: annotations as ``python -m converters.annotations`` writes them, read as needed.

Comes in: a folder, or an fsspec address of one. Goes out: identifiers and labels at once, anything
else of an annotation when it is asked for.

* ``shard-00000.arrow``, …: Arrow IPC files, uncompressed, a row an annotation (`SHARD`). Arrays are
  bytes in C order beside their dtype, so that they come back bit for bit. An annotation that no
  engine could score has instead what is wrong with it (``error``) and the ``stage`` that says so.
* ``samples.arrow``: what is needed before anything is scored: identifier, label, a digest of each
  row of the shards, and a column of booleans for each split.
* ``index.json``: version, sizes, where the batches are, and the SHA-256 of ``samples.arrow``, which
  vouches for everything by the digests in it: each row is held against its own when it is read.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.base.constants import JOINTS
from engine.base.errors import DatasetError, EngineError, SampleError, printable
from engine.sources.folders import INDEX, Folder, open_folder

FORMAT, VERSION = "posec3d-engine columns", 2
SAMPLES = "samples.arrow"
_DIGEST = 16  # bytes

_PLAIN = {
    "identifier": pa.string(),
    "label": pa.int64(),
    "odd_label": pa.string(),  # one that is no whole number, as messages show it
    "error": pa.string(),
    "stage": pa.string(),
    "height": pa.int64(),
    "width": pa.int64(),
    "total_frames": pa.int64(),
    "persons": pa.int64(),
    "frames": pa.int64(),
    "keypoint_dtype": pa.string(),
    "keypoint_score_dtype": pa.string(),
    "tracks": pa.bool_(),  # since version 2
}
_BYTES = {"keypoint": pa.large_binary(), "keypoint_score": pa.large_binary()}
SHARD = pa.schema(_PLAIN | _BYTES)
_SHARDS = {1: SHARD.remove(SHARD.get_field_index("tracks")), VERSION: SHARD}  # by version

Row = Mapping[str, Any]
"""A row of a shard by the columns' names: texts, whole numbers, booleans and, of the last two,
bytes."""


def samples_schema(splits: Sequence[str]) -> pa.Schema:
    """Of ``samples.arrow``."""
    head = {name: _PLAIN[name] for name in ("identifier", "label", "odd_label")}
    flags = {f"split/{name}": pa.bool_() for name in splits}
    return pa.schema({**head, "digest": pa.binary(_DIGEST), **flags})


def digest_of(row: Row) -> bytes:
    """What tells a row from any other."""
    digest = hashlib.blake2b(
        orjson.dumps([row[name] for name in _PLAIN if name in row]), digest_size=_DIGEST
    )
    for name in _BYTES:
        digest.update(row[name] or b"")  # their lengths follow from what is before
    return digest.digest()


def read_batch(buffer: Any, version: int = VERSION) -> pa.RecordBatch:
    """The batch of a range of a shard; its arrays are in the buffer. Raises nearly anything."""
    batch = pa.ipc.read_record_batch(pa.py_buffer(buffer), _SHARDS[version])
    batch.validate(full=True)  # that its offsets do not lead out of it
    return batch


def row_of(batch: pa.RecordBatch, number: int) -> Row:
    """A row of a batch. Raises nearly anything, for a damaged one."""
    row = {name: batch[name][number].as_py() for name in _PLAIN if name in batch.schema.names}
    return row | {name: batch[name][number].as_buffer() for name in _BYTES}


@dataclass(frozen=True)
class Shard:
    """`batches`: (first byte, bytes, rows) of each."""

    file: str
    bytes: int
    sha256: str
    batches: list[tuple[int, int, int]]


@dataclass(frozen=True)
class Index:
    """What ``index.json`` says. `samples`: bytes and SHA-256 of ``samples.arrow``. `distinct`: no
    identifier is missing or there twice. `splits`: their sizes; None without any. `absent`: by
    split, the names in it that no annotation has."""

    samples: tuple[int, str]
    distinct: bool
    splits: dict[str, int] | None
    shards: list[Shard]
    absent: dict[str, list[str]] = field(default_factory=dict)
    version: int = VERSION

    def dumped(self) -> bytes:
        about = {"format": FORMAT, **asdict(self)}
        return orjson.dumps(about, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def parsed(cls, data: bytes) -> Index:
        """Raises `DatasetError` for another version, and nearly anything for another file."""
        about = orjson.loads(data)
        form, version = about.pop("format"), about["version"]
        if form != FORMAT:
            raise ValueError("another format")
        if version not in _SHARDS:
            raise DatasetError(f"is of version {version!s:.20}; this engine reads 1 to {VERSION}")
        shards = [Shard(**shard) for shard in about.pop("shards")]
        for number, shard in enumerate(shards):
            if shard.file != shard_name(number):
                raise ValueError(f"shard {number} is {shard.file!r:.40}")
            for start, length, rows in shard.batches:
                if not (start >= 0 and 0 < length <= shard.bytes - start and rows > 0):
                    raise ValueError(f"a batch beyond {shard.file}")
        return cls(shards=shards, **about)


def shard_name(number: int) -> str:
    return f"shard-{number:05d}.arrow"


class Columns:
    """An opened folder.

    Raises `DatasetError` for one that is missing, damaged, incomplete or of another version.
    """

    def __init__(self, address: str) -> None:
        self._folder: Folder = open_folder(address)
        again = "Copy it anew, or convert the annotations again"
        try:
            [size] = self._folder.sizes([INDEX])
            self._index = Index.parsed(bytes(self._folder.read(INDEX, 0, size)))
            self._table = self._samples()
        except DatasetError as error:
            raise DatasetError(f"{self._folder.name}/{INDEX} {error}. {again}") from None
        except FileNotFoundError as error:
            raise DatasetError(
                f"{self._folder.name} lacks {str(error.filename or error).rpartition('/')[2]}; "
                "`python -m converters.annotations` writes folders that can be read; "
                "docs/data.md lists those of other programs"
            ) from None
        except Exception as error:  # network, or what damage provokes
            raise DatasetError(
                f"{self._folder.name} cannot be read ({type(error).__name__}: {printable(error)}). "
                f"{again}"
            ) from None
        batches = [(s.file, *batch) for s in self._index.shards for batch in s.batches]
        self._places = [(file, start, length) for file, start, length, _ in batches]
        self._firsts = list(accumulate((rows for *_, rows in batches), initial=0))
        self._kept: tuple[int, pa.RecordBatch] | None = None

    def _samples(self) -> pa.Table:
        """Of what size and content the index says."""
        size, sha256 = self._index.samples
        files = {SAMPLES: size, **{shard.file: shard.bytes for shard in self._index.shards}}
        found = self._folder.sizes(list(files))
        for (file, expected), bytes_ in zip(files.items(), found, strict=True):
            if bytes_ != expected:
                raise DatasetError(f"says {expected} bytes of {file}, which has {bytes_}")
        content = bytes(self._folder.read(SAMPLES, 0, size))  # what is checked is what is used
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DatasetError(f"has another checksum than {SAMPLES}")
        table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content))).read_all()
        table.validate(full=True)
        rows = sum(rows for shard in self._index.shards for _, _, rows in shard.batches)
        if table.schema != samples_schema(self.splits or []) or table.num_rows != rows:
            raise DatasetError(f"does not describe {SAMPLES}")
        return table

    @property
    def splits(self) -> list[str] | None:
        """Names; None where the annotations had none."""
        return None if self._index.splits is None else list(self._index.splits)

    def absent(self, split: str) -> list[str]:
        """Names of a split that no annotation has."""
        return self._index.absent.get(split, [])

    @property
    def digest(self) -> str:
        """What tells these annotations and splits from others, hex."""
        return self._index.samples[1]

    @property
    def distinct(self) -> bool:
        """Whether every row has an identifier of its own."""
        return self._index.distinct

    def rows(self, split: str | None) -> NDArray[np.int64]:
        """Those of a split, and those without identifier, which belong to none; None: all."""
        if split is None:
            return np.arange(self._table.num_rows)
        member = pc.or_(self._table[f"split/{split}"], pc.is_null(self._table["identifier"]))
        return np.flatnonzero(member.to_numpy())

    def identifiers(self, rows: NDArray[np.int64]) -> list[str | None]:
        """Of rows."""
        found: list[str | None] = self._table["identifier"].take(rows).to_pylist()
        return found

    def value(self, name: str, row: int) -> Any:
        """One that ``samples.arrow`` has."""
        return self._table[name][row].as_py()

    def annotation(self, row: int) -> StoredAnnotation:
        """One that reads itself."""
        return StoredAnnotation(self, row)

    def fields(self, row: int) -> dict[str, Any]:
        """What an annotation has beside identifier and label. Raises `SampleError` for one that
        cannot be scored or was damaged, `EngineError` where a place elsewhere is out of reach."""
        number = bisect_right(self._firsts, row) - 1
        file, start, length = self._places[number]
        try:
            kept = self._kept
            if kept is None or kept[0] != number:
                content = self._read(file, start, length)
                self._kept = kept = number, read_batch(content, self._index.version)
            found = row_of(kept[1], row - self._firsts[number])
            if digest_of(found) != self.value("digest", row):
                raise ValueError("another checksum")
            return fields_of(found)
        except EngineError:
            raise
        except Exception as error:  # damage provokes nearly anything
            raise SampleError(
                f"{self._folder.name}/{file} is damaged ({printable(error):.200}); copy it anew, "
                "or convert the annotations again",
                stage="read",
            ) from None

    def _read(self, file: str, start: int, length: int) -> bytes | memoryview:
        try:
            return self._folder.read(file, start, length)
        except Exception as error:  # each kind of place has its own
            raise EngineError(
                f"{self._folder.name}/{file} cannot be read any more ({type(error).__name__}: "
                f"{printable(error)})"
            ) from None


def fields_of(row: Row) -> dict[str, Any]:
    """A row as an annotation has it; arrays are copies. Raises `SampleError` where there is an
    ``error``, `ValueError` or `TypeError` where its numbers do not go together."""
    if row["error"] is not None:
        raise SampleError(row["error"], stage=row["stage"])
    shape = row["persons"], row["frames"], JOINTS
    score = None
    if row["keypoint_score"] is not None:
        score = _array(row["keypoint_score"], row["keypoint_score_dtype"], shape)
    return {
        "img_shape": (row["height"], row["width"]),
        "total_frames": row["total_frames"],
        "keypoint": _array(row["keypoint"], row["keypoint_dtype"], (*shape, 2)),
        "keypoint_score": score,
        "tracks": row.get("tracks"),
    }


def _array(data: Any, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    kind = np.dtype(dtype)
    if kind.kind not in "fiu":
        raise ValueError(f"an array of dtype {dtype:.40}")
    return np.ndarray(shape, kind, data).copy()


class StoredAnnotation(Mapping[str, Any]):
    """An annotation of columns: identifier and label are at hand, its arrays in a file."""

    def __init__(self, columns: Columns, row: int) -> None:
        self._columns, self._row = columns, row

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return self._columns.fields(self._row)

    def __getitem__(self, key: str) -> Any:
        if key == "frame_dir":
            return self._columns.value("identifier", self._row)
        if key == "label":
            label = self._columns.value("label", self._row)
            return self._columns.value("odd_label", self._row) if label is None else label
        if key == "filename":
            raise KeyError(key)  # never one of columns
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        yield from ("frame_dir", "label", *self._fields)

    def __len__(self) -> int:
        return 2 + len(self._fields)
