"""Opening: the runner that suits a model, its backend and the samples."""

from __future__ import annotations

from math import ceil

from engine.base.choices import CLIPS, SHARED
from engine.base.errors import UsageError
from engine.base.recipe import Recipe
from engine.network.backend import (
    Backend,
    ClipsBackend,
    PartsBackend,
    PlanBackend,
    WavesBackend,
)
from engine.network.cuts import Cuts
from engine.network.models import ModelFile
from engine.network.runners.base import Runner
from engine.network.runners.planned import PlannedRunner
from engine.network.runners.resident import ResidentRunner
from engine.network.runners.shared import SharedRunner
from engine.network.runners.whole import ClipsRunner

_BATCH = 4  # samples
_WINDOWS = 16  # of tracks, of which a few frames are new: they fill runs together


def open_runner(backend: Backend, model: ModelFile, recipe: Recipe, room: int = 0) -> Runner:
    """The runner of a model's layout, for samples of a recipe. `room`: bytes for what is kept of
    tracks, by the runner that can. Raises `ModelError` or `UsageError`."""
    if model.layout == SHARED:
        if isinstance(backend, PlanBackend):
            return PlannedRunner(backend, len(model.classes), model.recipe, recipe.views)
        if isinstance(backend, WavesBackend):
            return ResidentRunner(backend, recipe)
        if isinstance(backend, PartsBackend):
            return SharedRunner(backend, Cuts.of(model.path), recipe, room)
    elif isinstance(backend, ClipsBackend):
        return ClipsRunner(backend, len(model.classes), recipe.views)
    other = CLIPS if isinstance(backend, ClipsBackend) else SHARED
    raise UsageError(
        f"{backend.facts.runtime} does not run layout {model.layout}; --layout {other} does"
    )


def default_batch(runner: Runner, views: int, room: int) -> int:
    """Samples that run as one batch unless the user says otherwise: whole runs. Four samples of
    twenty clips; sixteen windows where rows of tracks are kept; otherwise one run of windows, since
    each window waits for all of its batch."""
    windows = _WINDOWS if room else 1
    return runner.step * ceil((windows if views == 1 else _BATCH) / runner.step)
