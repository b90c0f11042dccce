"""Layouts of joints: whole arrays as one frame after the other, and their names as arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.errors import UsageError
from engine.skeletons.joints import LAYOUTS, take_layout
from tests.support.samples import walking


def spread(name: str, coco: Any) -> Any:
    """COCO's joints [.., 17, 2] where a layout has them, others far away; ends of what lies in
    between are there, too."""
    layout = LAYOUTS[name]
    found = np.full((*coco.shape[:-2], layout.joints, 2), 900.0)
    for joint, place in enumerate(layout.coco):
        if isinstance(place, int):
            found[..., place, :] = coco[..., joint, :]
        elif place is not None:
            for side, end in zip((-1, 1), place, strict=True):
                found[..., end, :] = coco[..., joint, :] + 4 * side
    return found


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_a_layout_has_is_found(name: str) -> None:
    coco = walking(2, 5)
    keypoint, score = LAYOUTS[name].of_arrays(spread(name, coco), None)
    there = [place is not None for place in LAYOUTS[name].coco]
    np.testing.assert_allclose(keypoint[..., there, :], coco[..., there, :], rtol=1e-5)
    assert (score == np.array(there)).all()
    assert not keypoint[..., np.invert(there), :].any()


@given(st.sampled_from(sorted(LAYOUTS)), st.integers(0, 2**32 - 1))
def test_arrays_are_frames(name: str, seed: int) -> None:
    """Bit for bit, whoever is absent."""
    layout, rng = LAYOUTS[name], np.random.default_rng(seed)
    kpts = rng.normal(0, 300, (2, 3, layout.joints, 3)).astype(np.float32)
    kpts[rng.random(kpts.shape[:-1]) < 0.3] = 0
    whole = layout.picked(kpts)
    for person, row in zip(kpts, whole, strict=True):
        for frame, found in zip(person, row, strict=True):
            np.testing.assert_array_equal(found, layout.picked(frame))


def test_between_two_of_whom_one_is_absent_is_nobody() -> None:
    keypoint = spread("mpii16", walking(1, 2))
    keypoint[0, 0, 8] = 0
    keypoint[0, 1, 9] = np.nan
    found, score = LAYOUTS["mpii16"].of_arrays(keypoint, np.ones(keypoint.shape[:-1]))
    assert not found[..., 0, :].any()
    assert not score[..., 0].any()


@pytest.mark.parametrize(
    ("keypoint", "score", "said"),
    [
        (np.zeros((4, 17, 2)), None, r"\[4, 17, 2\]; joints of body25 are \[…, 25, 2\]"),
        (np.zeros((4, 25, 3)), None, r"joints of body25 are"),
        (np.zeros(25), None, r"joints of body25 are"),
        (np.zeros((4, 25, 2)), np.zeros((4, 17)), r"scores of shape \[4, 17\]"),
    ],
)
def test_other_shapes_are_refused(keypoint: Any, score: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LAYOUTS["body25"].of_arrays(keypoint, score)


def test_the_names_of_arguments() -> None:
    options: dict[str, Any] = {"layout": "body25", "model": "demo"}
    assert take_layout(options) is LAYOUTS["body25"]
    assert options == {"model": "demo"}
    options = {"layout": "clips", "joints": "h36m17"}
    assert take_layout(options) is LAYOUTS["h36m17"]
    assert options == {"layout": "clips"}
    for way in ("auto", "clips", "shared"):
        options = {"layout": way}
        assert take_layout(options) is None
        assert options == {"layout": way}
    for wrong in ({"layout": "body_25"}, {"joints": "body_25"}):
        with pytest.raises(UsageError, match=r"layout body_25: .*; did you mean body25\?"):
            take_layout(dict(wrong))
