"""Notes: what was decided about a sample's numbers, or seen in them, that its reader should know.

Comes in: kinds of notes, with the names of samples. Goes out: fields of a record, counts for a
summary, and one line a kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from engine.base.errors import printable

Note = Literal["empty", "normalised", "percent"]
EMPTY: Final = "empty"
NORMALISED: Final = "normalised"
PERCENT: Final = "percent"

_FIELDS: Final[dict[Note, tuple[str, Any]]] = {
    EMPTY: ("empty", True),
    NORMALISED: ("coordinates", "normalised"),
    PERCENT: ("keypoint_score", "percent"),
}
"""Of a record: a field and its value."""

NOTED: Final = tuple(name for name, _ in _FIELDS.values())
"""Names of these fields."""

_WORDS: Final[dict[Note, str]] = {
    EMPTY: "nobody is seen",
    NORMALISED: "coordinates are shares of the picture, and are taken as such (--coordinates)",
    PERCENT: "scores of joints run to 100, and are divided by it",
}


def fields_of(notes: Iterable[Note]) -> dict[str, Any]:
    """Notes as fields of a record, JSON types."""
    return dict(_FIELDS[note] for note in notes)


def notes_of(line: Mapping[str, Any]) -> tuple[Note, ...]:
    """The notes that a record has."""
    return tuple(note for note, (name, value) in _FIELDS.items() if line.get(name) == value)


class NoteCounts:
    """How often each kind was noted, and of what first."""

    def __init__(self) -> None:
        self._found: dict[Note, tuple[int, str]] = {}

    def add(self, notes: Iterable[Note], name: str) -> None:
        """Notes of something of that name."""
        for note in notes:
            count, first = self._found.get(note, (0, name))
            self._found[note] = count + 1, first

    def to_json(self) -> dict[str, Any]:
        """By kind: ``count`` and ``first``."""
        return {
            note: {"count": count, "first": printable(first)}
            for note, (count, first) in self._found.items()
        }


def spelt(noted: Mapping[Any, Mapping[str, Any]], unit: str) -> list[str]:
    """What `NoteCounts.to_json` gives, a line a kind; `unit`: what was counted, one of it."""
    return [
        f"{about['count']} {unit}{'s' * (about['count'] != 1)}: {_WORDS[note]} "
        f"(first: {about['first'][:80]})"
        for note, about in noted.items()
    ]
