"""How outputs are told of a run, and what an error in one of them costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from engine.base.errors import EngineError, OutputError, StallError
from engine.outputs.output import Output, Outputs, raise_first


class Told(Output[Any, Any]):
    """Takes down what it is told, and fails where it is to."""

    def __init__(self, name: str, said: list[str], fails: str = "") -> None:
        self._name, self._said, self._fails = name, said, fails

    def begin(self, run: Any) -> None:
        self._say("begin")

    def record(self, record: Any) -> None:
        self._say(f"record {record}")

    def tick(self, now: float) -> None:
        self._say(f"tick {now}")

    def end(self) -> None:
        self._say("end")

    def close(self) -> None:
        self._say("close")

    def _say(self, what: str) -> None:
        self._said.append(f"{self._name} {what}")
        if self._fails == what:
            raise OutputError(f"{self._name}: {what}")


class Counted:
    """Totals that say when a record was counted."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def add(self, record: Any, now: float) -> None:
        self._said.append(f"count {record}")

    def end(self, now: float) -> None:
        self._said.append("counted")


def follow(
    said: list[str], outputs: Iterable[Output[Any, Any]], records: Iterable[Any]
) -> list[EngineError]:
    run: Any = SimpleNamespace(totals=Counted(said))
    with Outputs(outputs) as opened:
        return opened.follow(run, records)


def test_in_their_order() -> None:
    said: list[str] = []

    def records() -> Iterator[int]:
        yield 1
        opened.tick(0.5)

    run: Any = SimpleNamespace(totals=Counted(said))
    with Outputs([Told("a", said), Told("b", said)]) as opened:
        assert opened.follow(run, records()) == []
    assert said == [
        *("a begin", "b begin"),
        *("count 1", "a record 1", "b record 1"),
        *("a tick 0.5", "b tick 0.5"),
        *("counted", "a end", "b end"),
        *("b close", "a close"),
    ]


def test_an_error_at_the_end_costs_this_output_alone() -> None:
    said: list[str] = []
    outputs = [Told(name, said, fails="end" if name in "ab" else "") for name in "abc"]
    errors = follow(said, outputs, [])
    assert [str(error) for error in errors] == ["a: end", "b: end"]
    assert [line for line in said if line.endswith("end")] == ["a end", "b end", "c end"]


def test_a_record_that_cannot_be_written_ends_the_run() -> None:
    said: list[str] = []
    outputs = [Told("a", said, fails="record 1"), Told("b", said)]
    errors = follow(said, outputs, range(5))
    assert [str(error) for error in errors] == ["a: record 1"]
    assert "count 2" not in said
    assert said[-4:] == ["a end", "b end", "b close", "a close"]


def test_what_has_been_computed_is_written_where_the_run_fails() -> None:
    said: list[str] = []

    def records() -> Iterator[int]:
        yield 1
        raise StallError("nothing moves")

    errors = follow(said, [Told("a", said, fails="end")], records())
    assert [type(error) for error in errors] == [StallError, OutputError]
    with pytest.raises(StallError, match="nothing moves"):
        raise_first(errors)
    raise_first([])


def test_one_that_cannot_begin_ends_the_run_at_once() -> None:
    said: list[str] = []
    with pytest.raises(OutputError, match="a: begin"):
        follow(said, [Told("a", said, fails="begin"), Told("b", said)], [1])
    assert said == ["a begin", "b close", "a close"]


def test_what_was_open_is_closed_where_another_cannot_be_opened() -> None:
    said: list[str] = []

    def opening() -> Iterator[Output[Any, Any]]:
        yield Told("a", said)
        raise OutputError("taken")

    with pytest.raises(OutputError, match="taken"):
        Outputs(opening())
    assert said == ["a close"]


def test_one_that_needs_nothing() -> None:
    assert follow([], [Output()], [1, 2]) == []
