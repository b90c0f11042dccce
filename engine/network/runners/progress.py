"""Progress: how far a sample is, of whose clips only as many are run as its answer needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.base.recipe import Recipe
from engine.network.clip_rules import ClipRule, probabilities
from engine.network.runners.base import F32


class Progress:
    """Of one sample, from its first stage on. `classes`: of the network."""

    def __init__(self, rule: ClipRule, recipe: Recipe, classes: int) -> None:
        self._rule, self._order = rule, recipe.view_order
        self._ends = rule.stages(recipe.views)
        self._stage = self._begin = 0
        self._logits = np.full((recipe.views, classes), np.nan, np.float32)

    @property
    def wanted(self) -> tuple[int, ...]:
        """The views of this stage, in the order in which they run."""
        return self._order[self._begin : self.end]

    @property
    def end(self) -> int:
        """How many views there are at the end of this stage."""
        return self._ends[self._stage]

    def put(self, views: Sequence[int], logits: F32 | Sequence[F32]) -> None:
        """What the network makes of views: float32 [classes] of each."""
        for view, row in zip(views, logits, strict=True):
            self._logits[view] = row

    def advance(self) -> bool:
        """The views of this stage are there: go on with the next one; False where the sample is
        complete."""
        if self.end == self._ends[-1] or self._is_decided():
            return False
        self._begin = self.end
        self._stage += 1
        return True

    def _is_decided(self) -> bool:
        logits = self._logits[list(self._order[: self.end])]
        if not np.isfinite(logits).all():
            return True  # no scores, however many clips follow
        return self._rule.decided(probabilities(logits), len(self._order))

    @property
    def logits(self) -> F32:
        """Of the clips that were run, float32 [clips, classes], in the order of the views."""
        return self._logits[sorted(self._order[: self.end])]
