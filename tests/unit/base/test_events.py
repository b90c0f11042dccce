"""What ``--log-json`` writes: a line an event."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import OutputError
from engine.base.events import event, events_to

log = logging.getLogger("engine")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    level = log.level
    for _ in range(2):  # a second run appends
        with events_to(str(path)):
            log.debug("%s died", "worker-0.1", extra=event("died", "worker-0.1", exit_code=-9))
            log.warning("plain: %d", 5)
            log.info("odd", extra=event("odd", value={1, 2}))
    log.debug("after")
    assert log.level == level
    died, plain, odd, *_ = lines = read(path)
    assert len(lines) == 6
    assert died.pop("time").endswith("+00:00")
    assert died == {
        "level": "debug",
        "event": "died",
        "process": "worker-0.1",
        "exit_code": -9,
        "message": "worker-0.1 died",
    }
    assert (plain["event"], plain["process"], plain["message"]) == ("log", "supervisor", "plain: 5")
    assert odd["value"] == "{1, 2}"


def test_none_is_asked_for() -> None:
    before = list(log.handlers)
    with events_to(None):
        assert log.handlers == before


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"), events_to(str(tmp_path / "no" / "e")):
        pass


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    with events_to(str(path)):
        log.info("n\udcff", extra=event("odd", name="\udcff", index=2**70))
    [line] = read(path)
    assert (line["message"], line["name"], line["index"]) == ("n\udcff", "\udcff", 2**70)
