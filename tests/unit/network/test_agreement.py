"""Agreements: what is fitted is what a run does, and what is kept is read back or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest

from engine.base.errors import ModelError, UsageError
from engine.base.recipe import HMDB51_RECIPE
from engine.network.agreement import (
    FACTORS,
    Agreement,
    Point,
    agreement_for,
    fitted,
    samples_for,
    table_path,
)
from engine.network.clip_rules import ClipRule
from engine.network.recogniser import average
from tests.support.progress import run

POINTS = (Point(0.0, 0.9, 1.0), Point(0.5, 1.0, 2.0), Point(1.0, 0.98, 4.0), Point(1.5, 1.0, 9.0))
MADE = Agreement(POINTS, 1000, "somebody's (1000)", "a" * 64)


@pytest.fixture(scope="module")
def logits() -> list[Any]:
    """Of videos that are easy and hard: clips scatter around what is theirs."""
    rng = np.random.default_rng(5)
    found = []
    for ease in np.linspace(0, 4, 40):
        of_video = rng.normal(size=6) * ease
        found.append((of_video + rng.normal(size=(20, 6))).astype(np.float32))
    return found


def test_what_is_fitted_is_what_a_run_does(logits: list[Any]) -> None:
    points = fitted(logits, HMDB51_RECIPE)
    assert tuple(point.factor for point in points) == FACTORS
    for point in points[::7]:
        rule = ClipRule(until="adaptive", factor=point.factor)
        ran = [run(rule, one) for one in logits]
        agrees = [
            average(few).argmax() == average(every).argmax()
            for few, every in zip(ran, logits, strict=True)
        ]
        assert point.agreement == np.mean(agrees)
        assert point.clips == np.mean([len(few) for few in ran])
    assert points[0].clips == 1
    assert points[0].agreement < points[-1].agreement == 1
    assert 1 < points[14].clips < points[-1].clips <= 20


def test_the_least_factor_from_which_on_they_agree() -> None:
    """A smaller one that happens to agree is passed over."""
    assert MADE.factor(0.95) == 0.5
    assert MADE.factor(0.99) == 1.5
    assert MADE.factor(0.9) == 0.0
    with pytest.raises(UsageError, match="of the 1000 samples of .* at most 0.9800 agree"):
        replace(MADE, points=POINTS[2:3]).factor(0.99)


def test_there_and_back() -> None:
    assert Agreement.from_json(orjson.loads(orjson.dumps(MADE.to_json()))) == MADE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"points": []}, "factors that do not ascend"),
        ({"points": [[1, 0.9, 2], [0, 0.8, 1]]}, "ascend"),
        ({"points": [[0, 1.5, 2]]}, "an agreement beyond 0 to 1"),
        ({"points": [[0, "many", 2]]}, "could not convert"),
        ({"points": [[0, 1]]}, "another structure"),
        ({"samples": None}, "another structure"),
    ],
)
def test_what_is_none(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Agreement.from_json({**MADE.to_json(), **change})


def test_too_few_to_tell() -> None:
    """One of ten that differs is a tenth of them."""
    few = replace(MADE, samples=10)
    assert few.factor(0.9) == 0.0
    with pytest.raises(UsageError, match=r"0.995: 10 samples of .* cannot tell that; it takes 200"):
        few.factor(0.995)
    assert [samples_for(wanted) for wanted in (0.5, 0.9, 0.99, 0.995)] == [2, 10, 100, 200]


@pytest.mark.parametrize("named", ["a.pth", "demo"])
def test_beside_a_model(tmp_path: Path, named: str) -> None:
    """That of a checkpoint is beside it, and not beside what it was converted to."""
    model: Any = SimpleNamespace(path=tmp_path / "cache.onnx", sha256="a" * 64)
    checkpoint = tmp_path / "a.pth"
    checkpoint.touch()
    asked = str(tmp_path / named)
    shipped = agreement_for(asked, model)
    assert shipped.model is None
    assert shipped.samples > 200
    path = table_path(asked, model)
    assert path.name == ("a.pth.clips.json" if named == "a.pth" else "cache.onnx.clips.json")
    path.write_bytes(orjson.dumps(MADE.to_json()))
    assert agreement_for(asked, model) == MADE
    model.sha256 = "b" * 64
    with pytest.raises(ModelError, match=r"clips\.json is of another model file; python"):
        agreement_for(asked, model)
    path.write_bytes(orjson.dumps(replace(MADE, model=None).to_json()))
    assert agreement_for(asked, model).model is None
    for damaged in ("{", "[]", "3"):
        path.write_text(damaged)
        with pytest.raises(ModelError, match=r"clips\.json: not what calibrate writes; python"):
            agreement_for(asked, model)
    path.unlink()
    path.mkdir()
    with pytest.raises(ModelError, match=r"clips\.json: Is a directory; python"):
        agreement_for(asked, model)
