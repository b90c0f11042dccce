"""ACL's codes in what it prints."""

from __future__ import annotations

import pytest

from engine.backends.ascend.common import code_in, spelt
from tests.doubles.said import recent_error


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (recent_error(207001, 245000), 245000),
        (recent_error(245000, 207001), 245000),
        (recent_error(207001), 207001),
        ("execute failed, ret 507011, since malloc gave 207001", 207001),  # a smaller file may do
        ("error 507015 of the core, then 507011 of the model", 507015),  # the first one
        ("[PID: 123456] a thing, ret 507014", 507014),  # a number that is none of ACL's
        ("size 2450001, retCode 0x207001", None),
        ("", None),
    ],
)
def test_the_code_to_act_on(text: str, code: int | None) -> None:
    assert code_in(text) == code


def test_far_from_the_end() -> None:
    """Wherever it stands in what was printed."""
    text = f"ge result[245000]\n{'x' * 2500}"
    assert code_in(text) == 245000
    assert "the device has no memory left for the model" in spelt(245000)
