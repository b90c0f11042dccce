"""Shards: which samples are with which engine, and what follows when one dies.

Events in, decisions out: no Ray, no clock. What `engine.runtime.leases` is within a node, this is
between nodes, by the same rule: a death counts against a sample only if the engine had it alone,
and three such deaths convict it. Samples that an engine had together when it died are suspects:
they are granted again last, in halves, each to an engine that has nothing else. So one that kills
whoever runs it is alone after a few deaths, and the others, whose engine was lost by chance, go on
side by side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.runtime.limits import MAX_DEATHS


@dataclass(eq=False)
class _Suspects:
    """Samples that run without others; `deaths`: of one that was alone."""

    indices: list[int]
    deaths: int = 0


@dataclass(eq=False)
class _Held:
    """What an engine has: `left` without a record; `suspects` if they are."""

    left: dict[int, None] = field(default_factory=dict)  # in order
    suspects: _Suspects | None = None


class Shards:
    """All samples of a run that have been taken in: waiting, with an engine, or done."""

    def __init__(self) -> None:
        self._fresh: deque[int] = deque()
        self._suspects: deque[_Suspects] = deque()
        self._held: dict[str, _Held] = {}

    def __len__(self) -> int:
        """Samples that are not done."""
        waiting = len(self._fresh) + self.suspects
        return waiting + sum(len(held.left) for held in self._held.values())

    @property
    def fresh(self) -> int:
        """Samples that no engine has had."""
        return len(self._fresh)

    @property
    def suspects(self) -> int:
        """Samples that wait to be run apart."""
        return sum(len(one.indices) for one in self._suspects)

    def held(self, engine: str) -> int:
        """Samples that an engine has."""
        found = self._held.get(engine)
        return 0 if found is None else len(found.left)

    def add(self, indices: Sequence[int]) -> None:
        """Take new samples in."""
        self._fresh.extend(indices)

    def grant(self, engine: str, room: int) -> list[int]:
        """Samples for an engine, so many at most, or suspects that run without others."""
        held = self._held.setdefault(engine, _Held())
        if held.suspects is not None:
            return []
        if self._fresh:
            granted = [self._fresh.popleft() for _ in range(min(room, len(self._fresh)))]
            held.left.update(dict.fromkeys(granted))
            return granted
        if held.left or not self._suspects or room <= 0:
            return []
        held.suspects = self._suspects.popleft()
        held.left = dict.fromkeys(held.suspects.indices)
        return list(held.left)

    def done(self, engine: str, index: int) -> bool:
        """An engine has a record of a sample. False if it is not its own any more: the record must
        be dropped."""
        held = self._held.get(engine)
        if held is None or index not in held.left:
            return False
        del held.left[index]
        if not held.left:
            held.suspects = None
        return True

    def lost(self, engine: str) -> list[int]:
        """An engine is dead: take back what it has. Returns the samples convicted."""
        held = self._held.pop(engine, None)
        if held is None or not held.left:
            return []
        left = list(held.left)
        if len(left) > 1:
            half = len(left) // 2
            self._suspects.extend(_Suspects(part) for part in (left[:half], left[half:]))
            return []
        # It counts only if nothing else had been with it: what was done since may have done it.
        alone = held.suspects is not None and held.suspects.indices == left
        deaths = (held.suspects.deaths if held.suspects is not None else 0) + alone
        if deaths >= MAX_DEATHS:
            return left
        self._suspects.append(_Suspects(left, deaths))
        return []
