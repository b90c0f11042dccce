"""Journals that a run does not go on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.base.errors import UsageError
from engine.outputs.journal import Identity, identity_path, read_journal


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
