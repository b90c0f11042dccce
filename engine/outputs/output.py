"""An output observes a run; whoever runs it tells all of them with one call, `Outputs.follow`.

Comes in: a description of the run (`engine.outputs.run_info`), its records, the time. Goes out:
whatever the outputs make of them. `engine.outputs.table` lists the outputs that there are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from operator import methodcaller
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from engine.base.console import say
from engine.base.errors import EngineError, OutputError, printable
from engine.base.files import is_stream
from engine.base.records import Record
from engine.live.labels import Label
from engine.outputs.run_info import DatasetRun, LiveRun, Run

log = logging.getLogger("engine")

RunT = TypeVar("RunT", bound=Run, contravariant=True)
RecordT = TypeVar("RecordT", contravariant=True)


class Output(Generic[RunT, RecordT]):
    """Does nothing; an output overrides what it needs.

    It is made before anything is loaded, so that an address that is taken or a file that another
    run writes is found at once, and what it holds open is closed at the end of its ``with`` block.
    Any method may raise: see `Outputs.follow` for what becomes of it.
    """

    path: Path | None = None
    """The file that it writes, for messages."""

    origins: Sequence[str] = ()
    """Sites of the pages that it serves, whose WebSockets a source is to let in."""

    def begin(self, run: RunT) -> None:
        """The run is ready; records follow."""

    def record(self, record: RecordT) -> None:
        """One more record; the run's totals have it already."""

    def tick(self, now: float) -> None:
        """Time goes by: several times a second, between records, in the same thread."""

    def end(self) -> None:
        """There are no more records: all came, or the run was interrupted or cannot go on."""

    def close(self) -> None:
        """Let go of what is held open. Comes last, even where nothing else has."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()


DatasetOutput = Output[DatasetRun, Record]
LiveOutput = Output[LiveRun, Label]


class Outputs(Generic[RunT, RecordT]):
    """The outputs of a run, which are told everything in the order given. Closes them at the end of
    its ``with`` block."""

    def __init__(self, outputs: Iterable[Output[RunT, RecordT]]) -> None:
        self._outputs: list[Output[RunT, RecordT]] = []
        self._errors: list[Exception] = []
        self._written: list[Path] = []
        self._stack = ExitStack()
        with self._stack:  # those that are open already, where one cannot be opened
            for output in outputs:
                self._outputs.append(self._stack.enter_context(output))
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Outputs[RunT, RecordT]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def origins(self) -> list[str]:
        """Of all outputs."""
        return [origin for output in self._outputs for origin in output.origins]

    def tick(self, now: float) -> None:
        """Tell the time, to be called several times a second while `follow` is at work."""
        self._tell(methodcaller("tick", now))

    def follow(self, run: RunT, records: Iterable[RecordT]) -> list[Exception]:
        """Tell the outputs of a run from its beginning to its end; count the records.

        Returns the errors, that which ended the records first. Where an error ends the records (of
        the run, or an `EngineError` of an output that cannot take one), every output is still
        ended; where one cannot end, whatever it raises, those after it still are. An output that
        raises what nobody has foreseen is told no more, and the run goes on. Raises what one raises
        that cannot begin.
        """
        for output in self._outputs:
            output.begin(run)
        try:
            for record in records:
                run.totals.add(record, time.monotonic())
                self._tell(methodcaller("record", record))
        except Exception as error:
            self._errors.insert(0, error)
        run.totals.end(time.monotonic())
        for output in self._outputs:
            try:
                output.end()
                self._written += [] if output.path is None else [output.path]
            except Exception as error:
                self._errors.append(_of_output(output, error))
        return self._errors

    def say_written(self, *others: str | None) -> None:
        """Print which files there are now, and `others` that are no output's."""
        for path in [*self._written, *(Path(name) for name in others if name is not None)]:
            if not is_stream(path):
                say(f"wrote {printable(path)}")

    def _tell(self, tell: Callable[[Output[RunT, RecordT]], None]) -> None:
        """Tell all of them something while the records come."""
        for output in list(self._outputs):
            try:
                tell(output)
            except EngineError:
                raise
            except Exception as error:
                self._outputs.remove(output)
                self._errors.append(_of_output(output, error))
                log.error("%s; it is written no more", self._errors[-1])


def _of_output(output: Output[Any, Any], error: Exception) -> EngineError:
    """The error of an output, which says whose it is."""
    if isinstance(error, EngineError):
        return error
    log.debug("traceback", exc_info=error)
    name = output.path or type(output).__name__
    return OutputError(f"{name}: {type(error).__name__}: {printable(error)} (unforeseen)")


def raise_first(errors: Sequence[Exception]) -> None:
    """Raise the first error, if any, which decides the exit code; log the others."""
    for further in errors[1:]:
        log.error("%s", further)
    if errors:
        raise errors[0]
