"""``docs/cli.md`` has every option as the parsers have it."""

from __future__ import annotations

from dataclasses import fields

from engine.base.options import Options, flag
from tests.integration.docs.reference import PAGE, page


def test_the_page_has_the_options_of_the_parsers() -> None:
    text = PAGE.read_text()
    assert text == page(text), "run: python -m tests.integration.docs.reference"


def test_no_option_is_missing() -> None:
    text = PAGE.read_text()
    assert [f.name for f in fields(Options) if f"| `{flag(f.name)}" not in text] == []
