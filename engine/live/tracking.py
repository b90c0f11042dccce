"""Tracking: who is who from frame to frame, where a source does not say.

Comes in: the people of one stream's frames. Goes out: the same people with ids. Pure; one object a
stream. People are matched by `engine.skeletons.similarity`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.skeletons.similarity import F32, KEEP, SIMILAR, matches
from engine.sources.pose_frames import Person, PoseFrame


@dataclass
class _Track:
    id: int
    kpts: F32
    frame: int


class Tracker:
    """`keep`: frames for which somebody out of sight is remembered; `similar`: what two poses
    have to be to be one person's, 0 to 1."""

    def __init__(self, keep: int = KEEP, similar: float = SIMILAR) -> None:
        self._keep, self._similar = keep, similar
        self._tracks: list[_Track] = []
        self._next = 0

    def track(self, frame: PoseFrame) -> PoseFrame:
        """The frame with ids for people who have none. Ids of the source's own are kept."""
        people = [person for person in frame.people if person.id is None]
        if not people:
            return frame
        self._tracks = [t for t in self._tracks if 0 <= frame.frame - t.frame <= self._keep]
        before = [track.kpts for track in self._tracks]
        matched = matches(before, [person.kpts for person in people], self._similar)
        found = {number: self._tracks[row] for number, row in matched.items()}
        for number, person in enumerate(people):
            if number not in found:
                found[number] = _Track(self._next, person.kpts, frame.frame)
                self._tracks.append(found[number])
                self._next += 1
            found[number].kpts, found[number].frame = person.kpts, frame.frame
        named = iter(found[number].id for number in range(len(people)))
        whole = tuple(
            Person(f"track-{next(named)}", person.kpts) if person.id is None else person
            for person in frame.people
        )
        return replace(frame, people=whole)
