"""Shards: annotations into the files that `engine.sources.columns` reads.

Comes in: annotations, one after the other, and splits. Goes out: a folder.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine.base.assets import file_sha256
from engine.base.errors import OutputError, SampleError, printable, shown
from engine.base.notes import NoteCounts
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import Sample
from engine.sources.annotations import Splits, identifier_key
from engine.sources.columns import (
    SAMPLES,
    SHARD,
    Index,
    Row,
    Shard,
    digest_of,
    read_batch,
    row_of,
    samples_schema,
    shard_name,
)
from engine.sources.dataset import identifier
from engine.sources.folders import INDEX, LocalFolder

_BATCH_BYTES, _BATCH_ROWS = 4 << 20, 1024  # about what is read for one annotation elsewhere
_SAMPLES_ROWS = 1 << 14  # in a batch of samples.arrow


def checked(annotation: Any, key: str) -> tuple[Row, PoseSequence | None]:
    """An annotation as a row, and its poses as they are written; or a row with what is wrong with
    it, and None. Raises nothing."""
    sample = Sample(0, "", annotation)
    row: dict[str, Any] = dict.fromkeys(SHARD.names)
    row |= {"identifier": identifier(annotation, key), "label": sample.label}
    try:
        if isinstance(annotation, Mapping):
            if sample.label is None and annotation.get("label") is not None:
                row["odd_label"] = _spelt(annotation["label"])
            # whether there is such a class depends on the model
            sample = Sample(0, "", {**annotation, "label": None})
        poses = sample.written(0)
    except SampleError as error:
        return row | {"error": printable(error), "stage": error.stage}, None
    except Exception as error:  # whatever else an annotation provokes
        said = printable(f"{type(error).__name__}: {error}")
        return row | {"error": said, "stage": "read"}, None
    persons, frames = poses.keypoint.shape[:2]
    height, width = poses.img_shape
    row |= {"height": height, "width": width, "total_frames": poses.total_frames}
    row |= {"persons": persons, "frames": frames, "tracks": sample.tracks}
    for name, values in (("keypoint", poses.keypoint), ("keypoint_score", poses.keypoint_score)):
        if values is not None:
            row |= {name: values.tobytes(), f"{name}_dtype": values.dtype.str}
    return row, poses


def _spelt(label: Any) -> str:
    """As messages show a label or a name."""
    return shown(label).encode("utf-8", "backslashreplace").decode()


class ShardWriter:
    """Writes shards into an empty folder, each of `shard_bytes` or a little more.

    `failed` counts annotations that cannot be scored, `notes` what is decided about the others.
    Numbers are stored as they are written, so that the decision is the run's. Raises
    `OutputError`.
    """

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self._folder, self._limit = folder, shard_bytes
        self._key: str | None = None
        self._rows: list[Row] = []
        self._bytes = 0
        self._sink: Any = None
        self._writer: Any = None
        self._batches: list[tuple[int, int, int]] = []
        self.shards: list[Shard] = []
        self.digests = bytearray()  # of all rows
        self.count = self.failed = 0
        self.notes = NoteCounts()
        self._names = array("q")  # hashes of identifiers
        self._unnamed = False

    def take(self, annotation: Any) -> None:
        """The next annotation."""
        self._key = self._key or identifier_key([annotation])
        row, poses = checked(annotation, self._key)
        self.count += 1
        try:
            self.failed += poses is None
            self.notes.add(() if poses is None else poses.plausible().notes, str(row["identifier"]))
        except SampleError:
            self.failed += 1
        self.digests += digest_of(row)
        if row["identifier"] is None:
            self._unnamed = True
        else:
            self._names.append(hash(row["identifier"]))
        self._rows.append(row)
        self._bytes += len(row["keypoint"] or b"") + len(row["keypoint_score"] or b"")
        if self._bytes >= min(_BATCH_BYTES, self._limit) or len(self._rows) >= _BATCH_ROWS:
            self._flush()

    @property
    def distinct(self) -> bool:
        """Whether each has an identifier of its own, so far as hashes tell."""
        return not self._unnamed and len(np.unique(self._names)) == self.count

    def finish(self) -> None:
        """All were taken."""
        if self._rows:
            self._flush()
        self._close()

    def _flush(self) -> None:
        columns = [pa.array([row[field.name] for row in self._rows], field.type) for field in SHARD]
        batch = pa.record_batch(columns, schema=SHARD)
        if self._sink is None:
            self._sink = pa.OSFile(str(self._folder / shard_name(len(self.shards))), "wb")
            self._writer = pa.ipc.new_file(self._sink, SHARD)
        self._writer.write_batch(batch)
        length = pa.ipc.get_record_batch_size(batch)
        self._batches.append((self._sink.tell() - length, length, len(self._rows)))
        self._rows, self._bytes = [], 0
        if self._sink.tell() >= self._limit:
            self._close()

    def _close(self) -> None:
        if self._sink is None:
            return
        self._writer.close()
        self._sink.close()
        file = shard_name(len(self.shards))
        path = self._folder / file
        self.shards.append(Shard(file, path.stat().st_size, file_sha256(path), self._batches))
        self._sink, self._batches = None, []


def seal(
    folder: Path, writer: ShardWriter, splits: Splits | None, told: Callable[[int], None]
) -> list[str]:
    """Read every row back, hold it against what was written, and write ``samples.arrow`` and
    ``index.json`` from what was read. `told` gets the number of rows so far. Returns the names in
    splits that no annotation has. Raises `OutputError` where the files do not have what was
    written."""
    named = {
        name.encode("utf-8", "backslashreplace").decode(): dict.fromkeys(ids)
        for name, ids in (splits or {}).items()
    }
    absent = {name: dict(ids) for name, ids in named.items()}
    schema = samples_schema(list(named))
    sizes = Counter(dict.fromkeys(named, 0))
    content, done = LocalFolder(folder), 0
    waiting: list[list[Any]] = []
    path = folder / SAMPLES
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as table:

        def write() -> None:
            columns = zip(*waiting, strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
            table.write_batch(pa.record_batch(arrays, schema=schema))
            waiting.clear()

        for shard in writer.shards:
            for start, length, rows in shard.batches:
                batch = read_batch(content.read(shard.file, start, length))
                for number in range(rows):
                    row = row_of(batch, number)
                    digest = digest_of(row)
                    if digest != writer.digests[done * len(digest) : (done + 1) * len(digest)]:
                        raise OutputError(
                            f"{folder / shard.file} does not have what was written to it "
                            f"(annotation {done}); is the disk sound?"
                        )
                    name = row["identifier"]
                    flags = [name in ids for ids in named.values()]
                    for ids in absent.values():
                        ids.pop(name, None)
                    sizes.update(split for split, flag in zip(named, flags, strict=True) if flag)
                    waiting.append([name, row["label"], row["odd_label"], digest, *flags])
                    done += 1
                    told(done)
                    if len(waiting) == _SAMPLES_ROWS:
                        write()
        if waiting:
            write()
    about = path.stat().st_size, file_sha256(path)
    left = {split: [*map(_spelt, ids)] for split, ids in absent.items() if ids}
    known = None if splits is None else dict(sizes)
    index = Index(about, writer.distinct, known, writer.shards, left)
    (folder / INDEX).write_bytes(index.dumped())
    return [*dict.fromkeys(name for ids in left.values() for name in ids)]
