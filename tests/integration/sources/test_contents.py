"""Runs over a table of contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converters import annotations as converter
from engine.base.records import Failure
from engine.pipeline import Pipeline
from engine.runtime.cluster.payloads import light
from engine.sources.dataset import open_dataset
from tests.support.kinetics import compressed, publish
from tests.support.runs import alone, check, options
from tests.support.samples import annotation

WHOLE = [compressed(annotation(12 + n, seed=n)) for n in range(4)]


@pytest.mark.parametrize("form", ["video", "group"])
def test_a_run(tmp_path: Path, tiny_model: Path, form: Any) -> None:
    """With processes and without, from files and from columns the same; a video whose file is
    missing is told of, and the run goes on."""
    table = publish(tmp_path / "k400", WHOLE, form)
    if form == "video":
        (tmp_path / "k400" / "kpfiles" / "video_2.pkl").unlink()
    expected = alone(options(table, tiny_model, split="val", in_process=True))
    missing = [record.id for record in expected.values() if isinstance(record, Failure)]
    assert missing == (["video_2"] if form == "video" else [])
    with Pipeline(options(table, tiny_model, split="val", workers=1)) as pipeline:
        check(list(pipeline), expected)
    columns = tmp_path / "columns"
    assert converter.main([str(table), str(columns)]) == 0
    check(list(alone(options(columns, tiny_model, split="val")).values()), expected)


def test_what_goes_to_a_cluster(tmp_path: Path) -> None:
    table = publish(tmp_path, WHOLE)
    for one in open_dataset(str(table), split="val").samples:
        sent, read = light(one).read(51), one.read(51)
        assert (sent.keypoint == read.keypoint).all()  # type: ignore[union-attr]
