"""Suggestions: for what is nearly a known name, and for nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.errors import DatasetError, ModelError
from engine.base.options import Options
from engine.base.published import CHECKPOINTS, DATASETS
from engine.base.suggestions import meant
from engine.runtime.setup import model_of
from engine.sources.dataset import find_dataset

KNOWN = ["demo", *DATASETS]


@given(st.sampled_from(KNOWN), st.data())
def test_a_letter_less(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(name) - 1))
    typed = name[:place] + name[place + 1 :]
    if typed not in KNOWN:
        assert meant(typed, KNOWN).removeprefix("; did you mean ").removesuffix("?") in KNOWN


@given(st.text(max_size=200))
def test_what_is_suggested_is_known(typed: str) -> None:
    said = meant(typed, KNOWN)
    assert said == "" or said.removeprefix("; did you mean ").removesuffix("?") in KNOWN


def test_a_name_that_is_known_needs_no_suggestion() -> None:
    assert [meant(name, KNOWN) for name in KNOWN] == [""] * len(KNOWN)
    assert meant("HMDB51", KNOWN) == "; did you mean hmdb51?"


def test_of_data_sets_and_models() -> None:
    with pytest.raises(DatasetError, match=r"did you mean hmdb51\?"):
        find_dataset("hmbd51")
    name = next(iter(CHECKPOINTS))
    for typed, wanted in (("dmeo", "demo"), (name[:-1], name)):
        with pytest.raises(ModelError, match=rf"did you mean {wanted}\?"):
            model_of(Options(dataset="demo", model=typed))
