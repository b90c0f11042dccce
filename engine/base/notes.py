"""Notes: what was decided about a sample's numbers, or seen in them, that its reader should know.

Comes in: kinds of notes, with the names of samples. Goes out: fields of a record, counts for a
summary, and one line a kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, get_args

from engine.base.errors import printable

Odd = Literal["far", "order", "one point", "one frame", "outside", "upside down", "sideways"]
Note = Literal["empty", "normalised", "percent", "absent"] | Odd
EMPTY: Final = "empty"
NORMALISED: Final = "normalised"
PERCENT: Final = "percent"
ABSENT: Final = "absent"
FAR: Final = "far"
OUTSIDE: Final = "outside"
UPSIDE_DOWN: Final = "upside down"
SIDEWAYS: Final = "sideways"
ORDER: Final = "order"
ONE_POINT: Final = "one point"
ONE_FRAME: Final = "one frame"

_FIELDS: Final[dict[Note, tuple[str, Any]]] = {
    EMPTY: ("empty", True),
    NORMALISED: ("coordinates", "normalised"),
    PERCENT: ("keypoint_score", "percent"),
    ABSENT: ("placeholders", "absent"),
    FAR: ("far", True),
    ORDER: ("joint_order", "doubtful"),
    ONE_POINT: ("one_point", True),
}
"""Of a record: a field and its value."""
ODD: Final[tuple[Odd, ...]] = get_args(Odd)
"""What makes the scores of well-formed numbers doubtful (`engine.skeletons.oddities`)."""
_OF_MOST: Final[tuple[Odd, ...]] = (ONE_FRAME, OUTSIDE, UPSIDE_DOWN, SIDEWAYS)
"""What is true of some videos, since people do such things, and wrong where it is of most."""

NOTED: Final = {name: type(value) for name, value in _FIELDS.values()}
"""Names and types of these fields."""

_WORDS: Final[dict[Note, str]] = {
    EMPTY: "nobody is seen",
    NORMALISED: "coordinates are shares of the picture, and are taken as such (--coordinates)",
    PERCENT: "scores of joints run to 100, and are divided by it",
    ABSENT: "one point outside of the picture stands for joints that are absent, and is taken so",
    FAR: "joints are many pictures away; the crop goes as far as they do. Give what was not found "
    "as 0, 0",
    OUTSIDE: "more than a fifth of the joints is outside of the picture: is img_shape (height, "
    "width) that of the video?",
    UPSIDE_DOWN: "heads are below hips: does y point up? It has to point down",
    SIDEWAYS: "everybody lies on the side: are x and y exchanged?",
    ORDER: "heads or limbs are as long as nobody's: are the joints in another order than COCO's? "
    "(--joints, docs/data.md)",
    ONE_FRAME: "there is one frame: are these the frames of one video, each in a file or under a "
    "name of its own?",
    ONE_POINT: "several joints are at one point away from the body, the same in many frames: give "
    "absent joints as 0, 0",
}


def fields_of(notes: Iterable[Note]) -> dict[str, Any]:
    """Notes as fields of a record, JSON types."""
    return dict(_FIELDS[note] for note in notes if note in _FIELDS)


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

    def to_json(self, of: int) -> dict[str, Any]:
        """By kind: ``count`` and ``first``, where so many were looked at."""
        return {
            note: {"count": count, "first": printable(first)}
            for note, (count, first) in self._found.items()
            if note not in _OF_MOST or count > of / 2
        }


def spelt(noted: Mapping[Any, Mapping[str, Any]], unit: str) -> list[str]:
    """What `NoteCounts.to_json` gives, a line a kind; `unit`: what was counted, one of it."""
    return [
        f"{about['count']} {unit}{'s' * (about['count'] != 1)}: {_WORDS[note]} "
        f"(first: {about['first'][:80]})"
        for note, about in noted.items()
    ]
