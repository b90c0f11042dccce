"""Clip rules: how many of a sample's clips are run before its answer stands.

Comes in: the scores of the clips so far. Goes out: whether the others are needed. Clips run in
stages, plain and flipped in turn, so that the first of them tell most. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Until = Literal["certain", "adaptive"]

STAGES: Final = (1, 2, 4, 6, 10, 14, 20)
"""Clips after which a rule looks at what is known; with other numbers of views, those below."""

_ROUNDING: Final = 1e-5  # of a sum of probabilities, many times more than there is


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """The softmax over the classes of each clip: float64 [clips, classes], of finite logits."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return found


@dataclass(frozen=True)
class ClipRule:
    """`first`: clips at most; None for all. `until`: when to stop before: ``certain``, when no
    scores of the clips to come could change the best class; ``adaptive``, when the two best mean
    scores after n clips differ by more than `factor` / √n."""

    first: int | None = None
    until: Until | None = None
    factor: float = 0.0

    def stages(self, views: int) -> tuple[int, ...]:
        """After how many clips of a sample of so many the rule looks; the last is all."""
        last = min(self.first or views, views)
        if self.until is None:
            return (last,)
        return (*(stage for stage in STAGES if stage < last), last)

    def decided(self, scores: NDArray[np.float64], views: int) -> bool:
        """Whether the best class stands. `scores`: float64 [clips so far, classes], the softmax of
        each clip; `views`: clips of the sample."""
        run, classes = scores.shape
        if run >= views or classes == 1:
            return True
        second, best = np.partition(scores.sum(axis=0), classes - 2)[-2:]
        gap = best - second
        if gap > views - run + _ROUNDING:  # a clip adds one at most, to another class
            return True
        return self.until == "adaptive" and bool(gap / run > self.factor / sqrt(run))

    def __str__(self) -> str:
        """As identities and messages have it."""
        if self.until == "adaptive":
            return f"adaptive, a = {self.factor:g}"
        return self.until or ("all" if self.first is None else str(self.first))


ALL: Final = ClipRule()
