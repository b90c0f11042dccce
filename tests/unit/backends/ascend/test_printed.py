"""Messages of ours above what a runtime printed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.backends.ascend.printed import advised, with_printed
from engine.base.errors import printable

ACL = (
    "[ACL ERROR] EL0004: Failed to allocate memory.\n        Solution: close others.\n\n[ERROR] x\n"
)


def test_ours_first_theirs_below() -> None:
    told = with_printed("loading a.om failed: ACL error 245000", ACL)
    assert advised(told, "; going on without a.om") == (
        "loading a.om failed: ACL error 245000; going on without a.om\n"
        "  the runtime printed:\n"
        "    [ACL ERROR] EL0004: Failed to allocate memory.\n"
        "            Solution: close others.\n"
        "    [ERROR] x"
    )


def test_nothing_printed() -> None:
    assert with_printed("it failed", "") == "it failed"
    assert advised("it failed", ". Do this") == "it failed. Do this"


def test_of_a_long_text_both_ends_are_shown() -> None:
    text = "\n".join(f"line {n}" for n in range(10_000))
    told = with_printed("it failed", text)
    assert "    line 0\n" in told
    assert told.endswith("    line 9999")
    assert "characters …]" in told
    assert printable(told) == told  # what a message between processes has room for


@given(st.text(min_size=1, max_size=60), st.text(max_size=5000), st.text(max_size=50))
def test_the_first_line_stays_ours(ours: str, printed: str, advice: str) -> None:
    ours, advice = (" ".join(text.split()) for text in (ours, advice))
    told = with_printed(ours, printed)
    first, _, rest = told.partition("\n")
    assert first == ours
    assert advised(told, advice).partition("\n")[::2] == (ours + advice, rest)
    assert all(line.startswith("    ") for line in rest.split("\n")[1:])
