"""A result file that grows by a line as each record, label or segment comes.

Comes in: lines as their JSON has them. Goes out: JSON lines, rows of CSV, or at the end a Parquet
file (`engine.outputs.formats`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.base.files import remove
from engine.outputs.formats import Kind, columns, csv_row, flat, format_of, journal_of
from engine.outputs.journal import Identity, Journal


class LineFile:
    """Holds the file from its making, so that one run at a time has it. Raises `UsageError` for
    another ending, and `OutputError` where it cannot be written."""

    def __init__(self, path: Path, kind: Kind) -> None:
        self._path, self._kind, self._format = path, kind, format_of(path)
        self._journal = Journal(journal_of(path))
        self._columns: list[str] = []

    def begin(
        self, top_k: int = 0, identity: Identity | None = None, *, resumed: bool = False
    ) -> None:
        """Before the first line. What is there is replaced, unless it is `resumed`. `top_k`: the
        best classes that a line lists. `identity`: of records that a later run may go on with,
        which rows of CSV are not."""
        if self._format != "csv":
            self._journal.begin(identity, resumed=resumed)
        else:
            self._journal.begin(None, resumed=False)
            self._columns = columns(self._kind, top_k)
            self._journal.write(csv_row(self._columns))
        if self._format == "parquet" and not resumed:
            remove(self._path)  # what an earlier run wrote is not this one's, should it be killed

    def append(self, line: dict[str, Any]) -> None:
        """Write a line, all of it or nothing."""
        if self._format == "csv":
            cells = flat(line)
            self._journal.write(csv_row(cells.get(name) for name in self._columns))
        else:
            self._journal.append(line)

    def end(self) -> None:
        """There are no more lines. Raises `OutputError` where some are not there any more."""
        self._journal.end()
        if self._format == "parquet":
            from engine.outputs.parquet import write_parquet  # which needs pyarrow

            write_parquet(self._path, journal_of(self._path), self._kind)

    def close(self) -> None:
        """Let others have the file."""
        self._journal.close()
