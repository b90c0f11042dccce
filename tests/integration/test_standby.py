"""Processes that stand by: started with what they are to do, or ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import multiprocess
import pytest

from engine.cli.dispatch import dispatch
from engine.runtime import processes

MODULE = """
import os
def main(address, name, *settings):
    with open(address, "w") as said:
        print(os.getpid(), name, *settings, os.environ["OMP_NUM_THREADS"], file=said)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module whose `main` writes down what it was told, and by which process."""
    (tmp_path / "told.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "told"


@pytest.fixture
def children() -> Iterator[list[processes.Child]]:
    """Whoever is in it is ended after the test."""
    started: list[processes.Child] = []
    yield started
    processes.end(started, 60.0)


def standing_by() -> list[int]:
    return [process.pid for process in multiprocess.active_children()]


def test_it_is_started_with_its_orders(
    module: str, tmp_path: Path, children: list[processes.Child]
) -> None:
    file = tmp_path / "said"
    with processes.standing_by("executor-0", 3, module):
        [pid] = standing_by()
        children.append(processes.start("executor-0", 1, 3, module, str(file), "settings"))
    children[0].process.join(60)
    assert children[0].exit_code == 0
    assert file.read_text().split() == [str(pid), "executor-0.1", "settings", "3"]


@pytest.mark.parametrize(
    "wanted", [("executor-1", 1, 3), ("executor-0", 2, 3), ("executor-0", 1, 2)]
)
def test_another_slot_another_incarnation_and_other_threads_have_processes_of_their_own(
    module: str, tmp_path: Path, children: list[processes.Child], wanted: tuple[str, int, int]
) -> None:
    file = tmp_path / "said"
    slot, incarnation, threads = wanted
    with processes.standing_by("executor-0", 3, module):
        [pid] = standing_by()
        children.append(processes.start(slot, incarnation, threads, module, str(file)))
    assert pid not in standing_by()  # it was ended
    children[0].process.join(60)
    said = file.read_text().split()
    assert said == [str(children[0].pid), f"{slot}.{incarnation}", str(threads)]
    assert said[0] != str(pid)


def test_one_that_is_dead_is_found_by_its_sentinel(
    module: str, tmp_path: Path, children: list[processes.Child]
) -> None:
    with processes.standing_by("executor-0", 1, module):
        [process] = multiprocess.active_children()
        process.kill()
        process.join()
        children.append(processes.start("executor-0", 1, 1, module, str(tmp_path / "said")))
    assert not children[0].alive
    assert children[0].exit_code == -9


def test_an_error_leaves_none(module: str) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        processes.standing_by("executor-0", 1, module),
    ):
        raise ZeroDivisionError
    assert standing_by() == []


def test_a_run_starts_the_executor_that_stands_by(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned: list[str] = []
    spawn = processes._spawned

    def noted(name: str, *about: Any) -> Any:
        spawned.append(name)
        return spawn(name, *about)

    monkeypatch.setattr(processes, "_spawned", noted)
    flags = ["--dataset=demo", "--limit=1", f"--model={tiny_model}"]
    assert dispatch([*flags, f"--output={tmp_path / 'records.jsonl'}"]) == 0
    assert spawned == ["executor-0.1", "worker-0.1"]


def test_a_run_in_this_process_starts_none(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*about: Any) -> Any:
        raise AssertionError(about)

    monkeypatch.setattr(processes, "_spawned", never)
    assert dispatch(["--dataset=demo", "--limit=1", f"--model={tiny_model}", "--in-process"]) == 0


def test_an_interruption_while_it_is_started_leaves_none(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = processes._spawned

    def interrupted(*about: Any) -> Any:
        process = spawn(*about)
        signal.raise_signal(signal.SIGINT)
        return process

    class Pressed(Exception):
        """In place of what would end all tests, if it came at another place."""

    def pressed(number: int, frame: Any) -> None:
        raise Pressed

    monkeypatch.setattr(processes, "_spawned", interrupted)
    before = signal.signal(signal.SIGINT, pressed)
    try:
        with pytest.raises(Pressed), processes.standing_by("executor-0", 1, module):
            raise AssertionError
    finally:
        signal.signal(signal.SIGINT, before)
    assert standing_by() == []
