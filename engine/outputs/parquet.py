"""Parquet: the lines of a journal as a table of columns, with the fields of the lines.

Comes in: JSON lines. Goes out: a Parquet file, in their order. ``who``, a number or a text in JSON,
is text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from engine.base.files import write_atomically
from engine.base.notes import NOTED
from engine.base.records import STAGES
from engine.outputs.formats import Kind

_ROWS = 4096  # of a group; what is in memory at a time

_TOP: Final = pa.list_(
    pa.struct([("label", pa.int64()), ("name", pa.string()), ("score", pa.float64())])
)
_SCORES: Final = pa.list_(pa.float32())
_NOTED: Final = [(n, pa.bool_() if kind is bool else pa.string()) for n, kind in NOTED.items()]
_ERROR: Final = pa.struct([(name, pa.string()) for name in ("stage", "type", "message")])
_SCHEMAS: Final[dict[Kind, Any]] = {
    "records": pa.schema(
        [
            ("index", pa.int64()),
            ("id", pa.string()),
            ("who", pa.string()),
            ("label", pa.int64()),
            ("top_k", _TOP),
            ("scores", _SCORES),
            *_NOTED,
            ("clips", pa.int64()),
            ("ms", pa.struct([(stage, pa.float64()) for stage in STAGES])),
            ("error", _ERROR),
        ]
    ),
    "labels": pa.schema(
        [
            ("stream", pa.string()),
            ("who", pa.string()),
            ("t", pa.float64()),
            ("first", pa.int64()),
            ("last", pa.int64()),
            ("label", pa.int64()),
            ("name", pa.string()),
            ("score", pa.float64()),
            ("scores", _SCORES),
            ("latency_ms", pa.float64()),
            ("top", _TOP),
            *_NOTED,
            ("error", pa.string()),
        ]
    ),
    "segments": pa.schema(
        [
            ("stream", pa.string()),
            ("who", pa.string()),
            ("label", pa.int64()),
            ("name", pa.string()),
            ("start", pa.float64()),
            ("end", pa.float64()),
            ("score", pa.float64()),
        ]
    ),
}


def write_parquet(path: Path, journal: Path, kind: Kind) -> None:
    """Write the lines of a journal as a table. Raises `OutputError`."""
    with journal.open(encoding="utf-8-sig") as lines:  # ended however an editor has ended them
        write_atomically(path, partial(_write, lines, _SCHEMAS[kind]))


def _write(lines: Iterable[str], schema: Any, target: IO[bytes]) -> None:
    rows = _rows(lines)
    with pq.ParquetWriter(target, schema) as writer:
        while group := list(islice(rows, _ROWS)):
            writer.write_table(pa.Table.from_pylist(group, schema))


def _rows(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.strip():  # an editor may have left an empty one
            row = orjson.loads(line)
            if isinstance(who := row.get("who"), int):
                row["who"] = str(who)
            yield row
