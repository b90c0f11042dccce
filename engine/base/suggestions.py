"""Suggestions: the known name that a mistyped one is likely to mean."""

from __future__ import annotations

from collections.abc import Iterable


def meant(name: str, known: Iterable[str]) -> str:
    """``; did you mean NAME?`` with the most similar of the known names; empty where none is
    similar, or where it is one of them."""
    from difflib import get_close_matches  # on use: after a mistake

    spelt = {one.lower(): one for one in known}
    found = get_close_matches(name.lower()[:100], spelt, 1)
    return f"; did you mean {spelt[found[0]]}?" if found and spelt[found[0]] != name else ""
