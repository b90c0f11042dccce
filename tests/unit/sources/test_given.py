"""Annotations of a list or an iterator as a data set."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.errors import DatasetError
from engine.base.records import Cause
from engine.skeletons.joints import LAYOUTS
from engine.skeletons.samples import ANY_CLASSES, Sample
from engine.sources.given import find_given
from tests.support.samples import annotation


def selected(annotations: Any, limit: int | None = None, **more: Any) -> Any:
    return find_given(annotations, "auto", **more)(None, limit, None)


@given(st.lists(st.sampled_from("abc"), max_size=8), st.none() | st.integers(1, 9))
def test_a_list_and_an_iterator_are_the_same(names: list[str], limit: int | None) -> None:
    annotations = [annotation(seed=n, frame_dir=name) for n, name in enumerate(names)]
    of_list, of_iterator = selected(annotations, limit), selected(iter(annotations), limit)
    assert len(of_list.samples) == len(names[:limit])
    found: list[Sample] = list(of_iterator.samples)
    assert [one.id for one in found] == [one.id for one in of_list.samples]
    assert len({one.id for one in found}) == len(found)
    for number, one in enumerate(found):
        assert (one.index, one.annotation) == (number, annotations[number])


def test_an_iterator_is_read_as_it_is_needed() -> None:
    taken = []

    def endless() -> Iterator[Any]:
        for number in count():
            taken.append(number)
            yield annotation(5, seed=number)

    samples = selected(endless()).samples
    assert taken == []
    assert [one.id for one in islice(samples, 2)] == ["video_0", "video_1"]
    assert taken == [0, 1]
    assert len(selected(endless(), 5).samples) == 5


def test_samples_that_were_counted_are_still_there() -> None:
    samples = selected(annotation(5, seed=n) for n in range(3)).samples
    assert len(samples) == 3
    assert [one.id for one in samples] == [one.id for one in samples[:]]
    assert samples[-1].id == "video_2"


def test_joints_of_another_layout() -> None:
    rng = np.random.default_rng(0)
    body25 = {"keypoint": rng.uniform(50, 200, (1, 9, 25, 2)), "img_shape": (240, 320)}
    usual, other, no_dict = selected(
        [body25, annotation(), "junk"], layout=LAYOUTS["body25"]
    ).samples
    poses = usual.read(ANY_CLASSES)
    assert poses.keypoint.shape == (1, 9, 17, 2)
    places = list(LAYOUTS["body25"].coco)
    np.testing.assert_array_equal(poses.keypoint, body25["keypoint"][:, :, places].astype("f4"))
    refused = other.read(ANY_CLASSES)
    assert isinstance(refused, Cause)
    assert "joints of body25 are […, 25, 2]" in refused.message
    assert isinstance(no_dict.read(ANY_CLASSES), Cause)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (annotation(), "not a dict; for one give a list of it"),
        (b"file.pkl", "not a bytes"),
        (7, "not a int"),
    ],
    ids=str,
)
def test_what_is_no_data_set(what: Any, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        find_given(what, "auto")


def test_it_has_no_splits() -> None:
    with pytest.raises(DatasetError, match="no splits"):
        find_given([annotation()], "auto")("test1", None, None)
