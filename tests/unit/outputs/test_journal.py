"""Journals that a run does not go on with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.base.errors import OutputError, UsageError
from engine.outputs.journal import Identity, Journal, identity_path, read_journal


def test_records_of_another_run_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    path.write_text("")
    limbs = [[0, n] for n in range(17)]
    before: Identity = {"recipe.limbs": limbs, "recipe.twins": [*range(17)], "recipe.size": 64}
    identity_path(path).write_text(json.dumps(before))
    now: Identity = {"recipe.limbs": limbs[::-1], "recipe.twins": None, "recipe.size": 56}
    with pytest.raises(UsageError) as caught:
        read_journal(path, now, [], 51)
    first, *differences = str(caught.value).split("\n")
    assert "Give the model, data and options of that run, or another FILE" in first
    assert differences == [
        "  recipe.limbs: a list of 17, now another of 17",
        "  recipe.size: 64, now 56",
        "  recipe.twins: a list of 17, now none",
    ]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.rename(path.with_name("moved")), "was moved, removed or replaced"),
        (Path.unlink, "was moved, removed or replaced"),
        (lambda path: os.truncate(path, 3), "has 3 bytes in place of 18, so that records may be"),
        (lambda path: path.write_text("{}\n" * 9), "was changed by somebody else"),
    ],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_a_journal_that_others_took_away(
    tmp_path: Path, harm: Callable[[Path], object], said: str, resumed: bool
) -> None:
    path = tmp_path / "o.jsonl"
    if resumed:
        path.write_text('{"a":1}\n{"torn')
    with Journal(path) as journal:
        journal.begin(None, resumed=resumed)
        if not resumed:
            journal.append({"a": 1})
        journal.append({"a": 234})
        journal.end()
        harm(path)
        with pytest.raises(OutputError, match=said):
            journal.end()
