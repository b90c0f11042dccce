"""Formats of result files, by the ending of their names: JSON lines, CSV or Parquet.

Comes in: a path, or a line as its JSON has it. Goes out: how the file is written, and a row of CSV.
A device or a pipe gets JSON lines, whatever it is called. Parquet is written when a run ends, from
the JSON lines in ``NAME.parquet.jsonl``, its journal.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from engine.base.errors import UsageError
from engine.base.files import is_stream
from engine.base.notes import NOTED
from engine.base.records import STAGES

Format = Literal["jsonl", "csv", "parquet"]
Kind = Literal["records", "labels", "segments"]

_FORMATS: Final[dict[str, Format]] = {
    **dict.fromkeys((".jsonl", ".json", ".ndjson", ""), "jsonl"),
    ".csv": "csv",
    ".parquet": "parquet",
}
# What readers of lines take for an end of one: of CSV, of text files, and `str.splitlines`.
_LINE_ENDS: Final = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_BEGINNINGS: Final = (b'{"index"', b'{"stream"', b"index,id,", b"stream,who,", b"PAR1")
_FIRST: Final[dict[Kind, tuple[str, ...]]] = {
    "records": ("index", "id", "who", "label"),
    "labels": ("stream", "who", "t", "first", "last", "label", "name", "score", "latency_ms"),
    "segments": ("stream", "who", "label", "name", "start", "end", "score"),
}
_LAST: Final[dict[Kind, tuple[str, ...]]] = {
    "records": (
        *NOTED,
        "clips",
        *(f"ms_{stage}" for stage in STAGES),
        *("error_stage", "error_type", "error_message"),
    ),
    "labels": (*NOTED, "error"),
    "segments": (),
}


def format_of(path: Path) -> Format:
    """Raises `UsageError` for an ending of none, and for ``.parquet`` where pyarrow is missing."""
    if is_stream(path):
        return "jsonl"
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        known = ", ".join(filter(None, _FORMATS))
        raise UsageError(f"{path}: result files end in {known}, or in nothing (JSON lines)")
    if found == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UsageError(f"{path} needs pyarrow; pip install '.[arrow]'")
    return found


def journal_of(path: Path) -> Path:
    """The file that grows as records come: the result file itself, or Parquet's journal."""
    return path.with_name(f"{path.name}.jsonl") if format_of(path) == "parquet" else path


def result_of(journal: Path) -> Path:
    """The result file that a journal is for: `journal_of` the other way. A result file is its
    own."""
    parquet = journal.suffix == ".jsonl" and journal.stem.lower().endswith(".parquet")
    return journal.with_suffix("") if parquet else journal


def is_result(path: Path) -> bool:
    """Whether a file begins as result files do."""
    with path.open("rb") as file:
        return file.read(16).startswith(_BEGINNINGS)


def columns(kind: Kind, top_k: int) -> list[str]:
    """Names of the columns of CSV, with the best `top_k` classes."""
    best = [f"top_{n}_{k}" for n in range(1, top_k + 1) for k in ("label", "name", "score")]
    return [*_FIRST[kind], *best, *_LAST[kind]]


def csv_row(cells: Iterable[object]) -> bytes:
    """A row of CSV, in one line."""
    text = io.StringIO()
    row = [_LINE_ENDS.sub(" ", cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue().encode()


def flat(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line by the columns of CSV: what is nested has a column each, and `scores`, one a class,
    are left out."""
    return dict(_flat(line))


def _flat(line: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in line.items():
        if name in ("top_k", "top"):
            for rank, one in enumerate(value, 1):
                yield from ((f"top_{rank}_{key}", part) for key, part in one.items())
        elif isinstance(value, Mapping):
            yield from ((f"{name}_{key}", part) for key, part in value.items())
        elif name != "scores":
            yield name, value
