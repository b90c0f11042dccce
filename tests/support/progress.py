"""What is run of a sample all of whose logits are known, as runners do it."""

from __future__ import annotations

from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.network.clip_rules import ClipRule
from engine.network.runners.base import F32
from engine.network.runners.progress import Progress


def run(rule: ClipRule, logits: F32, recipe: Recipe = HMDB51_RECIPE) -> F32:
    """The logits of the clips that a rule runs; `logits` float32 [views, classes]."""
    progress = Progress(rule, recipe, logits.shape[1])
    while True:
        progress.put(progress.wanted, logits[list(progress.wanted)])
        if not progress.advance():
            return progress.logits
